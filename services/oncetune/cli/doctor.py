"""`oncetune doctor --url …`: a running deployment examined from outside. Nothing is recorded there."""

import hashlib
import json
import os
import secrets
from pathlib import Path

from oncetune.cli.checks import Check, State, document, fail, fingerprint, ok, passed, shown, table, unknown, warn
from oncetune.cli.client import SECRET_NAME, Document, signed_headers
from oncetune.cli.exits import Failure
from oncetune.cli.health_checks import check_clock, check_health, check_parts
from oncetune.cli.output import print_json, put
from oncetune.cli.visit import Answer, Visit
from oncetune.local.credentials import read_gateway_secret

TRIGGER = "/trigger-finetune"
DRY_RUN = {"dry_run": "true"}
_PREVIOUS = "DPO_GATEWAY_SHARED_SECRET_PREVIOUS"
_OPEN = "Whoever finds this URL can start runs: take it off the network, then check what stands before it"
_WITHOUT_SECRET = f"needs a secret to sign with: set {SECRET_NAME}, or give --data"


def examine(url: str, *, user: str, base_model: str, data: Path, as_json: bool) -> None:
    """Look at everything in turn and print the table; raises Failure when a check failed, or `url` is none."""
    secret = os.environ.get(SECRET_NAME) or read_gateway_secret(data)
    visit = Visit(url)
    checks = _look(visit, user=user, secret=secret, base_model=base_model)
    if as_json:
        print_json({"url": visit.url, **document(checks)})
    else:
        for line in table(checks):
            put(line)
    if not passed(checks):
        failed = ", ".join(check.name for check in checks if check.state is State.FAIL)
        raise Failure(f"{visit.url} is not well: {failed}.", "" if as_json else "See above for what to do.")


def _look(visit: Visit, *, user: str, secret: str | None, base_model: str) -> list[Check]:
    health = visit.ask("GET", "/health")
    first = check_health(health, visit.url)
    if "status" not in health.document:  # it is not there, or not ours: nothing more is sent to it
        rest = ("database", "schema", "sidecar", "publishing", "registration", "outbox", "artifacts", "clock")
        asked = ("unsigned trigger", "forged trigger", "secret", "dry run", "runs")
        return [first, *(unknown(name, "not asked") for name in (*rest, *asked))]
    checks = [first, *check_parts(health), check_clock(health)]
    if not _knows_dry_runs(visit):  # what it does not know it would record
        why = "not asked: this server's /openapi.json tells of no dry_run"
        checks += [unknown(name, why) for name in ("unsigned trigger", "forged trigger", "dry run")]
        return [*checks, *_signed(visit, None, user=user, secret=secret)]
    body = json.dumps(_request(base_model)).encode()
    unsigned = visit.ask("POST", TRIGGER, body=body, parameters=DRY_RUN)
    forged = visit.ask(
        "POST", TRIGGER, body=body, parameters=DRY_RUN, headers=signed_headers(user, secrets.token_hex(16))
    )
    checks += [_must_be_401("unsigned trigger", unsigned), _must_be_401("forged trigger", forged)]
    return [*checks, *_signed(visit, body, user=user, secret=secret)]


def _request(base_model: str) -> Document:
    row: Document = {"prompt": "Are you well?", "chosen": "Very well, thank you.", "rejected": "Who asks?"}
    return {"kb_id": "doctor", "exp_name": "doctor", "base_model": base_model, "dataset_inline": [row]}


def _knows_dry_runs(visit: Visit) -> bool:
    told = visit.ask("GET", "/openapi.json").document
    for step in ("paths", TRIGGER, "post"):
        inner = told.get(step)
        told = inner if isinstance(inner, dict) else {}
    parameters = told.get("parameters")
    known = parameters if isinstance(parameters, list) else []
    return any(isinstance(one, dict) and one.get("name") == "dry_run" for one in known)


def _must_be_401(name: str, answer: Answer) -> Check:
    if answer.status == 401:
        return ok(name, "401, as it must be")
    if answer.status is not None and answer.status < 300:
        return fail(name, f"was accepted: {answer.told()}", _OPEN)
    return fail(name, f"must be 401; {answer.told()}", "See the service's log at this moment")


