"""What is told of a finished training: manifest.json, report.json, and the report and model card made of them.

None of it is worth a run: where something is missing, a line of the log says so and the adapter is published without.
"""

import hashlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, JsonValue, ValidationError
from sqlalchemy import Engine

from oncetune.artifacts.store import LOG_NAME
from oncetune.contracts.manifest import Manifest, differences
from oncetune.contracts.recipe import TrainingRecipe
from oncetune.contracts.run_report import MANIFEST_JSON, REPORT_JSON, RESULTS_FOLDER, RunReport
from oncetune.contracts.training_record import RECORD_NAME, Phase, TrainingRecord
from oncetune.ledger.leases import Lease
from oncetune.logs import Outage, log
from oncetune.postgres import DATABASE_AWAY, transaction
from oncetune.sources import source_sha256
from oncetune.trainer.child_environment import plain_environment
from oncetune.trainer.run_facts import RunFacts, read_facts
from oncetune.trainer.settings import TrainerSettings

WEIGHTS = "adapter/adapter_model.safetensors"
REPORT_PROGRAM = (sys.executable, "-P", "-m", "oncetune.report")
_MOST_RECORD_BYTES = 64 * 1024 * 1024  # 300,000 steps
_LOOK_AGAIN_SECONDS = 1.0  # at a database that is away
_LOOK_AT_PROGRAM_SECONDS = 0.05


@dataclass(frozen=True)
class Results:
    """Writes FOLDER/results/ once the child has finished.

    `must_stop` waits for so many seconds and says at once when the attempt has to end: it cuts short how long the
    report, or a database that is away, is waited for.
    """

    engine: Engine
    settings: TrainerSettings
    lease: Lease
    folder: Path
    must_stop: Callable[[float], bool]
    deadline: timedelta = timedelta(minutes=5)  # for report.html: 2 s of the processor, which others may want as well

    def write(self, phases: tuple[Phase, ...] = ()) -> Manifest | None:
        """The manifest; None when there is none. `phases` are those before the training. Raises nothing."""
        try:
            manifest = self._tell(phases)
            if manifest is not None:
                self._render()
        except (OSError, ValidationError, TooLarge) as error:
            log.warning("results.none", attempt=self.lease.attempt, reason=_reason(error))
        except Exception:  # noqa: BLE001 - a bug is shouted about, and costs no adapter that took hours
            log.exception("results.broken", attempt=self.lease.attempt)
        else:
            return manifest
        return None

    def _tell(self, phases: tuple[Phase, ...]) -> Manifest | None:
        record = _read_record(self.folder / RECORD_NAME)
        weights_sha256 = _sha256_of(self.folder / WEIGHTS)
        facts = self._read_facts()
        if facts is None:
            return None
        manifest = self._manifest(record, facts, weights_sha256)
        results = self.folder / RESULTS_FOLDER
        results.mkdir(exist_ok=True)
        _write(results / REPORT_JSON, _report(record, facts, manifest, phases))
        _write(results / MANIFEST_JSON, manifest)
        return manifest

    def _read_facts(self) -> RunFacts | None:
        outage = Outage(away="results.wait", back="results.go_on", attempt=self.lease.attempt)
        while True:
            try:
                with transaction(self.engine) as session:
                    facts = read_facts(session, self.lease, worker=self.settings.name)
                self.engine.dispose()  # no connection is held while the report is made
                outage.over()
                return facts
            except DATABASE_AWAY as error:
                outage.goes_on(error)
            if self.must_stop(_LOOK_AGAIN_SECONDS):
                log.warning("results.none", attempt=self.lease.attempt, reason="the database is away")
                return None

    def _manifest(self, record: TrainingRecord, facts: RunFacts, weights_sha256: str) -> Manifest:
        recipe = TrainingRecipe.model_validate(self.lease.recipe)
        return Manifest(
            run_id=str(self.lease.run_id),
            parent_run_id=facts.parent_run_id,
            dataset_sha256=facts.dataset.sha256,
            dataset_set_sha256=facts.dataset.set_sha256,
            dataset_rows=facts.dataset.rows,
            base_model=record.base_model,
            base_model_revision=record.base_model_revision,
            hyperparameters=recipe.hyperparameters.model_dump(mode="json"),
            quality_gate=recipe.quality_gate,
            seed=recipe.hyperparameters.seed,
            packages=record.packages,
            python=record.python,
            platform=platform.platform(),
            device=record.device,
            device_kind=record.device_kind,
            precision=record.precision,
            threads=record.threads,
            code_version=version("oncetune"),
            code_sha256=source_sha256(),
            weights_sha256=weights_sha256,
        )

    def _render(self) -> None:
        """report.html and the model card, by a program of its own: it knows no secret, and its end is not ours."""
        try:
            with (
                (self.folder / LOG_NAME).open("ab") as training_log,
                subprocess.Popen(
                    [*REPORT_PROGRAM, str(self.folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=training_log,
                    env=plain_environment(),
                ) as program,
            ):
                reason = self._wait_for(program)
        except OSError as error:
            reason = _reason(error)
        if reason is not None:
            log.warning("report.none", attempt=self.lease.attempt, reason=reason)

    def _wait_for(self, program: subprocess.Popen[bytes]) -> str | None:
        """Why there is no report; None when there is one. The program has ended, or will at once."""
        end = time.monotonic() + self.deadline.total_seconds()
        try:
            while (status := program.poll()) is None:
                if time.monotonic() > end:
                    return f"it was not done in {self.deadline}"
                if self.must_stop(_LOOK_AT_PROGRAM_SECONDS):
                    return "the attempt has to end"
            return f"exit status {status}, see the training log" if status else None
        finally:
            program.kill()


class TooLarge(Exception):
    """More than anybody would read."""


def _read_record(path: Path) -> TrainingRecord:
    if path.stat().st_size > _MOST_RECORD_BYTES:
        raise TooLarge(f"{path.name} is larger than {_MOST_RECORD_BYTES} bytes")
    return TrainingRecord.model_validate_json(path.read_bytes())


def _sha256_of(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _report(record: TrainingRecord, facts: RunFacts, manifest: Manifest, phases: tuple[Phase, ...]) -> RunReport:
    return RunReport(
        run_id=manifest.run_id,
        kb_id=facts.kb_id,
        exp_name=facts.exp_name,
        requested_model=facts.requested_model,
        requested_at=facts.requested_at,
        started_at=facts.started_at,
        made_at=facts.now,
        dataset=facts.dataset,
        quality=facts.quality,
        training=record,
        attempts=facts.attempts,
        duplicates_dropped=facts.duplicates_dropped,
        phases=(*phases, *record.phases),
        manifest=manifest,
        differs_from_parent=None if facts.parent is None else _differences(facts.parent, manifest),
    )


def _differences(parent: Manifest, manifest: Manifest) -> dict[str, tuple[str, str]]:
    return {name: (_said(there), _said(here)) for name, (there, here) in differences(parent, manifest).items()}


def _said(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _write(path: Path, document: BaseModel) -> None:
    path.write_text(document.model_dump_json(indent=1), encoding="utf-8")


def _reason(error: Exception) -> str:
    """Never what was read: it may hold text of the dataset."""
    match error:
        case ValidationError():
            where = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
            return f"{error.title} cannot be read: {where or 'the whole'}"
        case OSError():
            return f"{error.strerror or type(error).__name__}: {Path(str(error.filename)).name}"
        case _:
            return str(error)
