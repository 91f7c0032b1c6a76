"""What `/health` and its Date header tell `oncetune doctor`."""

import time
from datetime import UTC
from email.utils import parsedate_to_datetime

from oncetune.cli.checks import Check, fail, ok, shown, unknown, warn
from oncetune.cli.output import moment
from oncetune.cli.visit import Answer

LARGEST_SKEW_SECONDS = 30.0  # beyond it claims with a short life have expired before they are read
_NOT_TOLD = "/health does not tell"
_LOG = "See the service's log"
_THERE = (
    "Is the service running, and is --url its own? In Kubernetes:"
    " kubectl get pods -l app.kubernetes.io/part-of=oncetune, then kubectl describe the one that waits"
)
_NO_SIDECAR = (
    "Start daprd beside the service; in Kubernetes see `dapr status --kubernetes`, for a pod of 1/1 has none."
    " Until then events wait in the database"
)
_REFUSED = {  # by the first words of why an event was not published
    "StatusCode.UNAUTHENTICATED": "Give service and sidecar the same DAPR_API_TOKEN (dapr.apiTokenSecret)",
    "sidecar": _NO_SIDECAR,
    "StatusCode.UNAVAILABLE": _NO_SIDECAR,
    "status": "Is the service status there? " + _LOG,
}
_BROKER = (
    "Is the broker there, and are its address and password those that the sidecar has (broker.env, broker.secretEnv)?"
    " Its words: event.not_published in the log of trigger, and its sidecar's log (kubectl logs -c daprd)"
)


def check_health(health: Answer, url: str) -> Check:
    """Whether a service of ours answers there and is healthy."""
    status = health.document.get("status")
    if health.status == 200 and status == "healthy":
        return ok("health", f"healthy, {shown(health.document.get('environment', 'environment unknown'))}")
    if health.status is None:
        return fail("health", f"{url} does not answer: {health.words}", _THERE)
    if 300 <= health.status < 400:
        return fail("health", health.told(), "Give --url where it leads")
    if status == "unhealthy":
        return fail("health", f"unhealthy ({health.status})", "See the checks below")
    return fail("health", f"{health.told()}; that is not this service", "Give --url the service's own address")


def check_parts(health: Answer) -> list[Check]:
    """Database, schema, sidecar, publishing, registration, outbox and artifacts, as far as `/health` tells."""
    told = health.document
    return [
        _database(told.get("database")),
        _schema(told.get("schema")),
        _sidecar(told.get("sidecar"), told.get("delivery")),
        _publishing(told.get("publishing")),
        _registration(told.get("registration"), told.get("environment")),
        _outbox(told.get("outbox")),
        _artifacts(told.get("artifacts")),
    ]


def _database(told: object) -> Check:
    if told == "connected":
        return ok("database", "connected")
    if told is None:
        return unknown("database", _NOT_TOLD)
    return fail("database", shown(told), "Start the database, or correct DATABASE_URL of the service")


def _sidecar(told: object, delivery: object) -> Check:
    if delivery == "direct":
        return ok("sidecar", "none is needed: events are handed over directly")
    state = told.get("state", told.get("status")) if isinstance(told, dict) else told
    if state is None or state == "unknown":
        return unknown("sidecar", _NOT_TOLD)
    if state in ("connected", "healthy", "ok", "answers"):
        return ok("sidecar", shown(state))
    return fail("sidecar", shown(told), _NO_SIDECAR)


def _schema(told: object) -> Check:
    found, needed = (told.get("found"), told.get("needed")) if isinstance(told, dict) else (None, None)
    if not isinstance(found, str) or not isinstance(needed, str):
        return unknown("schema", _NOT_TOLD)
    if found < needed:
        words = f"the database is at {shown(found)}, {shown(needed)} is needed"
        return fail("schema", words, "Run `oncetune migrate` as the database's owner; in Kubernetes its Job does")
    return ok("schema", shown(found) if found == needed else f"{shown(found)}, newer than the {shown(needed)} needed")


def _publishing(told: object) -> Check:
    name = "publishing"
    state = told.get("state") if isinstance(told, dict) else None
    if not isinstance(told, dict) or state is None:
        return unknown(name, _NOT_TOLD)
    if state == "ok":
        return ok(name, "the last event was taken")
    reason = shown(told.get("reason"))
    words = f"no event was taken since {moment(told.get('since'))}: {reason}"
    return fail(name, words, _REFUSED.get(reason, _BROKER))


def _registration(told: object, environment: object) -> Check:
    name = "registration"
    state = told.get("state") if isinstance(told, dict) else told
    if not isinstance(told, dict) or state is None:
        return unknown(name, _NOT_TOLD if state is None else shown(state))
    if state == "off":
        return ok(name, "off: DPO_REGISTER_URL is not set there")
    if state == "waiting":
        return warn(name, f"not tried yet; the first try is at {moment(told.get('next_try_at'))}", "Look again then")
    if state == "registered":
        return ok(name, f"registered until {moment(told.get('registered_until'))}")
    words = f"{shown(state)}: {shown(told.get('last_error') or 'no reason told')}"
    if state == "failing":
        words += f"; the next try is at {moment(told.get('next_try_at'))}"
        until = told.get("registered_until")
        if isinstance(until, int) and until > time.time():
            return warn(name, f"{words}; registered until {moment(until)}", "Mend the gateway before then")
    remedy = "Do as it says, with `oncetune preflight` on that machine"
    return fail(name, words, remedy) if environment == "production" else warn(name, words, remedy)


def _outbox(told: object) -> Check:
    if not isinstance(told, dict) or not isinstance(told.get("pending"), int):
        return unknown("outbox", _NOT_TOLD)
    words = f"{told['pending']} events on their way"
    if told.get("stuck"):
        remedy = "Are the sidecar, the broker and the service status there? " + _LOG
        return fail("outbox", f"{words}, {told['stuck']} of them stuck", remedy)
    return ok("outbox", words)


def check_clock(health: Answer) -> Check:
    """The server's clock against the one here, to a second."""
    try:
        theirs = parsedate_to_datetime(health.headers.get("date", ""))
    except ValueError:
        return unknown("clock", "the answer has no Date")
    there = (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)).timestamp() + 0.5  # the header cuts fractions
    skew = there - health.asked_at
    if abs(skew) <= LARGEST_SKEW_SECONDS:
        return ok("clock", f"{abs(skew):.0f} s apart")
    words = f"the server's is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
    return warn("clock", words, "Set both by NTP: claims expire by the server's clock")


def _artifacts(told: object) -> Check:
    name = "artifacts"
    if told is None:
        return unknown(name, _NOT_TOLD)
    if told == "not set":
        remedy = "Set ONCETUNE_ARTIFACTS of status to what the trainers have"
        return warn(name, "status was not told where results are: no run has links to any", remedy)
    return ok(name, f"links lead into a {shown(told)}" if told == "folder" else f"links lead to {shown(told)}")
