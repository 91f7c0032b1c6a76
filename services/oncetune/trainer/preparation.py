"""What an attempt does before its training: fetch the rows of a URL, once; stage them; look at their quality, once."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import Engine

from oncetune.contracts.progress import RECIPE, ROWS
from oncetune.contracts.quality import QualityReport
from oncetune.contracts.recipe import TrainingRecipe
from oncetune.contracts.training_record import Phase
from oncetune.datasets.enough_rows import too_many_equal
from oncetune.datasets.unpacking import BrokenDataset, unpack_to
from oncetune.ledger.datasets import dataset_url, read_chunks, read_quality, store_fetched_dataset, store_quality
from oncetune.ledger.leases import EndReason, Lease
from oncetune.logs import log
from oncetune.postgres import transaction
from oncetune.trainer.checkpoints import plan_checkpoints
from oncetune.trainer.child_environment import plain_environment
from oncetune.trainer.outcome import Failure, Stopped, Success
from oncetune.trainer.rows_order import ORDER, PACKED, QUALITY, FetchedRows
from oncetune.trainer.settings import TrainerSettings

# A phase, the command of its child and what that finds in its environment → its end, or ours.
Listen = Callable[[str, tuple[str, ...], Mapping[str, str]], Success | Failure | Stopped]

_PROGRAM = (sys.executable, "-P", "-m", "oncetune.trainer.rows_program")
_SENTENCE_CHARACTERS = 2000


class Preparation:
    """Of one attempt. `lease` holds the whole recipe once this is done; `phases` says how long its parts took."""

    def __init__(self, engine: Engine, settings: TrainerSettings, lease: Lease, folder: Path, listen: Listen) -> None:
        self._engine = engine
        self._settings = settings
        self._folder = folder
        self._listen = listen
        self.lease = lease
        self.phases: tuple[Phase, ...] = ()

    def prepare(self) -> Failure | Stopped | None:
        """None when all that the training child reads waits in the folder.

        Raises LeaseLost, OSError for a disk that refuses, and what a database raises that is away. No connection is
        held while a child works.
        """
        recipe = _read_recipe(self.lease)
        if isinstance(recipe, Failure):
            return recipe
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        sha256 = recipe.dataset_sha256
        if ended := self._fetch() if sha256 is None else self._unpack(sha256):
            return ended
        recipe = TrainingRecipe.model_validate(self.lease.recipe)
        (self._folder / RECIPE).write_text(recipe.model_dump_json())
        if ended := self._judge_rows(recipe):
            return ended
        plan_checkpoints(self._settings, self.lease, self._folder)
        self._engine.dispose()
        return None

    def _unpack(self, sha256: str) -> Failure | None:
        try:
            with transaction(self._engine) as session:
                unpack_to(read_chunks(session, sha256), self._folder / ROWS, sha256=sha256)
        except BrokenDataset as error:
            return Failure("broken_dataset", str(error))
        return None

    def _fetch(self) -> Failure | Stopped | None:
        """Whatever the URL gives later, every attempt of the run trains on what it gave first."""
        with transaction(self._engine) as session:
            url = dataset_url(session, self.lease.run_id)
        if url is None:
            return Failure("bad_recipe", "The recipe cannot be read: it names no dataset")
        order = self._folder / ORDER
        with os.fdopen(os.open(order, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self._settings.fetch_order(url).model_dump_json())
        outcome = self._run("fetching", "fetch")
        if not isinstance(outcome, Success):
            return outcome
        fetched = FetchedRows.model_validate(outcome.metrics)
        with transaction(self._engine) as session:
            sha256 = store_fetched_dataset(session, self.lease, fetched.packed(self._folder))
        (self._folder / PACKED).unlink()
        self.lease = replace(self.lease, recipe={**self.lease.recipe, "dataset_sha256": sha256})
        log.info("dataset.stored", attempt=self.lease.attempt, sha256=sha256, rows=fetched.rows, bytes=fetched.bytes)
        return None if sha256 == fetched.sha256 else self._unpack(sha256)

    def _judge_rows(self, recipe: TrainingRecipe) -> Failure | Stopped | None:
        """`block` ends a run for what was found, or waits for an attempt that can look; any gate ends one whose answers
        are equal in more rows than training may leave out."""
        with transaction(self._engine) as session:
            report = read_quality(session, self.lease.run_id)
        if report is None:
            outcome = self._run("checking", "examine")
            if not isinstance(outcome, Success):
                if recipe.quality_gate == "block" or not self._may_go_on_after(outcome):
                    return outcome
                log.warning("quality.unknown", attempt=self.lease.attempt, reason=outcome.message)
                return None
            report = QualityReport.model_validate_json((self._folder / QUALITY).read_bytes())
            if recipe.quality_gate != "off":
                self._keep(report)
        if recipe.quality_gate == "block" and report.errors:
            return Failure("dataset_quality", _sentence(report))
        refused = too_many_equal(report, recipe.hyperparameters)
        return None if refused is None else Failure(refused.code, refused.message)

    def _may_go_on_after(self, outcome: Failure | Stopped) -> bool:
        """Whether nothing but the look itself went wrong. Its rows are gone where it died of a full disk."""
        blind = isinstance(outcome, Stopped) and outcome.reason in (EndReason.CHILD_DIED, EndReason.NO_PROGRESS)
        return blind and all((self._folder / name).exists() for name in (ROWS, RECIPE))

    def _keep(self, report: QualityReport) -> None:
        with transaction(self._engine) as session:
            store_quality(session, self.lease, report)
        levels = [finding.level for finding in report.findings]
        log.info(
            "dataset.examined",
            attempt=self.lease.attempt,
            rows=report.rows,
            errors=levels.count("error"),
            warnings=levels.count("warning"),
        )

    def _run(self, phase: str, task: str) -> Success | Failure | Stopped:
        self._engine.dispose()
        begun = time.monotonic()
        outcome = self._listen(phase, (*_PROGRAM, task), plain_environment())
        self.phases += (Phase(name=phase, seconds=time.monotonic() - begun),)
        return outcome


def _read_recipe(lease: Lease) -> TrainingRecipe | Failure:
    try:
        return TrainingRecipe.model_validate(lease.recipe)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        return Failure("bad_recipe", f"The recipe cannot be read: {where}")


def _sentence(report: QualityReport) -> str:
    """What `block` refused: codes, rows and what was said, no text of the dataset."""
    told = [
        f"{finding.code} (rows {', '.join(map(str, finding.lines))}{', …' * (finding.count > len(finding.lines))}): "
        f"{finding.message}"
        for finding in report.errors
    ]
    return f"The dataset is not trained on, its quality_gate is block. {' '.join(told)}"[:_SENTENCE_CHARACTERS]
