"""What a training child leaves beside its adapter: FOLDER/record.json, the numbers and samples of its whole run.

The last line of the protocol (contracts/progress.py) carries the few that `metrics` shows; the report is made of these.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from oncetune.contracts.progress import Measured

RECORD_NAME = "record.json"
ANSWER_TOKENS = 64  # of a sample, at most


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class StepRecord(_Part):
    """The means of one optimizer step, numbered from 1."""

    step: Annotated[int, Field(ge=1)]
    loss: Measured = None
    reward_margin: Measured = None
    reward_accuracy: Measured = None
    logps_chosen: Measured = None
    grad_norm: Measured = None
    learning_rate: Measured = None
    tokens: int = 0  # since the start, without padding
    seconds: float = 0.0  # of training since the start, that of earlier attempts included


class Evaluation(_Part):
    """The held-out rows at one step; step 0 is the base model. Means are over rows, not over batches."""

    step: Annotated[int, Field(ge=0)]
    rows: Annotated[int, Field(ge=1)]
    reward_accuracy: Measured = None  # share of rows with a positive margin; a tie is no success
    reward_margin: Measured = None  # beta times the difference of the log-ratios
    logps_chosen: Measured = None  # summed over the answer's tokens
    logps_rejected: Measured = None
    logps_chosen_per_token: Measured = None  # nats


class Sample(_Part):
    """One prompt, answered greedily by the base model and by the tuned one."""

    prompt: str  # ends with … where it was cut
    before: str  # at most ANSWER_TOKENS, as after
    after: str
    held_out: bool  # else the prompt was trained on: no rows were held out


class Phase(_Part):
    """How long a part of the attempt took."""

    name: str  # fetching, checking, loading, evaluating, training, saving, …
    seconds: Annotated[float, Field(ge=0)]


class TrainingRecord(_Part):
    """Everything that the child knows of its run."""

    record_version: Literal[1] = 1
    metrics: dict[str, JsonValue]  # those of Finished
    steps: tuple[StepRecord, ...] = ()  # of a long run every n-th, counted from the last
    evaluations: tuple[Evaluation, ...] = ()
    samples: tuple[Sample, ...] = ()
    samples_missing: str | None = None  # why there are none; None as well where nothing could be asked
    phases: tuple[Phase, ...] = ()
    stopped_early: str | None = None  # the sentence that says why
    adapter_step: int | None = None  # after an early stop: the adapter and its evaluation are of this step
    rows_trained: int = 0
    rows_held_out: int = 0
    base_model: str
    base_model_revision: str
    packages: dict[str, str] = {}  # name → version, of everything that decides what is computed
    device: str = ""  # the hardware's own name
    device_kind: str = ""  # cpu or cuda
    precision: str = ""
    threads: int | None = None
    python: str = ""

    @property
    def last_step(self) -> int:
        """How many optimizer steps were made; `steps` may hold only some of them, the last one always."""
        return self.steps[-1].step if self.steps else 0

    @property
    def kept_steps(self) -> tuple[StepRecord, ...]:
        """Those that made the adapter: after an early stop the last ones did not."""
        return tuple(step for step in self.steps if self.adapter_step is None or step.step <= self.adapter_step)
