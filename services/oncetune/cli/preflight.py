"""`oncetune preflight`: three inputs (pod id, port, secrets) become the environment of a deployment, and its checks."""

import os
import re
import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from oncetune.cli.checks import Check, State, document, fingerprint, ok, passed, table
from oncetune.cli.exits import Exit, Failure
from oncetune.cli.output import columns, print_json, put, tell
from oncetune.cli.preflight_checks import (
    bare,
    check_database,
    check_disk,
    check_port,
    check_public_url,
    check_registration,
    check_settings,
    check_sidecar,
    choose_port,
)
from oncetune.cli.secret_checks import check_secret
from oncetune.gateway.public_url import public_base_url
from oncetune.gateway.settings import RegistrationSettings

_SECRETS = frozenset(
    {
        "DPO_GATEWAY_SHARED_SECRET",
        "DPO_GATEWAY_SHARED_SECRET_PREVIOUS",
        "DPO_REGISTER_SECRET",
        "APP_API_TOKEN",
        "DAPR_API_TOKEN",
    }
)


@dataclass(frozen=True)
class Inputs:
    """What differs from pod to pod. `port` 0: 8080 or, where that is taken, any free one."""

    pod_id: str | None
    port: int
    gateway_secret: str | None
    register_secret: str | None
    minimum_free_bytes: int


def _named(name: str) -> AliasChoices:
    return AliasChoices(name)


class Surroundings(BaseSettings):
    """What is the same for every pod, from the environment. Nothing is refused here: the checks say what is wrong."""

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True, hide_input_in_errors=True)

    database_url: str | None = Field(None, validation_alias=_named("DATABASE_URL"))
    previous_secret: str | None = Field(None, validation_alias=_named("DPO_GATEWAY_SHARED_SECRET_PREVIOUS"))
    app_token: str | None = Field(None, validation_alias=_named("APP_API_TOKEN"))
    dapr_token: str | None = Field(None, validation_alias=_named("DAPR_API_TOKEN"))
    dapr_http_port: str = Field("3500", validation_alias=_named("DAPR_HTTP_PORT"))
    dapr_grpc_port: str = Field("50001", validation_alias=_named("DAPR_GRPC_PORT"))
    delivery: str = Field("sidecar", validation_alias=_named("ONCETUNE_TRIGGER_DELIVERY"))
    artifacts: str | None = Field(None, validation_alias=_named("ONCETUNE_ARTIFACTS"))
    staging: str | None = Field(None, validation_alias=_named("ONCETUNE_TRAINER_STAGING"))
    model_cache: str | None = Field(None, validation_alias=_named("ONCETUNE_MODEL_CACHE"))


def preflight(inputs: Inputs, *, file: Path | None, as_json: bool) -> None:
    """Check everything, print the table and the derived environment; raises Failure when a check failed.

    `file` gets the environment with the secrets whole, mode 0600, and only when nothing failed.
    """
    around = Surroundings()
    registration, wrong = _registration(inputs, choose_port(inputs.port))
    checks = _look(inputs, around, registration, wrong)
    derived = _derive(inputs, around, registration)
    if file is not None and passed(checks):
        _write(file, derived)
    masked = {name: _masked(name, value) for name, value in derived.items()}
    if as_json:
        print_json({**document(checks), "environment": masked})
    else:
        for line in [*table(checks), "", "The environment, with secrets as fingerprints:", *_listed(masked)]:
            put(line)
    if not passed(checks):
        failed = ", ".join(check.name for check in checks if check.state is State.FAIL)
        unwritten = f" {file} was not written." if file else ""
        raise Failure(f"Not ready: {failed}.{unwritten}", "" if as_json else "See above for what to do.")
    if file is not None:
        whole = shlex.quote(str(file.absolute()))  # a bare name would be looked for on the PATH
        tell(f"{file} holds it with the secrets whole. In a shell: set -a; . {whole}; set +a")


def _registration(inputs: Inputs, port: int) -> tuple[RegistrationSettings, dict[str, str]]:
    """The service's own settings as it will read them, and why some could not be read: those have their defaults."""
    given: dict[str, Any] = {"runpod_pod_id": inputs.pod_id, "port": port}
    given["register_secret"] = SecretStr(inputs.register_secret) if inputs.register_secret else None
    wrong: dict[str, str] = {}
    try:
        return RegistrationSettings(**given), wrong
    except ValidationError as error:
        for one in error.errors(include_input=False):
            told = str(one["loc"][0])
            wrong[told if told.isupper() else f"DPO_{told.upper()}"] = one["msg"]
    for name, field in RegistrationSettings.model_fields.items():
        if f"DPO_{name.upper()}" in wrong or field.validation_alias in wrong:
            given[name] = field.default
    return RegistrationSettings(**given), wrong


