"""Runs and leases for tests, made the way the services make them."""

from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import Engine

from oncetune.contracts.preferences import PreferencePair
from oncetune.contracts.recipe import TrainingRecipe
from oncetune.datasets.packing import pack_rows
from oncetune.ledger.leases import Lease, claim_run
from oncetune.ledger.requests import RequestAnswer, RunRequest, accept
from oncetune.postgres import transaction

MINUTE = timedelta(minutes=1)
NOTHING = timedelta(0)
ROWS = pack_rows([PreferencePair(prompt="What is 1 + 1?", chosen="Two.", rejected="Three.")])


def wanted(kb_id: str = "kb", user_id: str = "ann") -> RunRequest:
    recipe = TrainingRecipe(base_model="toy", dataset_sha256=ROWS.sha256)
    return RunRequest(user_id, kb_id, "experiment", "zephyr", recipe, ROWS)


def record(
    engine: Engine,
    kb_id: str = "kb",
    *,
    key: str | None = None,
    fingerprint: str = "body",
    user_id: str = "ann",
    key_lifetime: timedelta = MINUTE,
) -> RequestAnswer:
    with transaction(engine) as session:
        return accept(session, wanted(kb_id, user_id), key=key, fingerprint=fingerprint, key_lifetime=key_lifetime)


def claim(
    engine: Engine, worker: str = "worker", *, lasting: timedelta = MINUTE, run_id: UUID | None = None,
    claim_id: UUID | None = None,
) -> Lease | None:  # fmt: skip
    with transaction(engine) as session:
        return claim_run(session, worker=worker, claim_id=claim_id or uuid4(), duration=lasting, run_id=run_id)
