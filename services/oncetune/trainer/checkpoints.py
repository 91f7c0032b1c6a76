"""What the trainer does about checkpoints: plan them for its child, and clear them away when nobody needs them."""

import hashlib
import json
from pathlib import Path
from uuid import UUID

from oncetune.artifacts.checkpoints import (
    checkpoint_place,
    keep_newest_checkpoint,
    sweep_checkpoints,
    take_over,
)
from oncetune.contracts.checkpoint import PLAN_NAME, CheckpointPlan, Origin
from oncetune.contracts.run import RunState
from oncetune.ledger.leases import Lease
from oncetune.logs import log
from oncetune.trainer.settings import TrainerSettings

_DOUBTED_AFTER = 2  # strikes since a run got further: one may be that of the attempt that wrote the checkpoint


def plan_checkpoints(settings: TrainerSettings, lease: Lease, folder: Path) -> None:
    """Stage the plan, with what the attempt goes on from. A disk that refuses costs checkpoints, not the attempt."""
    place = checkpoint_place(settings.checkpoint_root, lease.run_id, lease.attempt)
    origin = Origin(
        run_id=str(lease.run_id),
        dataset_sha256=lease.recipe["dataset_sha256"],
        recipe_sha256=hashlib.sha256(json.dumps(lease.recipe, sort_keys=True).encode()).hexdigest(),
    )
    try:
        place.mkdir(parents=True, exist_ok=True)
        doubting = lease.strikes >= _DOUBTED_AFTER
        taken = take_over(settings.checkpoint_root, lease.run_id, lease.attempt, origin, doubting=doubting)
    except OSError as error:
        log.warning("checkpoints.off", attempt=lease.attempt, reason=error.strerror)
        return
    plan = CheckpointPlan(
        origin=origin,
        place=place.resolve(),
        every_seconds=settings.checkpoint_every.total_seconds(),
        resume_from=taken and taken[0].resolve(),
    )
    (folder / PLAN_NAME).write_text(plan.model_dump_json())
    if taken:
        log.info("checkpoint.taken_over", attempt=lease.attempt, step=taken[1].step)


def clear_checkpoints(root: Path, run_id: UUID, state: RunState | None) -> None:
    """What a run in this state has no use for: all of them once it has its result, all but one if it was cancelled."""
    if state in (RunState.COMPLETED, RunState.FAILED):
        sweep_checkpoints(root, run_id)
    elif state is RunState.CANCELLED:
        keep_newest_checkpoint(root, run_id)
