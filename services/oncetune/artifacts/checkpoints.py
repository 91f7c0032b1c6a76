"""Checkpoints beside the results: `<root>/<run>/checkpoints/<attempt>/<step>/`.

Each attempt writes into a folder of its own, so a zombie overwrites nobody's. Only a later attempt touches an
earlier one's folder: it takes what it goes on from and clears the rest away.
"""

import shutil
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from oncetune.contracts.checkpoint import BrokenSeal, Origin, Seal, check_seal, entries, sealed_steps, sync
from oncetune.logs import log

_FOLDER = "checkpoints"


def checkpoint_place(root: Path, run_id: UUID, attempt: int) -> Path:
    """Where an attempt's checkpoints lie."""
    return _of_run(root, run_id) / str(attempt)


def take_over(
    root: Path, run_id: UUID, attempt: int, origin: Origin, *, doubting: bool = False
) -> tuple[Path, Seal] | None:
    """Move the newest whole checkpoint of an earlier attempt into this attempt's place; None when there is none.

    It is moved first and checked there, out of reach of a zombie that clears its own folder; moving needs no room on
    the disk. One that is damaged or foreign is logged and thrown away; `doubting`, one from which an attempt got no
    further is, too. Raises OSError when the disk refuses.
    """
    place = checkpoint_place(root, run_id, attempt)
    earlier = [path for path in _attempts(root, run_id) if int(path.name) < attempt]
    found = [(step, int(path.name), path / str(step)) for path in earlier for step in sealed_steps(path)]
    taken = None
    for step, _, checkpoint in sorted(found, reverse=True):
        if doubting and _taken(checkpoint).exists():
            log.warning("checkpoint.passed_over", step=step, reason="an attempt that went on from it got no further")
            continue
        place.mkdir(parents=True, exist_ok=True)
        try:
            checkpoint.rename(place / str(step))
            taken = place / str(step), check_seal(place / str(step), origin)
            break
        except FileNotFoundError:  # a zombie cleared it away at this moment
            continue
        except BrokenSeal as broken:
            log.warning("checkpoint.passed_over", step=step, reason=str(broken))
            shutil.rmtree(place / str(step), ignore_errors=True)
    if taken:
        with suppress(OSError):  # no room: then it is not doubted
            _taken(taken[0]).touch()
        sync(place)
    for path in earlier:
        shutil.rmtree(path, ignore_errors=True)
    return taken


def keep_newest_checkpoint(root: Path, run_id: UUID) -> None:
    """Of a cancelled run: one checkpoint may be of use to somebody, more are waste."""
    attempts = _attempts(root, run_id)
    newest = max(((step, path) for path in attempts for step in sealed_steps(path)), default=None)
    for path in attempts:
        for checkpoint in entries(path):
            if newest is None or checkpoint != newest[1] / str(newest[0]):
                shutil.rmtree(checkpoint, ignore_errors=True)


def sweep_checkpoints(root: Path, run_id: UUID) -> None:
    """Of a completed or failed run: nobody goes on from them."""
    shutil.rmtree(f"{root}/{run_id}/{_FOLDER}", ignore_errors=True)  # no Path: each interns its parts for ever


def _taken(checkpoint: Path) -> Path:
    """Says that the checkpoint was taken over by the attempt in whose place it lies, which did not write it."""
    return checkpoint.with_name(f"{checkpoint.name}.taken")


def _of_run(root: Path, run_id: UUID) -> Path:
    return root / str(run_id) / _FOLDER


def _attempts(root: Path, run_id: UUID) -> list[Path]:
    return [path for path in entries(_of_run(root, run_id)) if path.name.isdecimal()]
