"""The single checks of `oncetune preflight`. Each returns one Check and raises nothing."""

import re
import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
from sqlalchemy import Connection, text
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from oncetune.cli.checks import Check, fail, ok, shown, unknown, warn
from oncetune.gateway.public_url import public_base_url, public_url_problem, registration_problems
from oncetune.gateway.settings import RegistrationSettings
from oncetune.local.preflight import CannotStart, free_ports, require_port
from oncetune.migrations.upgrade import current, head, revisions
from oncetune.postgres import connect, printable

USUAL_PORT = 8080
ROLES = ("oncetune_trigger", "oncetune_status")
_ANSWER_SECONDS = 2.0
_TOKEN_HEADER = "dapr-api-token"  # not from oncetune.dapr: its SDK reads the ports, wrong or not, when it is imported
_MIGRATE = "Run `oncetune migrate` as the database's owner"
_PUBLIC = "Set DPO_PUBLIC_BASE_URL to the https:// address under which the gateway reaches this service"


def choose_port(port: int) -> int:
    """`port`, or for 0 the usual one, or any free one where that is taken."""
    if port:
        return port
    try:
        require_port(USUAL_PORT)
    except CannotStart:
        return free_ports(1)[0]
    return USUAL_PORT


def check_settings(environment: str, wrong: Mapping[str, str]) -> Check:
    """Whether the service can read its settings; `wrong` has the reason for each that it cannot."""
    if wrong:
        reasons = "; ".join(f"{setting}: {reason}" for setting, reason in sorted(wrong.items()))
        return fail("settings", reasons, "Correct or unset it: with it the service does not start, or not register")
    return ok("settings", f"ONCETUNE_ENVIRONMENT is {environment}")


def check_port(port: int, *, picked_for_pod: bool) -> Check:
    """Whether the service can listen on `port`; a pod's proxy serves only what the pod exposes."""
    try:
        require_port(port)
    except CannotStart as error:
        return fail("port", error.what, error.remedy)
    if picked_for_pod:
        remedy = f"Expose HTTP port {port} in the pod's settings, or give --port the one that is exposed"
        return warn("port", f"{port} is free; the pod's proxy serves exposed ports only", remedy)
    return ok("port", f"{port} is free")


def check_public_url(registration: RegistrationSettings) -> Check:
    """Whether a gateway elsewhere could reach the service there, as far as the URL itself tells."""
    url = public_base_url(registration)
    if url is None and not registration.register_url:
        return ok("public URL", "none: DPO_PUBLIC_BASE_URL is not set and this is no pod")
    problem = public_url_problem(registration)
    if problem is not None or url is None:
        return fail("public URL", bare(problem or "missing"), _PUBLIC)
    if registration.environment == "production" and url.startswith("http:"):
        return warn("public URL", f"{url} is not encrypted", "Serve it with https:// unless the network is yours alone")
    return ok("public URL", url)


def check_registration(registration: RegistrationSettings) -> Check:
    """Whether registration can be tried; nothing is sent."""
    if not registration.register_url:
        return ok("registration", "off: DPO_REGISTER_URL is not set")
    problems = registration_problems(registration)
    own = [problem for problem in problems if problem.startswith(("DPO_REGISTER_URL", "DPO_SERVICE_TTL_SECONDS"))]
    if own:
        return fail(
            "registration", shown("; ".join(own)), "Correct it as told, or unset DPO_REGISTER_URL to go without"
        )
    return ok("registration", f"{bare(registration.register_url)}, for {registration.service_ttl_seconds} s each time")


def bare(url: str) -> str:
    """A URL without anything that may be a password."""
    return shown(re.sub(r"//\S*@", "//***@", url).partition("?")[0])


