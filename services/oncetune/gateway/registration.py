"""Registration: the gateway is told where this service is, again and again, before it forgets.

GATEWAY_CONTRACT, section 4. First the service calls itself by its public URL, until that has worked once. Then it
registers, and registers again at about half of the TTL. A failed try is followed by another, ever more slowly and
for ever; each one writes one line. Nothing of this stops the service: settings that make no sense are a refusal,
told in the log and in `/health`.
"""

import random
import re
import threading
import time
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Self

from pydantic import JsonValue, ValidationError

from oncetune.gateway.calls import Answer, NoAnswer, Stopped, call
from oncetune.gateway.public_url import (
    LONGEST_TTL_SECONDS,
    public_base_url,
    public_url_problem,
    registration_problems,
)
from oncetune.gateway.settings import RegistrationSettings
from oncetune.logs import log

__all__ = [
    "NotReached", "NotRegistered", "Registration", "RegistrationPace", "RegistrationSettings", "RegistrationState",
    "check_public_url", "public_base_url", "public_url_problem", "register", "registration_problems",
]  # fmt: skip

SECRET_HEADER = "X-DPO-Register-Secret"
CONTRACT_VERSION = "1.0.0"
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class NotReached(Exception):
    """The public URL does not lead to this service; the message says what was found there."""


class NotRegistered(Exception):
    """The gateway did not confirm the registration: try again later. The message holds no secret."""


class RegistrationState(StrEnum):
    """What `/health` says of the last try."""

    OFF = "off"  # no DPO_REGISTER_URL
    WAITING = "waiting"  # no try has ended yet
    REGISTERED = "registered"
    FAILING = "failing"  # an earlier registration may still last: `registered_until`
    REFUSED = "refused"  # the settings make no sense; there is no try


@dataclass(frozen=True)
class RegistrationPace:
    """`settle` comes before the first try: a server listens a moment after its loops have begun."""

    settle: timedelta = timedelta(seconds=2)
    deadline: timedelta = timedelta(seconds=10)
    backoff: timedelta = timedelta(seconds=2)
    max_backoff: timedelta = timedelta(minutes=5)
    renew_at: float = 0.5  # this part of the TTL at the latest

    def after_failures(self, failures: int, ttl: timedelta) -> timedelta:
        """The pause after so many failures in a row: doubled each time, ± a third, never beyond a tenth of the TTL."""
        longest = min(self.max_backoff, ttl / 10)
        jitter = random.uniform(2 / 3, 4 / 3)  # noqa: S311
        return min(self.backoff * 2.0 ** min(failures - 1, 30), longest) * jitter


@dataclass(frozen=True)
class _Standing:
    """Times are Unix seconds; None where there is nothing to say."""

    state: RegistrationState
    last_error: str | None = None
    next_try_at: int | None = None
    registered_until: int | None = None


def check_public_url(url: str, *, deadline: timedelta, stop: threading.Event) -> None:
    """Ask `url`/health, as anybody outside would; raises NotReached unless a service like ours answers there.

    Its 503 is an answer too: the database may be away, the way is right.
    """
    where = f"{url}/health"
    try:
        answer = call("GET", where, deadline=deadline, stop=stop)
    except NoAnswer as error:
        raise NotReached(f"{where} does not answer: {error}") from error
    if 300 <= answer.status < 400:
        raise NotReached(f"{where} answers {answer.status}, a redirect; set DPO_PUBLIC_BASE_URL to where it leads")
    told = (answer.document or {}).get("status")
    if answer.status not in (200, 503) or told not in ("healthy", "unhealthy"):
        raise NotReached(f"{where} answers {answer.status}, and not as this service does")


def register(settings: RegistrationSettings, *, deadline: timedelta, stop: threading.Event) -> None:
    """Tell the gateway once; raises NotRegistered. The settings have no `registration_problems`."""
    assert settings.register_url is not None
    assert settings.register_secret is not None
    secret = settings.register_secret.get_secret_value()
    document: dict[str, JsonValue] = {
        "base_url": public_base_url(settings),
        "version": CONTRACT_VERSION,
        "ttl_seconds": settings.service_ttl_seconds,
    }
    try:
        answer = call(
            "POST",
            settings.register_url,
            headers={SECRET_HEADER: secret},
            document=document,
            deadline=deadline,
            stop=stop,
        )
    except NoAnswer as error:
        raise NotRegistered(f"the gateway: {error}".replace(secret, "***")) from error
    if answer.status != 200 or answer.document is None:
        raise NotRegistered(_refusal(answer).replace(secret, "***"))


