"""Status's settings, read once in `main.py`."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class StatusSettings(BaseSettings):
    """The names that every service shares; status has none of its own yet."""

    model_config = SettingsConfigDict(
        env_prefix="ONCETUNE_STATUS_", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )

    database_url: Annotated[str, Field(validation_alias="DATABASE_URL")]
    environment: Annotated[Literal["local", "production"], Field(validation_alias="ONCETUNE_ENVIRONMENT")] = (
        "production"
    )
