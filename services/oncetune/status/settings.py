"""Status's settings, read once in `main.py`."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator
from pydantic_settings import NoDecode, SettingsConfigDict

from oncetune.artifacts.store import Place, read_place
from oncetune.settings import ServiceSettings

_LONGEST_LIFETIME = timedelta(days=7)  # what S3 signs for at most


def _read_place_or_none(value: object) -> Place | None:
    return None if value in (None, "") else read_place(value)


def _a_lifetime(value: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= value <= _LONGEST_LIFETIME:
        raise ValueError("give one second to seven days, PT1H say")
    return value


class StatusSettings(ServiceSettings):
    """`ONCETUNE_STATUS_…`, and the names that services share."""

    model_config = SettingsConfigDict(env_prefix="ONCETUNE_STATUS_")

    # Where the trainers put results; without it no run has a link to any.
    artifacts: Annotated[
        Place | None,
        Field(validation_alias="ONCETUNE_ARTIFACTS"),
        NoDecode,
        PlainValidator(_read_place_or_none),
    ] = None
    public_base_url: Annotated[str | None, Field(validation_alias="DPO_PUBLIC_BASE_URL")] = None  # links begin so
    url_lifetime: Annotated[timedelta, AfterValidator(_a_lifetime)] = timedelta(hours=1)  # of a link to a result
    downloads_at_once: Annotated[int, Field(ge=1, le=1000)] = 64  # from a folder; others queue up to 5 s
    download_deadline: timedelta = timedelta(minutes=30)  # who takes longer is hung up on, and may go on with `Range`
