"""What every service is told in the same words."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Read from the environment, once, in each service's `main.py`. Durations are ISO 8601 (`PT30S`, `PT0.5S`)."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, hide_input_in_errors=True)

    database_url: Annotated[str, Field(validation_alias="DATABASE_URL")]
    environment: Annotated[Literal["local", "production"], Field(validation_alias="ONCETUNE_ENVIRONMENT")] = (
        "production"
    )
    # Of the routes of a process; trigger and status have as many connections for them each, and a few for loops.
    threads: Annotated[int, Field(ge=2, le=100, validation_alias="ONCETUNE_THREADS")] = 10
    # In work at once, whether they have a thread yet or not; each may hold a body of DPO_MAX_DATASET_SIZE_MB.
    requests: Annotated[int, Field(ge=10, le=100_000, validation_alias="ONCETUNE_REQUESTS")] = 1000
