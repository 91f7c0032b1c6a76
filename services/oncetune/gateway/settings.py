"""What the gateway and every service behind it agree on; the names are the contract's."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

MIN_SECRET_CHARACTERS = 16


def _a_secret(secret: SecretStr | None) -> SecretStr | None:
    """Long enough to be one, and UTF-8: other bytes would break every signature. Empty is unset."""
    text = secret.get_secret_value() if secret else ""
    if text and len(text) < MIN_SECRET_CHARACTERS:
        raise ValueError(f"use at least {MIN_SECRET_CHARACTERS} characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("the bytes are not UTF-8") from error
    return secret or None


class GatewaySettings(BaseSettings):
    """Read from the environment. Without `DPO_GATEWAY_SHARED_SECRET` a service refuses to start."""

    model_config = SettingsConfigDict(
        env_prefix="DPO_GATEWAY_", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )

    shared_secret: Annotated[SecretStr, Field(min_length=MIN_SECRET_CHARACTERS), AfterValidator(_a_secret)]
    shared_secret_previous: Annotated[SecretStr | None, AfterValidator(_a_secret)] = (
        None  # accepted beside the current one while a secret rotates
    )
    header_prefix: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,60}$")] = "X-Novalto"
    max_claim_age_seconds: Annotated[int | None, Field(gt=0, validation_alias="DPO_MAX_CLAIM_AGE_SECONDS")] = None


class RegistrationSettings(BaseSettings):
    """How the gateway is told where this service is; off without `DPO_REGISTER_URL`. An empty variable is an unset one.

    What makes no sense here is refused by `registration_problems`, and a value of the wrong type by
    `Registration.unreadable`; neither stops a service.
    """

    model_config = SettingsConfigDict(
        env_prefix="DPO_", env_ignore_empty=True, frozen=True, populate_by_name=True, hide_input_in_errors=True
    )

    register_url: str | None = None
    register_secret: SecretStr | None = None
    register_self_check: bool = True  # off where a network lets nobody call himself by his public name
    public_base_url: str | None = None
    service_ttl_seconds: int = 21_600
    runpod_pod_id: Annotated[str | None, Field(validation_alias="RUNPOD_POD_ID")] = None
    port: Annotated[int, Field(ge=1, le=65535, validation_alias="ONCETUNE_PORT")] = 8080  # where this service listens
    environment: Annotated[Literal["local", "production"], Field(validation_alias="ONCETUNE_ENVIRONMENT")] = (
        "production"
    )
