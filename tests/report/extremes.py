"""Reports at the edge: the least there can be, one that means harm, one of the largest."""

from oncetune.contracts.quality import Finding, QualityReport
from oncetune.contracts.run_report import AttemptFacts, DatasetFacts, RunReport
from oncetune.contracts.training_record import Evaluation, Phase, Sample, StepRecord, TrainingRecord
from tests.report.reports import NOON, manifest, record, report, steps_of


def minimal() -> RunReport:
    """One step, nothing held out, nothing sampled, nothing looked at."""
    least = TrainingRecord(
        metrics={},
        steps=(StepRecord(step=1, loss=0.693, tokens=90, seconds=0.4),),
        base_model="toy",
        base_model_revision="",
    )
    return report(
        least,
        quality=None,
        attempts=(AttemptFacts(attempt=1, worker="w", started_at=NOON, ended="completed"),),
        duplicates_dropped=0,
        phases=(),
        dataset=DatasetFacts(source="inline", format="text", rows=1, bytes=60, sha256="8c" * 32),
        manifest=manifest(
            least, parent_run_id=None, dataset_set_sha256=None, hyperparameters={}, packages={}, quality_gate="off"
        ),
    )


HARM = (
    "</style></title></textarea><script>document.title='taken'</script><img src=https://evil.example/x onerror=alert()>"
    "<style>@import 'https://evil.example/y'</style>\"'><svg onload=alert(2)>{{ 7*7 }}{% raw %}\u202e gnp\x00\x1b[31m"
)


def hostile() -> RunReport:
    """Everything that a stranger may have written is HARM."""
    training = record(
        samples=[Sample(prompt=HARM, before=HARM, after=HARM, held_out=False)],
        base_model=HARM,
        device=HARM,
        stopped_early=HARM,
        packages={HARM: HARM},
        phases=[Phase(name=HARM, seconds=1.0)],
    )
    finding = Finding(code="x", level="error", count=1, message=HARM, example=HARM, lines=(1,))
    return report(
        training,
        kb_id=HARM,
        exp_name=HARM,
        requested_model=HARM,
        dataset=DatasetFacts(
            source="url",
            url="javascript:alert(3)//" + HARM,
            format=HARM,
            rows=1,
            bytes=1,
            sha256=HARM,
            trained_before=(HARM,),
            notes=(HARM,),
        ),
        quality=QualityReport(rows=1, findings=(finding,), numbers={HARM: 1}),
        attempts=(AttemptFacts(attempt=1, worker=HARM, started_at=NOON, ended=HARM),),
        manifest=manifest(training, platform=HARM, parent_run_id=HARM, hyperparameters={HARM: [HARM]}),
        differs_from_parent={HARM: (HARM, HARM)},
    )


def largest() -> RunReport:
    """20,000 steps, 200 evaluations, 32 samples of 20,000 characters that are written as five, too many of all else."""
    long = "<\"&'>" * 4000
    training = record(
        steps=steps_of(20_000),
        evaluations=[
            Evaluation(step=100 * n, rows=64, reward_accuracy=0.9, reward_margin=float(n % 7), logps_chosen=-n / 9)
            for n in range(201)
        ],
        samples=[Sample(prompt=long, before=long, after=long, held_out=True)] * 32,
    )
    findings = [
        Finding(code=f"finding_{n}", level="error", count=9, message=long, example=long, lines=tuple(range(1, 21)))
        for n in range(300)
    ]
    attempts = [AttemptFacts(attempt=n, worker=long, started_at=NOON, ended=long) for n in range(1, 501)]
    return report(
        training,
        quality=QualityReport(rows=9, findings=findings, numbers={f"number_{n}": n for n in range(500)}),
        attempts=attempts,
        phases=[Phase(name=long, seconds=n) for n in range(100)],
        differs_from_parent={f"field_{n}": (long, long) for n in range(500)},
        dataset=DatasetFacts(
            source="url",
            url=long,
            format=long,
            rows=9,
            bytes=9,
            sha256=long,
            trained_before=[long] * 500,
            notes=[long] * 500,
        ),
    )
