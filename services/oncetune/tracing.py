"""One trace a run (W3C Trace Context): from its request through outbox, broker and trainer into the training child.

What carries it is a `traceparent`: the header of the request, a column of the run and of each of its events, an
attribute of the CloudEvent, the variable TRACEPARENT of the child. Spans are exported (by FastAPI's own set-up, OTLP
over HTTP) where OTEL_EXPORTER_OTLP_ENDPOINT is set; the context is carried, and told in log lines, everywhere.
"""

import os
import secrets
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from oncetune.logs import is_secret

_W3C = TraceContextTextMapPropagator()
_HEADER = "traceparent"
_tracer = trace.get_tracer("oncetune")  # asks for the provider at each span: it is set when a service starts


def current_traceparent() -> str | None:
    """What hands the current trace on; None outside of any."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get(_HEADER)


@contextmanager
def span(
    name: str,
    *,
    traceparent: str | None,
    kind: SpanKind = SpanKind.INTERNAL,
    started: int | None = None,
    attributes: Attributes = None,
) -> Iterator[None]:
    """A piece of work of the trace that `traceparent` carries; in no trace of ours without.

    `started` is its beginning in Unix nanoseconds where that was before.
    """
    with _tracer.start_as_current_span(
        name,
        context=_read(traceparent),
        kind=kind,
        start_time=started,
        attributes=attributes,
        record_exception=False,  # its words may be somebody's data
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except Exception as error:
            current.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def about_message(topic: str, event_id: UUID, run_id: UUID) -> Attributes:
    """Which event a span sends or takes, in OpenTelemetry's words."""
    return {
        "messaging.system": "dapr",
        "messaging.destination.name": topic,
        "messaging.message.id": str(event_id),
        "oncetune.run_id": str(run_id),
    }


def _read(traceparent: str | None) -> Context:
    return _W3C.extract({_HEADER: traceparent or ""}, context=Context())


def _new() -> Context:
    """Sampled, so that whoever of those behind us exports spans keeps them."""
    made = SpanContext(secrets.randbits(128), secrets.randbits(64), is_remote=False, trace_flags=TraceFlags(0x01))
    return trace.set_span_in_context(NonRecordingSpan(made), Context())


def set_export_defaults(service: str) -> None:
    """Before an app is made: what OpenTelemetry's own variables mean here where nobody has set them."""
    os.environ.setdefault("OTEL_SERVICE_NAME", service)
    os.environ.setdefault("OTEL_EXPORTER_OTLP_TIMEOUT", "3")  # seconds: a collector that hangs delays the end so long


def native_telemetry(untraced: Callable[[str], bool]) -> TelemetryConfig:
    """FastAPI's own spans of the requests whose path is not `untraced`, and its export; nothing else of it.

    A span holds the whole query, so a request whose query holds a secret has none; its trace is carried all the same.
    """

    def excluded(scope: MutableMapping[str, Any]) -> bool:
        return untraced(scope["path"]) or any(map(is_secret, _parameters(scope)))

    return {
        "auto_configure": True,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "exclude": excluded,
    }


def _parameters(scope: MutableMapping[str, Any]) -> list[str]:
    query = scope.get("query_string", b"").decode("latin-1")
    return [name for name, _ in parse_qsl(query, keep_blank_values=True)]


class CarryTrace:
    """ASGI: each request that is not `untraced` belongs to the trace of its header, else to a new one."""

    def __init__(self, app: ASGIApp, *, untraced: Callable[[str], bool]) -> None:
        self._app = app
        self._untraced = untraced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        spanned = trace.get_current_span().get_span_context().is_valid
        if scope["type"] != "http" or self._untraced(scope["path"]) or spanned:
            await self._app(scope, receive, send)
            return
        context = _read(Headers(scope=scope).get(_HEADER))
        if not trace.get_current_span(context).get_span_context().is_valid:
            context = _new()
        with trace.use_span(trace.get_current_span(context)):
            await self._app(scope, receive, send)
