"""Trainer's settings, read once in `main.py`."""

import os
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from oncetune.ledger.leases import StrikeRule
from oncetune.settings import ServiceSettings


class TrainerSettings(ServiceSettings):
    """`ONCETUNE_TRAINER_…`. Durations are ISO 8601 (`PT30S`, `PT0.5S`)."""

    model_config = SettingsConfigDict(env_prefix="ONCETUNE_TRAINER_")

    artifacts: Annotated[Path, Field(validation_alias="ONCETUNE_ARTIFACTS")]  # where published adapters live
    model_cache: Annotated[Path, Field(validation_alias="ONCETUNE_MODEL_CACHE")]  # converted models
    staging: Path  # attempts in work: a folder of this trainer alone, emptied when it starts
    name: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")

    # Behind `nice` or `numactl`, say. -P: a file in the current folder never stands in for a module.
    training_command: tuple[str, ...] = (sys.executable, "-P", "-m", "oncetune.training")

    lease: timedelta = timedelta(seconds=30)
    renew_every: timedelta = timedelta(seconds=5)
    poll_every: timedelta = timedelta(seconds=1)  # a message may be lost, the poll may not
    outage_grace: timedelta = timedelta(minutes=10)  # how long a child trains on while the database is away
    progress_deadline: timedelta = timedelta(minutes=30)  # a child that gets no further hangs; loading is one step
    disk_grace: timedelta = timedelta(minutes=10)  # how long a finished adapter waits for a disk that refuses it
    max_log_bytes: Annotated[int, Field(ge=0)] = 10 * 1024 * 1024  # of what one attempt's child prints
    child_grace: timedelta = timedelta(seconds=5)  # between SIGTERM and SIGKILL of the child
    # A checkpoint holds adapter and optimizer (33 MB at rank 8); they never take more than a twentieth of the time.
    checkpoint_every: timedelta = timedelta(seconds=30)  # PT0S: after every step
    sweep_every: timedelta = timedelta(hours=1)  # of what killed attempts left in `artifacts`
    sweep_batch: Annotated[int, Field(ge=1, le=100_000)] = 500  # runs that are looked up in one transaction
    max_strikes: Annotated[int, Field(ge=1, validation_alias="ONCETUNE_TRIGGER_MAX_STRIKES")] = 3
    max_requeue_backoff: Annotated[timedelta, Field(validation_alias="ONCETUNE_TRIGGER_MAX_REQUEUE_BACKOFF")] = (
        timedelta(minutes=5)
    )

    @model_validator(mode="after")
    def _two_renewals_may_fail(self) -> Self:
        if self.renew_every * 3 > self.lease:
            raise ValueError("renew_every must fit three times into lease")
        return self

    @model_validator(mode="after")
    def _nothing_that_lasts_is_emptied(self) -> Self:
        staging = self.staging.resolve()
        if any(folder.resolve().is_relative_to(staging) for folder in (self.artifacts, self.model_cache)):
            raise ValueError("staging is emptied at each start: artifacts and model_cache must lie outside of it")
        return self

    @property
    def strikes(self) -> StrikeRule:
        return StrikeRule(self.max_strikes, self.max_requeue_backoff)
