"""Trainer's settings, read once in `main.py`."""

import os
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, PlainValidator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from oncetune.artifacts.store import Place, read_place
from oncetune.datasets.fetch_rules import FetchRules
from oncetune.ledger.leases import StrikeRule
from oncetune.settings import ServiceSettings
from oncetune.trainer.rows_order import FetchOrder


class TrainerSettings(ServiceSettings):
    """`ONCETUNE_TRAINER_…`. Durations are ISO 8601 (`PT30S`, `PT0.5S`)."""

    model_config = SettingsConfigDict(env_prefix="ONCETUNE_TRAINER_")

    # Where results live: a folder, or s3://bucket/prefix.
    artifacts: Annotated[Place, Field(validation_alias="ONCETUNE_ARTIFACTS"), NoDecode, PlainValidator(read_place)]
    model_cache: Annotated[Path, Field(validation_alias="ONCETUNE_MODEL_CACHE")]  # converted models
    staging: Path  # attempts in work: a folder of this trainer alone, emptied when it starts
    checkpoints: Path | None = None  # a folder; None: `artifacts` if that is one, else one beside `staging`
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
    # A checkpoint holds adapter and optimizer (33 MB at rank 8) and the adapter an early stop would keep (10 MB more);
    # they never take more than a twentieth of the time.
    checkpoint_every: timedelta = timedelta(seconds=30)  # PT0S: after every step
    sweep_every: timedelta = timedelta(hours=1)  # of what killed attempts left in `artifacts`
    artifacts_kept: timedelta | None = None  # so long after a run's end its results go; None: never
    sweep_batch: Annotated[int, Field(ge=1, le=100_000)] = 500  # runs that are looked up in one transaction
    max_strikes: Annotated[int, Field(ge=1, validation_alias="ONCETUNE_TRIGGER_MAX_STRIKES")] = 3
    max_requeue_backoff: Annotated[timedelta, Field(validation_alias="ONCETUNE_TRIGGER_MAX_REQUEUE_BACKOFF")] = (
        timedelta(minutes=5)
    )

    # The dataset of a URL, MiB of decoded bytes: as large as a body may be, unless a URL's may be larger.
    max_dataset_size_mb: Annotated[int, Field(ge=1, le=64, validation_alias="DPO_MAX_DATASET_SIZE_MB")] = 5
    fetch_max_size_mb: Annotated[int | None, Field(ge=1, le=1024)] = None
    fetch_deadline: timedelta = timedelta(minutes=1)  # from the first look-up to the last byte
    fetch_ports: tuple[Annotated[int, Field(ge=1, le=65_535)], ...] = (80, 443)
    fetch_allow: tuple[str, ...] = ()  # hosts and networks that are no public ones, see FetchRules
    fetch_ca_file: Path | None = None  # PEM: certificates that are trusted beside the public ones

    @model_validator(mode="after")
    def _may_be_fetched(self) -> Self:
        FetchRules(max_bytes=1, allow=self.fetch_allow)  # raises ValueError for an entry that cannot be read
        return self

    @model_validator(mode="after")
    def _two_renewals_may_fail(self) -> Self:
        if self.renew_every * 3 > self.lease:
            raise ValueError("renew_every must fit three times into lease")
        return self

    @model_validator(mode="after")
    def _nothing_that_lasts_is_emptied(self) -> Self:
        staging = self.staging.resolve()
        lasting = (self.artifacts, self.model_cache, self.checkpoints)
        if any(isinstance(place, Path) and place.resolve().is_relative_to(staging) for place in lasting):
            raise ValueError("staging is emptied at each start: artifacts, model_cache, checkpoints must lie outside")
        return self

    def fetch_order(self, url: str) -> FetchOrder:
        """What the dataset of this URL may be and where it may come from."""
        return FetchOrder(
            url=url,
            max_bytes=(self.fetch_max_size_mb or self.max_dataset_size_mb) * 1024 * 1024,
            deadline=self.fetch_deadline,
            ports=self.fetch_ports,
            allow=self.fetch_allow,
            ca_file=self.fetch_ca_file,
        )

    @property
    def checkpoint_root(self) -> Path:
        """Where checkpoints lie: whoever goes on with a run needs the same disk there."""
        if self.checkpoints is not None:
            return self.checkpoints
        return self.artifacts if isinstance(self.artifacts, Path) else self.staging.with_name("checkpoints")

    @property
    def strikes(self) -> StrikeRule:
        return StrikeRule(self.max_strikes, self.max_requeue_backoff)