def _refusal(answer: Answer) -> str:
    """What the gateway answered: the status and at most one word of its body, which may quote anything."""
    if answer.status == 200:
        return "the gateway answered 200, but no JSON object: something else stands at DPO_REGISTER_URL"
    if 300 <= answer.status < 400:
        return f"the gateway answered {answer.status}, a redirect; set DPO_REGISTER_URL to where it leads"
    words = [(answer.document or {}).get(name) for name in ("code", "error")]
    word = next((word for word in words if isinstance(word, str) and _WORD.fullmatch(word)), "")
    hint = "; is DPO_REGISTER_SECRET the gateway's?" if answer.status in (401, 403) else ""
    return f"the gateway answered {answer.status} {word}".rstrip() + hint


class Registration:
    """The standing of this service with the gateway. One thread keeps it, any thread may read its report."""

    def __init__(self, settings: RegistrationSettings, pace: RegistrationPace | None = None) -> None:
        self._settings = settings
        self._pace = pace or RegistrationPace()
        self._ttl = timedelta(seconds=min(max(settings.service_ttl_seconds, 0), LONGEST_TTL_SECONDS))
        self._reached = not settings.register_self_check
        self._failures = 0
        problems = registration_problems(settings)
        self._standing = _Standing(RegistrationState.WAITING)
        if settings.register_url is None:
            self._standing = _Standing(RegistrationState.OFF)
        elif problems:
            self._standing = _Standing(RegistrationState.REFUSED, "; ".join(problems))

    @classmethod
    def unreadable(cls, error: ValidationError) -> Self:
        """Refused: the settings cannot even be read. `error` is theirs; no value of it is told."""
        refused = cls(RegistrationSettings.model_construct())
        told = {str(one["loc"][0]): one["msg"] for one in error.errors(include_input=False)}
        named = (f"{name if name.isupper() else f'DPO_{name.upper()}'}: {reason}" for name, reason in told.items())
        refused._standing = _Standing(RegistrationState.REFUSED, "; ".join(named))
        return refused

    @property
    def state(self) -> RegistrationState:
        return self._standing.state

    def report(self) -> dict[str, object]:
        """What `/health` tells: `state`, `last_error`, `next_try_at`, `registered_until`; times in Unix seconds."""
        return asdict(self._standing)

    def keep(self, stop: threading.Event) -> None:
        """The loop, until `stop`, which ends a call under way as well; returns at once when off or refused."""
        if self.state is RegistrationState.REFUSED:
            log.error("registration.refused", outcome="refused", reason=self._standing.last_error)
        if self.state is not RegistrationState.WAITING:
            return
        pause = self._pace.settle
        while not stop.wait(self._book(pause)):
            try:
                pause = self._try(stop)
            except Stopped:
                return
            except Exception as bug:  # noqa: BLE001 - the outermost loop: a bug is shouted about, and tried again
                log.exception("registration.broken")
                pause = self._failed(type(bug).__name__)

    def _book(self, pause: timedelta) -> float:
        seconds = pause.total_seconds()
        self._standing = replace(self._standing, next_try_at=round(time.time() + seconds))
        return seconds

    def _try(self, stop: threading.Event) -> timedelta:
        """One try and its line; the pause until the next."""
        base_url = public_base_url(self._settings)
        assert base_url is not None
        sent_at = time.time()  # the TTL may run from here on, or from a moment later
        try:
            if not self._reached:
                check_public_url(base_url, deadline=self._pace.deadline, stop=stop)
                self._reached = True
            register(self._settings, deadline=self._pace.deadline, stop=stop)
        except (NotReached, NotRegistered) as reason:
            pause = self._failed(str(reason))
            event = "registration.unreachable" if isinstance(reason, NotReached) else "registration.failed"
            fields = {"failures": self._failures, "next_try_seconds": round(pause.total_seconds(), 1)}
            log.warning(event, outcome="retry", base_url=base_url, reason=str(reason), **fields)
            return pause
        until = int(sent_at + self._ttl.total_seconds())
        self._failures = 0
        self._standing = _Standing(RegistrationState.REGISTERED, registered_until=until)
        pause = self._ttl * self._pace.renew_at * random.uniform(0.8, 1.0)  # noqa: S311 - replicas come one by one
        log.info("registration.done", outcome="ok", base_url=base_url, registered_until=until)
        return pause

    def _failed(self, reason: str) -> timedelta:
        self._failures += 1
        self._standing = replace(self._standing, state=RegistrationState.FAILING, last_error=reason)
        return self._pace.after_failures(self._failures, self._ttl)