def _look(
    inputs: Inputs, around: Surroundings, registration: RegistrationSettings, wrong: dict[str, str]
) -> list[Check]:
    """Every check, in the order in which an operator would mend things."""
    derived_for_pod = inputs.pod_id is not None and registration.public_base_url is None
    return [
        check_settings(registration.environment, wrong),
        check_secret("DPO_GATEWAY_SHARED_SECRET", inputs.gateway_secret, same_as="the gateway's own secret"),
        *_previous(around.previous_secret, inputs.gateway_secret),
        _register_secret(inputs.register_secret, registration.register_url),
        ok("APP_API_TOKEN", "given" if around.app_token else "made here; the sidecar must read the same one"),
        check_port(registration.port, picked_for_pod=inputs.port == 0 and derived_for_pod),
        check_public_url(registration),
        check_registration(registration),
        check_database(around.database_url),
        check_disk((around.artifacts, around.staging, around.model_cache), inputs.minimum_free_bytes),
        check_sidecar(around.delivery, around.dapr_http_port, around.dapr_grpc_port, token=around.dapr_token),
    ]


def _derive(inputs: Inputs, around: Surroundings, registration: RegistrationSettings) -> dict[str, str]:
    """The environment for `oncetune serve trigger status`, secrets whole; what is not known is left out."""
    direct = around.delivery == "direct"
    known = {
        "ONCETUNE_ENVIRONMENT": registration.environment,
        "ONCETUNE_PORT": str(registration.port),
        "RUNPOD_POD_ID": inputs.pod_id,
        "DPO_PUBLIC_BASE_URL": public_base_url(registration),
        "DPO_GATEWAY_SHARED_SECRET": inputs.gateway_secret,
        "DPO_GATEWAY_SHARED_SECRET_PREVIOUS": around.previous_secret,
        "DPO_REGISTER_URL": registration.register_url,
        "DPO_REGISTER_SECRET": inputs.register_secret,
        "DPO_SERVICE_TTL_SECONDS": str(registration.service_ttl_seconds) if registration.register_url else None,
        "DATABASE_URL": around.database_url,
        "APP_API_TOKEN": around.app_token or secrets.token_urlsafe(32),
        "DAPR_API_TOKEN": around.dapr_token,
        "DAPR_HTTP_PORT": None if direct else around.dapr_http_port,
        "DAPR_GRPC_PORT": None if direct else around.dapr_grpc_port,
        "ONCETUNE_TRIGGER_DELIVERY": around.delivery,
        "ONCETUNE_TRIGGER_DIRECT_STATUS_URL": f"http://127.0.0.1:{registration.port}" if direct else None,
        "ONCETUNE_ARTIFACTS": around.artifacts,
        "ONCETUNE_TRAINER_STAGING": around.staging,
        "ONCETUNE_MODEL_CACHE": around.model_cache,
    }
    return {name: value for name, value in known.items() if value}


def _previous(previous: str | None, current: str | None) -> list[Check]:
    if not previous:
        return []
    name = "DPO_GATEWAY_SHARED_SECRET_PREVIOUS"
    if previous == current:
        return [Check(name, State.WARN, "is the current one", "Unset it: the rotation is over, or has not begun")]
    return [check_secret(name, previous, same_as="the secret before the rotation")]


def _register_secret(secret: str | None, register_url: str | None) -> Check:
    if not register_url:
        return ok("DPO_REGISTER_SECRET", "not used: DPO_REGISTER_URL is not set")
    return check_secret("DPO_REGISTER_SECRET", secret, same_as="the secret of the gateway's register route")


def _masked(name: str, value: str) -> str:
    """What a terminal may show: a secret's fingerprint, a URL without its password."""
    if name in _SECRETS:
        return f"(fingerprint {fingerprint(value)})"
    if name == "DPO_REGISTER_URL":
        return bare(value)
    return re.sub(r"(?i)(password=)[^&]*", r"\1***", re.sub(r"//\S*@", "//***@", value))


def _listed(environment: dict[str, str]) -> list[str]:
    return [f"  {line}" for line in columns(list(environment.items()))]


def _write(file: Path, environment: dict[str, str]) -> None:
    """A new file, never readable by anybody else: one that is there may be a sidecar's, whose tokens are in it."""
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in environment.items()]
    made = False
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            made = True
            out.writelines(lines)
    except FileExistsError as error:
        raise Failure(f"{file} is there already.", "Remove it, or give --env another file.") from error
    except OSError as error:
        if made:
            file.unlink(missing_ok=True)
        reason = error.strerror or type(error).__name__
        raise Failure(
            f"{file} cannot be written: {reason.lower()}.", "Give --env another file.", Exit.FAILURE
        ) from error
