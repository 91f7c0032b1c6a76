"""One line an event: JSON for machines, readable on a terminal. An event name and fields, never a sentence.

`run_id` is bound once, with `about`, for everything that happens inside, `trace_id` by a span of `tracing`. Secrets and
dataset text are never logged: fields whose name speaks of a secret are masked here as the last line of defence.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, WrappedLogger

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_FRAMES = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)  # a local may hold a row or a secret
_SECRET_WORDS = ("secret", "token", "signature", "password", "authorization")


def _mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name in event:
        if is_secret(name) and not name.endswith("_per_second"):
            event[name] = "***"
    return event


def is_secret(name: str) -> bool:
    """Whether a field, or a parameter of a URL, of this name holds what nobody may read later."""
    return any(word in name.lower() for word in _SECRET_WORDS)


def configure_logs(service: str, *, json: bool | None = None) -> None:
    """Send every line of this process, the libraries' included, to standard error in one form.

    `json=None` means JSON unless standard error is a terminal.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        _name_service(service),
        _name_trace,
        _mask,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(timestamp_key="ts", exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([structlog.processors.ExceptionRenderer(_FRAMES)] if as_json else []),
                renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for noisy in ("httpx", "httpcore", "uvicorn.access", "uvicorn.error", "alembic.runtime.migration"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # it warns of each try to reach a collector that is away


def _name_service(service: str) -> structlog.typing.Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        first = {name: event.pop(name, None) for name in ("ts", "level", "event")}
        return {**first, "svc": service, **event}

    return add


def _name_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    current = trace.get_current_span().get_span_context()
    return {**event, "trace_id": trace.format_trace_id(current.trace_id)} if current.is_valid else event


@contextmanager
def about(**fields: object) -> Iterator[None]:
    """Everything logged inside carries these fields, `run_id` say."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


class Outage:
    """What a loop, or all requests, say of what is away: a line when it goes, one a minute, one when it is back.

    `away` and `back` are the names of these lines, `fields` stand in each. Any thread may use it.
    """

    def __init__(
        self,
        *,
        away: str,
        back: str,
        again_after: timedelta = timedelta(minutes=1),
        clock: Callable[[], float] = time.monotonic,
        **fields: object,
    ) -> None:
        self._away = away
        self._back = back
        self._again_after = again_after.total_seconds()
        self._clock = clock
        self._fields = fields
        self._since: float | None = None
        self._told = 0.0
        self._tries = 0
        self._lock = threading.Lock()

    def goes_on(self, error: Exception) -> None:
        """A try failed because it is away."""
        with self._lock:
            now = self._clock()
            self._tries += 1
            if self._since is None:
                self._since = now
            elif now - self._told < self._again_after:
                return
            self._told = now
            log.warning(self._away, reason=type(error).__name__, **self._counts(now), **self._fields)

    def over(self) -> None:
        """A try came through; says nothing unless it was away."""
        if self._since is None:  # nearly always, and then nobody waits for the lock
            return
        with self._lock:
            if self._since is not None:
                log.info(self._back, **self._counts(self._clock()), **self._fields)
            self._since, self._tries = None, 0

    def _counts(self, now: float) -> dict[str, float | int]:
        return {"away_seconds": round(now - (self._since or now), 1), "tries": self._tries}
