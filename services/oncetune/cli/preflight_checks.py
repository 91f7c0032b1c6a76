"""The single checks of `oncetune preflight`. Each returns one Check and raises nothing."""

import re
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from sqlalchemy import Connection, text
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from oncetune.cli.checks import Check, fail, ok, shown, unknown, warn
from oncetune.dapr import TOKEN_HEADER
from oncetune.gateway.public_url import address_of, host_of, is_local
from oncetune.local.preflight import CannotStart, free_ports, require_port
from oncetune.migrations.upgrade import current, head, revisions
from oncetune.postgres import connect, printable

USUAL_PORT = 8080
ROLES = ("oncetune_trigger", "oncetune_status")
_ANSWER_SECONDS = 2.0
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


def check_environment(environment: str) -> Check:
    """Local or production."""
    if environment not in ("local", "production"):
        return fail("environment", shown(environment), "Set ONCETUNE_ENVIRONMENT to local or production")
    return ok("environment", environment)


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


def check_public_url(url: str | None, *, pod_id: str | None, needed: bool, environment: str) -> Check:
    """Whether a gateway elsewhere could reach this URL, as far as the URL itself tells."""
    name = "public URL"
    if url is None:
        words = "none: DPO_PUBLIC_BASE_URL is not set and this is no pod"
        return fail(name, f"{words}, but DPO_REGISTER_URL is set", _PUBLIC) if needed else ok(name, words)
    if pod_id and not re.fullmatch(r"[A-Za-z0-9-]{1,50}", pod_id):
        return fail(name, f"the pod id is none: {shown(pod_id)}", "Set RUNPOD_POD_ID to the pod's id, letters and digits")
    host = host_of(url)
    parts = urlsplit(url) if host else None
    if host is None or parts is None or parts.query or parts.fragment or parts.username:
        return fail(name, f"is no plain http(s) URL: {_bare(url)}", _PUBLIC)
    production = environment == "production"
    if is_local(host):
        words = f"{url}: neither the gateway nor remote workers can reach {host}"
        return fail(name, words, _PUBLIC) if production else ok(name, f"{url}, on this machine only")
    if pod_id and address_of(host) is not None:
        remedy = "Unset DPO_PUBLIC_BASE_URL: the pod's proxy URL is derived from its id"
        return fail(name, f"{url}: a pod is never reached by its address", remedy)
    if production and parts.scheme == "http":
        return warn(name, f"{url} is not encrypted", "Serve it with https:// unless the network is yours alone")
    return ok(name, url)


def check_register_url(url: str | None, *, ttl_seconds: str) -> Check:
    """Whether registration can be tried; nothing is sent."""
    name = "registration"
    if not url:
        return ok(name, "off: DPO_REGISTER_URL is not set")
    if host_of(url) is None:
        return fail(name, f"DPO_REGISTER_URL is no URL: {_bare(url)}", "Set it to the gateway's http(s):// register route")
    if not (ttl_seconds.isascii() and ttl_seconds.isdigit() and int(ttl_seconds[:9]) > 0 and len(ttl_seconds) < 9):
        remedy = "Set DPO_SERVICE_TTL_SECONDS to whole seconds, 21600 say, or unset it"
        return fail(name, f"DPO_SERVICE_TTL_SECONDS is {shown(ttl_seconds)}", remedy)
    return ok(name, f"{_bare(url)}, for {ttl_seconds} s each time")


def _bare(url: str) -> str:
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
        return fail(name, "DATABASE_URL is no Postgres URL", "It looks like postgresql://user:password@host:5432/database")
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
    places = {_existing(Path(folder).absolute()) for folder in folders if folder} or {Path.cwd()}
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
        headers = {TOKEN_HEADER: token} if token else {}
        answer = httpx.get(url, headers=headers, timeout=_ANSWER_SECONDS, trust_env=False)
        answer.raise_for_status()
        socket.create_connection(("127.0.0.1", int(grpc_port)), _ANSWER_SECONDS).close()
    except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
        words = f"does not answer on {http_port} and {grpc_port}: {shown(str(error) or type(error).__name__)}"
        remedy = "Start daprd with this environment beside the service; until then events wait in the database"
        return warn(name, words, remedy)
    return ok(name, f"answers on {http_port} and {grpc_port}")
