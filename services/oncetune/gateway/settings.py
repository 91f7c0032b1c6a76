"""What the gateway and every service behind it agree on; the names are the contract's."""

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class GatewaySettings(BaseSettings):
    """Read from the environment. Without `DPO_GATEWAY_SHARED_SECRET` a service refuses to start."""

    model_config = SettingsConfigDict(
        env_prefix="DPO_GATEWAY_", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )

    shared_secret: Annotated[SecretStr, Field(min_length=16)]
    shared_secret_previous: SecretStr | None = None  # accepted beside the current one while a secret rotates
    header_prefix: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,60}$")] = "X-Novalto"
    max_claim_age_seconds: Annotated[int | None, Field(gt=0, validation_alias="DPO_MAX_CLAIM_AGE_SECONDS")] = None
