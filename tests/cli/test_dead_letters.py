"""`oncetune dead-letters` on a running stack: what a person reads, what a machine reads, and how it ends."""

import json
from uuid import uuid4

import httpx
import pytest

from oncetune.contracts.topics import DEAD_LETTER_ROUTE, RUN_LIFECYCLE
from oncetune.dapr import TOKEN_HEADER
from oncetune.local.up import Stack
from tests.cli.conftest import Oncetune
from tests.status.given import progress_event

SECRET_WORDS = "a sentence of somebody's dataset"


def bury(stack: Stack, body: bytes) -> None:
    """Deliver a dead letter."""
    url = stack.url + DEAD_LETTER_ROUTE[RUN_LIFECYCLE]
    httpx.post(url, content=body, headers={TOKEN_HEADER: stack.app_token}, trust_env=False).raise_for_status()


def newest(at_stack: Oncetune) -> str:
    """The id of the dead letter that came last."""
    told = at_stack("dead-letters", "list", "--status", "all", "--limit", "1", "--json")
    return str(json.loads(told.stdout)["dead_letters"][0]["id"])


@pytest.fixture
def letter(stack: Stack, at_stack: Oncetune) -> str:
    """The id of a dead letter that is a whole event, with somebody's words in a field that no event has."""
    bury(stack, json.dumps(progress_event(prompt=SECRET_WORDS)).encode())
    return newest(at_stack)


@pytest.fixture
def no_event(stack: Stack, at_stack: Oncetune) -> str:
    """The id of a dead letter that is no event."""
    bury(stack, json.dumps({"prompt": SECRET_WORDS, "id": str(uuid4())}).encode())
    return newest(at_stack)


def test_open_letters_are_listed_for_people_until_somebody_decides(at_stack: Oncetune, letter: str) -> None:
    heading, first, *_ = at_stack("dead-letters", "list").stdout.splitlines()
    assert heading.split() == ["LETTER", "TOPIC", "RECEIVED", "BYTES", "DECISION", "REASON"]
    assert first.split()[0] == letter[:12]
    assert " ".join(first.split()).endswith(" - readable, but its deliveries failed")
    assert at_stack("dead-letters", "discard", letter).stdout == "discarded\n"
    assert letter[:12] not in at_stack("dead-letters", "list").stdout
    assert letter[:12] in at_stack("dead-letters", "list", "--status", "all").stdout


def test_a_letter_is_shown_with_its_event_and_no_other_words_of_its_bytes(
    at_stack: Oncetune, letter: str, no_event: str
) -> None:
    shown = at_stack("dead-letters", "show", letter[:16])
    facts = dict(line.split(None, 1) for line in shown.stdout.splitlines())
    assert (shown.returncode, facts["id"], facts["topic"]) == (0, letter, RUN_LIFECYCLE)
    assert (facts["event.type"], facts["event.data.step"]) == ("run.progress", "2")
    assert facts["reason"] == "readable, but its deliveries failed" and facts["received_at"].startswith("20")
    document = json.loads(at_stack("dead-letters", "show", letter, "--json").stdout)
    assert document["event"]["data"]["steps"] == 10
    other = at_stack("dead-letters", "show", no_event)
    assert other.returncode == 0 and "only be discarded" in other.stderr
    assert SECRET_WORDS not in shown.stdout + json.dumps(document) + other.stdout + other.stderr


def test_a_replay_tells_its_outcome_and_again_the_same(at_stack: Oncetune, letter: str) -> None:
    first, again = (at_stack("dead-letters", "replay", letter[:16]) for _ in range(2))
    assert (first.returncode, first.stdout) == (again.returncode, again.stdout) == (0, "replayed: ok\n")
    document = json.loads(at_stack("dead-letters", "replay", letter, "--json", "--user", "bob").stdout)
    assert (document["outcome"], document["decided_by"]) == ("ok", "cli")
    other = at_stack("dead-letters", "discard", letter)
    assert (other.returncode, other.stdout) == (1, "replayed: ok\n")
    assert "replayed before, by cli" in other.stderr


def test_a_replay_of_a_conflict_is_a_failure_that_says_so(stack: Stack, at_stack: Oncetune) -> None:
    event = progress_event()
    for loss in (0.5, 0.1):
        bury(stack, json.dumps(event | {"data": event["data"] | {"loss": loss}}).encode())
        told = at_stack("dead-letters", "replay", newest(at_stack))
    assert (told.returncode, told.stdout) == (1, "replayed: conflict\n")
    assert "other content" in told.stderr


def test_what_is_no_event_can_only_be_discarded(at_stack: Oncetune, no_event: str) -> None:
    refused = at_stack("dead-letters", "replay", no_event)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "can only be discarded" in refused.stderr
    assert at_stack("dead-letters", "discard", no_event).returncode == 0


def test_a_letter_that_nobody_knows_is_a_matter_of_usage_or_a_failure(at_stack: Oncetune, letter: str) -> None:
    for given in ("", "zzzz"):
        told = at_stack("dead-letters", "show", given)
        assert (told.returncode, told.stdout) == (2, "")
    unknown = at_stack("dead-letters", "show", f"{'0' * 64}:{RUN_LIFECYCLE}")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "no such dead letter" in unknown.stderr
