"""The demo's last word: each of its promises decides."""

from dataclasses import replace
from pathlib import Path

import pytest

from oncetune.cli.demo_report import Outcome, report

GOOD = Outcome(
    run={"status": "completed"},
    trail={"events": [{}, {}], "gapless": True, "pending": 0, "duplicates": 5},
    adapter=Path("adapter"),
    adapters=1,
    copies=5,
    runs_in_ledger=1,
    replay_is_same=True,
    prompts=["a", "b"],
    base=["rude", "rude"],
    tuned=["polite", "polite"],
    polite=lambda answer: answer == "polite",
)


@pytest.fixture
def good(tmp_path: Path) -> Outcome:
    (tmp_path / "report.html").write_text("<!doctype html>")
    return replace(GOOD, adapter=tmp_path / "adapter")


def test_a_demo_in_which_everything_held_says_so(good: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(good, seconds=1)
    assert "NOT KEPT" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "broken",
    [
        {"run": {"status": "failed"}},
        {"runs_in_ledger": 2},
        {"replay_is_same": False},
        {"trail": GOOD.trail | {"duplicates": 4}},
        {"trail": GOOD.trail | {"gapless": False}},
        {"trail": GOOD.trail | {"pending": 1}},
        {"tuned": ["rude", "rude"]},
        {"adapters": 2},
        {"adapter": Path("of/a/run/without/a/report")},
    ],
    ids=str,
)
def test_each_promise_that_was_not_kept_fails_the_demo_and_is_named(
    broken: dict[str, object], good: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not report(replace(good, **broken), seconds=1)  # type: ignore[arg-type]
    assert capsys.readouterr().out.count("NOT KEPT") == 1


def test_a_run_without_an_adapter_has_no_report_either(good: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    assert not report(replace(good, adapter=None), seconds=1)
    assert capsys.readouterr().out.count("NOT KEPT") == 2
