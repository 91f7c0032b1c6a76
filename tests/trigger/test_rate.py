"""Five runs a minute for each user, over all replicas; replays and refusals are free."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.ledger.given import change
from tests.serving import serving, signed
from tests.trigger.asked import ask, document, recorded

FIVE = {"ONCETUNE_TRIGGER_RUNS_PER_MINUTE": "5"}


@pytest.fixture
def limited(monkeypatch, database_url):
    with serving(monkeypatch, "trigger", "status", database_url=database_url, environment=FIVE) as client:
        yield client


def _use_up(client):
    for number in range(5):
        assert ask(client, document(f"kb{number}"), key=f"k{number}").status_code == 200


def test_the_sixth_run_of_a_minute_is_429_with_the_seconds_to_wait_and_leaves_nothing_behind(limited, engine):
    _use_up(limited)
    refused = ask(limited, document("sixth"), key="sixth")
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["Retry-After"] in refused.json()["detail"]
    assert recorded(engine(None))["ledger.run"] == recorded(engine(None))["ledger.request_key"] == 5
    change(engine(None), "UPDATE ledger.run SET created_at = now() - interval '61 s' WHERE kb_id = 'kb0'")
    assert ask(limited, document("sixth"), key="sixth").status_code == 200


def test_the_wait_that_is_told_ends_when_the_oldest_of_the_five_is_a_minute_old(limited, engine):
    _use_up(limited)
    change(engine(None), "UPDATE ledger.run SET created_at = now() - interval '50 s' WHERE kb_id = 'kb0'")
    assert 5 <= int(ask(limited, document("sixth")).headers["Retry-After"]) <= 10


def test_replays_refusals_and_other_users_do_not_count(limited):
    for number in range(4):
        assert ask(limited, document(f"kb{number}"), key=f"k{number}").status_code == 200
    for _ in range(6):
        assert ask(limited, document("kb0"), key="k0").headers["Idempotent-Replayed"] == "true"
        assert ask(limited, document("kb0"), key="k1").status_code == 422
        assert ask(limited, document("kb0")).json()["code"] == "run_active"
        assert ask(limited, document("dry"), dry_run="true").json()["status"] == "valid"
        assert ask(limited, {}).status_code == 400
        assert ask(limited, headers={}).status_code == 401
    assert ask(limited, document("fifth")).status_code == 200
    assert ask(limited, document("sixth")).json()["code"] == "rate_limited"
    assert ask(limited, document("kb0"), key="k0").status_code == 200, "a replay is answered at the limit, too"
    assert ask(limited, document("dry"), dry_run="true").status_code == 200
    assert ask(limited, document("bobs"), headers=signed("bob")).status_code == 200


def test_racing_requests_to_two_replicas_are_five_runs_together(monkeypatch, database_url, engine):
    with (
        serving(monkeypatch, "trigger", database_url=database_url, environment=FIVE) as one,
        serving(monkeypatch, "trigger", database_url=database_url, environment=FIVE) as other,
        ThreadPoolExecutor(40) as callers,
    ):
        answers = list(callers.map(lambda n: ask(one if n % 2 else other, document(f"kb{n}")), range(40)))
    assert Counter(answer.status_code for answer in answers) == {200: 5, 429: 35}
    assert recorded(engine(None))["ledger.run"] == 5