def check_database(url: str | None) -> Check:
    """Whether it answers, has this version's tables, and lets this login act as the services' roles."""
    name = "database"
    if not url:
        remedy = "Set DATABASE_URL to postgresql://user:password@host:5432/database"
        return fail(name, "DATABASE_URL is not set", remedy)
    try:
        server = printable(url)
        engine = connect(url, role=None, pool_size=0)
        with engine.connect() as connection:
            missing = _missing_roles(connection)
            tables = connection.scalar(text("SELECT count(*) FROM pg_namespace WHERE nspname IN ('ledger', 'audit')"))
    except (ArgumentError, ValueError):
        return fail(
            name, "DATABASE_URL is no Postgres URL", "It looks like postgresql://user:password@host:5432/database"
        )
    except OperationalError as error:
        return fail(name, f"does not answer: {shown(str(error.orig))}", "Start it, or correct DATABASE_URL")
    except SQLAlchemyError as error:
        return fail(name, shown(str(getattr(error, "orig", error))), "Correct DATABASE_URL")
    if tables != 2:
        return fail(name, f"{server} has no tables of oncetune", _MIGRATE)
    if missing:
        roles = ", ".join(missing)
        remedy = f"As the database's owner: GRANT {roles} TO its login"
        return fail(name, f"the login of DATABASE_URL is no member of {roles}", remedy)
    return _version(url, server)


def _missing_roles(connection: Connection) -> list[str]:
    """The services' roles that this login may not act as."""
    member = "SELECT rolname FROM pg_roles WHERE rolname = ANY(:roles) AND pg_has_role(current_user, oid, 'MEMBER')"
    known = set(connection.scalars(text(member), {"roles": list(ROLES)}))
    return [role for role in ROLES if role not in known]


def _version(url: str, server: str) -> Check:
    try:
        found = current(url)
    except SQLAlchemyError:  # a service's login need not read the migrator's table
        return ok("database", f"{server} answers and has tables; their version is not for this login to read")
    if found == head():
        return ok("database", f"{server} answers and is migrated ({found})")
    if found is not None and found not in revisions():
        return warn("database", f"{server} is at {found}, which is newer than this version", "Update this installation")
    return fail("database", f"{server} is at {found}, {head()} is needed", _MIGRATE)


def check_disk(folders: Sequence[str | None], minimum_bytes: int) -> Check:
    """The least free space under these folders, or under the current one when none is known."""
    on_disk = [folder for folder in folders if folder and "://" not in folder]
    places = {_existing(Path(folder).absolute()) for folder in on_disk} or {Path.cwd()}
    try:
        free, place = min((shutil.disk_usage(place).free, place) for place in places)
    except OSError as error:
        return unknown("disk", f"cannot be looked at: {error.strerror}")
    words = f"{free / 2**30:.1f} GiB free under {place}"
    if free < minimum_bytes:
        remedy = "Free some space, or set ONCETUNE_ARTIFACTS and ONCETUNE_TRAINER_STAGING to a larger disk"
        return fail("disk", f"{words}; at least {minimum_bytes / 2**30:.1f} GiB are needed", remedy)
    return ok("disk", words)


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def check_sidecar(delivery: str, http_port: str, grpc_port: str, *, token: str | None) -> Check:
    """Whether a sidecar answers on both ports. Without one the service runs and its events wait."""
    name = "sidecar"
    if delivery == "direct":
        return ok(name, "none is needed: ONCETUNE_TRIGGER_DELIVERY is direct")
    if delivery != "sidecar":
        return fail(name, f"ONCETUNE_TRIGGER_DELIVERY is {shown(delivery)}", "Set it to sidecar or direct")
    for setting, port in (("DAPR_HTTP_PORT", http_port), ("DAPR_GRPC_PORT", grpc_port)):
        if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
            return fail(name, f"{setting} is {shown(port)}", f"Set {setting} to the sidecar's port")
    try:
        url = f"http://127.0.0.1:{http_port}/v1.0/healthz/outbound"
        headers = {_TOKEN_HEADER: token} if token else {}
        answer = httpx.get(url, headers=headers, timeout=_ANSWER_SECONDS, trust_env=False)
        answer.raise_for_status()
        socket.create_connection(("127.0.0.1", int(grpc_port)), _ANSWER_SECONDS).close()
    except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
        words = f"does not answer on {http_port} and {grpc_port}: {shown(str(error) or type(error).__name__)}"
        remedy = "Start daprd with this environment beside the service; until then events wait in the database"
        return warn(name, words, remedy)
    return ok(name, f"answers on {http_port} and {grpc_port}")
