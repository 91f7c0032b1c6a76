"""The states of a run and the moves between them: the same words stand in the ledger's CHECK constraint."""

from enum import StrEnum


class RunState(StrEnum):
    """What a run is; the five words of the gateway contract."""

    QUEUED = "queued"  # nobody holds it
    RUNNING = "running"  # leased; the lease may have run out
    COMPLETED = "completed"  # the adapter is stored and hashed
    FAILED = "failed"  # the recipe cannot succeed, or its strikes ran out
    CANCELLED = "cancelled"  # somebody asked, and it stopped


MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.CANCELLED}),
    RunState.RUNNING: frozenset({RunState.QUEUED, RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED}),
    RunState.COMPLETED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.CANCELLED: frozenset(),
}

TERMINAL = frozenset(state for state, onward in MOVES.items() if not onward)
