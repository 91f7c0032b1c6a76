"""`oncetune runs show` tells the attempts of a run: why each ended, and from which step the next went on."""

import json
from typing import Any

import pytest

from tests.cli.conftest import Oncetune
from tests.cli.small_server import SmallServer, small_server

RUN = "0199f3a4-6c1e-7d52-9a3b-5e8f0c2d4b61"
STORY: list[tuple[str, dict[str, Any]]] = [
    ("run.requested", {"kb_id": "kb"}),
    ("run.started", {"attempt": 1, "worker": "gpu-a"}),
    ("run.progress", {"attempt": 1, "step": 44, "steps": 60, "loss": 0.5}),
    ("run.requeued", {"attempt": 1, "reason": "child_died", "strikes": 1}),
    ("run.started", {"attempt": 2, "worker": "gpu-b"}),
    ("run.progress", {"attempt": 2, "step": 40, "steps": 60, "loss": None, "resumed_from_step": 40}),
    ("run.progress", {"attempt": 2, "step": 58, "steps": 60, "loss": 0.4, "resumed_from_step": 40}),
    ("run.cancel_requested", {"requested_by": "ann"}),
    ("run.cancelled", {"attempt": 2}),
]


def _show(oncetune: Oncetune, story: list[tuple[str, dict[str, Any]]], *words: str) -> str:
    events = [{"position": n, "type": kind, "data": told} for n, (kind, told) in enumerate(story, 1)]
    run = {"run_id": RUN, "status": "cancelled", "checkpoint": {"step": 58}}
    answers = {
        f"/runs/{RUN}": (200, run),
        f"/runs/{RUN}/dataset": (200, {"source": "inline", "trained_before": []}),
        f"/runs/{RUN}/events": (200, {"run_id": RUN, "events": events}),
    }
    with small_server(SmallServer(answers)) as server:
        told = oncetune("runs", "show", RUN, *words, ONCETUNE_URL=server.url, DPO_GATEWAY_SHARED_SECRET="s" * 32)
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_each_attempt_has_its_line_with_its_beginning_and_its_end(oncetune: Oncetune) -> None:
    lines = [" ".join(line.split()) for line in _show(oncetune, STORY).splitlines()]
    assert 'checkpoint {"step": 58}' in lines
    assert lines[-2:] == [
        "attempt 1 gpu-a from the beginning to step 44/60 requeued: child_died",
        "attempt 2 gpu-b from step 40 to step 58/60 cancelled",
    ]


def test_machines_read_the_same(oncetune: Oncetune) -> None:
    document = json.loads(_show(oncetune, STORY, "--json"))
    assert document["status"] == "cancelled"
    assert document["attempts"] == [
        {"attempt": 1, "worker": "gpu-a", "step": 44, "steps": 60, "ended": "requeued", "why": "child_died"},
        {"attempt": 2, "worker": "gpu-b", "step": 58, "steps": 60, "from_step": 40, "ended": "cancelled"},
    ]


def test_dead_letters_of_a_run_are_told_with_its_events(oncetune: Oncetune) -> None:
    for letters, said in ((2, True), (0, False)):
        trail = {"events": [], "gapless": True, "duplicates": 0, "pending": 0, "conflicts": 0, "dead_letters": letters}
        with small_server(SmallServer({f"/runs/{RUN}/events": (200, trail)})) as server:
            told = oncetune("runs", "events", RUN, ONCETUNE_URL=server.url, DPO_GATEWAY_SHARED_SECRET="s" * 32)
        assert told.returncode == 0
        assert ("2 deliveries came back as dead letters" in told.stderr) is said


@pytest.mark.parametrize(
    ("story", "last"),
    [
        (STORY[:1], "quality not looked at"),
        (STORY[:2], "attempt 1 gpu-a from the beginning running"),
        (STORY[:5], "attempt 2 gpu-b running"),
        (
            [*STORY[:5], ("run.progress", {"attempt": 2, "step": 3, "steps": 60})],
            "attempt 2 gpu-b from the beginning to step 3/60 running",
        ),
    ],
    ids=["not started", "just started", "told of nothing", "anew"],
)
def test_what_is_not_known_yet_is_left_out(oncetune: Oncetune, story: list[Any], last: str) -> None:
    assert " ".join(_show(oncetune, story).splitlines()[-1].split()) == last