def _signed(visit: Visit, body: bytes | None, *, user: str, secret: str | None) -> list[Check]:
    """The checks that need the secret. Without a `body` no dry run is asked for."""
    names = ("secret", "dry run", "runs") if body is not None else ("secret", "runs")
    if not secret:
        return [fail("secret", "there is none here", f"Set {SECRET_NAME}, or give --data"), *_unsigned(names)]
    if not (secret.isascii() and secret.isprintable() and secret == secret.strip()):
        words = f"the one here (fingerprint {fingerprint(secret)}) has blanks, a line break or odd letters"
        return [fail("secret", words, f"Set {SECRET_NAME} to the secret alone"), *_unsigned(names)]
    headers = signed_headers(user, secret)
    runs = visit.ask("GET", "/runs", parameters={"limit": "1"}, headers=headers)
    if body is None:
        return [_compare(visit, [runs], user=user, secret=secret), _check_runs(runs)]
    answer = visit.ask("POST", TRIGGER, body=body, parameters=DRY_RUN, headers=headers)
    return [
        _compare(visit, [runs, answer], user=user, secret=secret),
        _check_dry_run(answer, body),
        _check_runs(runs),
    ]


def _unsigned(names: tuple[str, ...]) -> list[Check]:
    return [unknown(name, _WITHOUT_SECRET) for name in names[1:]]


def _compare(visit: Visit, answers: list[Answer], *, user: str, secret: str) -> Check:
    """Whether the server's secret is the one here, which is told by its fingerprint only."""
    here = fingerprint(secret)
    telling = next((answer for answer in answers if answer.status in (200, 400, 401)), None)  # 400: signed, but wrong
    if telling is None:
        return unknown("secret", f"fingerprint {here}; {answers[0].told()}")
    if telling.status != 401:
        return ok("secret", f"the server accepts the one here, fingerprint {here}")
    if telling.document.get("code") == "expired_claims":
        remedy = "Set both clocks by NTP; see also DPO_MAX_CLAIM_AGE_SECONDS of the server"
        return fail("secret", f"fingerprint {here}; fresh claims have expired there", remedy)
    previous = os.environ.get(_PREVIOUS)
    if previous and visit.ask("GET", "/runs", headers=signed_headers(user, previous)).status == 200:
        words = f"the server refuses fingerprint {here} and accepts {fingerprint(previous)}, the previous one"
        return fail("secret", words, f"Restart the server with the new {SECRET_NAME}")
    where = f'Print the server\'s own with: printf %s "${SECRET_NAME}" | sha256sum | cut -c 1-8'
    return fail("secret", f"the server's is another: it refuses the one here, fingerprint {here}", where)


def _check_dry_run(answer: Answer, body: bytes) -> Check:
    name, told = "dry run", answer.document
    if answer.status == 200 and told.get("status") == "valid":
        digest = str(told.get("dataset_sha256", ""))
        whole = len(digest) == hashlib.sha256().digest_size * 2 and told.get("dataset_rows") == 1
        if not whole:
            return warn(name, f"valid, and not as sent: {shown(told)}", "See the service's log at this moment")
        return ok(name, f"valid: {len(body)} bytes, 1 row, {shown(told.get('base_model'))}")
    if told.get("run_id"):
        remedy = f"Cancel it: POST /runs/{shown(told['run_id'])}/cancel; this server does not know dry runs"
        return fail(name, f"a real run was recorded: {shown(told['run_id'])}", remedy)
    if told.get("code") == "unknown_base_model":
        return fail(name, shown(told.get("detail")), "Give --base-model one of these, or set ONCETUNE_TRIGGER_MODELS")
    if answer.status == 401:
        return fail(name, answer.told(), "See the check of the secret")
    return fail(name, f"must be 200 valid; {answer.told()}", "See the service's log at this moment")


def _check_runs(answer: Answer) -> Check:
    if answer.status == 200 and isinstance(answer.document.get("runs"), list):
        return ok("runs", "GET /runs answers")
    if answer.status == 401:
        return fail("runs", answer.told(), "See the check of the secret")
    if answer.status == 404:
        return fail("runs", answer.told(), "Let this URL lead GET /runs to the service status, too")
    return fail("runs", f"must be 200 with runs; {answer.told()}", "See the service's log at this moment")
