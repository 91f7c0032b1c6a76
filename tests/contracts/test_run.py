"""The states of a run are the words of the database."""

import re

from oncetune.contracts.run import MOVES, TERMINAL, RunState
from tests.ledger.given import rows_of


def _words(engine, constraint):
    [(definition,)] = rows_of(
        engine(None),
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = CAST('ledger.run' AS regclass) AND conname = :name",
        name=constraint,
    )
    return set(re.findall(r"'(\w+)'", definition))


def test_the_states_are_those_that_the_ledger_allows(engine):
    assert set(RunState) == _words(engine, "run_state_check")
    assert set(MOVES) == set(RunState)


def test_the_states_without_a_move_are_those_that_the_ledger_calls_ended(engine):
    assert _words(engine, "an_ended_run_has_its_time") == TERMINAL
    assert {state for state in RunState if not MOVES[state]} == TERMINAL


def test_every_state_can_be_reached_from_queued():
    reached, waiting = set(), {RunState.QUEUED}
    while waiting:
        state = waiting.pop()
        reached.add(state)
        waiting |= MOVES[state] - reached
    assert reached == set(RunState)
