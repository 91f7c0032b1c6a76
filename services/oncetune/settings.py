"""What every service is told in the same words."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
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

    @field_validator("*")
    @classmethod
    def _time_goes_forward(cls, value: Any) -> Any:
        """A pause below nothing would make a loop spin, or end it with an error at each turn."""
        if isinstance(value, timedelta) and value < timedelta(0):
            raise ValueError("a duration cannot be negative")
        return value
