"""Many requests at once, requests that wait for a lock, and a database that is away: what each of them is answered."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from tests.deadline import eventually
from tests.ledger.given import record, rows_of
from tests.outage import database_away
from tests.serving import serving, signed
from tests.trigger.asked import ask, document, recorded


@contextmanager
def _holding_a_key(owner, *keys):
    """A request with each of these keys (without any: "k") is still in flight, as the database sees it."""
    with owner.connect() as connection, connection.begin() as transaction:
        sql = (
            "INSERT INTO ledger.request_key VALUES"
            " ('ann', :key, 'other', gen_random_uuid(), now() + interval '1 minute')"
        )
        connection.execute(text(sql), [{"key": key} for key in keys or ("k",)])
        yield
        transaction.rollback()


def _waiting(owner):
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return rows_of(owner, sql)[0][0]


def test_sixty_four_equal_requests_at_once_are_one_run_and_sixty_four_equal_answers(client, engine):
    with ThreadPoolExecutor(64) as callers:
        answers = list(callers.map(lambda _: ask(client, key="k"), range(64)))
    assert Counter(answer.status_code for answer in answers) == {200: 64}
    assert len({answer.text for answer in answers}) == 1
    assert Counter(answer.headers.get("Idempotent-Replayed") for answer in answers) == {"true": 63, None: 1}
    assert recorded(engine(None))["ledger.run"] == 1


def test_large_equal_requests_at_once_are_parsed_in_turn_and_none_is_turned_away(client):
    rows = [{"prompt": f"{number} " + "a" * 150, "chosen": "b" * 150, "rejected": "c" * 150} for number in range(9000)]
    body = json.dumps(document(dataset_inline=rows)).encode()
    assert 4 * 2**20 < len(body) < 5 * 2**20
    with ThreadPoolExecutor(32) as callers:
        answers = list(callers.map(lambda _: ask(client, key="k", content=body), range(32)))
    assert Counter(answer.status_code for answer in answers) == {200: 32}


def test_sixty_four_keys_on_one_kb_id_at_once_are_one_run_and_sixty_three_refusals(client, engine):
    with ThreadPoolExecutor(64) as callers:
        answers = list(callers.map(lambda number: ask(client, key=f"k{number}"), range(64)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 429: 63}
    kept = recorded(engine(None))
    assert (kept["ledger.run"], kept["ledger.request_key"]) == (1, 1)


def test_probes_and_readers_are_served_while_every_seat_waits_for_a_lock(client, engine):
    owner = engine(None)
    run_id = record(engine("trigger"), "other").run_id
    keys = [f"k{number}" for number in range(10)]
    with ThreadPoolExecutor(30) as callers:
        with _holding_a_key(owner, *keys):
            waiters = [callers.submit(ask, client, document(key), key=key) for key in keys for _ in range(3)]
            eventually(lambda: _waiting(owner) == 8, seconds=4)
            assert client.get("/live", timeout=2).status_code == 200
            assert client.get("/ready", timeout=2).status_code == 200
            assert client.get("/health", timeout=2).json()["database"] == "connected"
            assert client.get(f"/runs/{run_id}", headers=signed(), timeout=2).status_code == 200
        answers = [waiter.result() for waiter in waiters]
    assert Counter(answer.status_code for answer in answers) == {200: 30}
    assert len({answer.text for answer in answers}) == 10


def test_twins_of_a_request_that_hangs_are_all_409_within_five_seconds_and_keep_nobody_else_waiting(client, engine):
    owner = engine(None)
    with _holding_a_key(owner), ThreadPoolExecutor(64) as callers:
        twins = [callers.submit(ask, client, key="k") for _ in range(64)]
        eventually(lambda: _waiting(owner) == 1)
        other = ask(client, document("other"), headers=signed("bob"))
        answers = [twin.result(8) for twin in twins]
    assert (other.status_code, other.elapsed.total_seconds() < 2) == (200, True)
    assert Counter(f"{answer.status_code} {answer.json()['code']}" for answer in answers) == {
        "409 request_in_flight": 64
    }
    assert max(answer.elapsed.total_seconds() for answer in answers) < 7
    assert ask(client, key="k").status_code == 200


def test_who_waited_five_seconds_for_its_twin_gets_409_and_may_come_again(client, engine):
    with _holding_a_key(engine(None)):
        answer = ask(client, key="k")
    assert (answer.status_code, answer.json()["code"]) == (409, "request_in_flight")
    assert 4.5 < answer.elapsed.total_seconds() < 8
    assert int(answer.headers["Retry-After"]) > 0
    assert ask(client, key="k").status_code == 200


def test_who_waited_five_seconds_for_a_seat_gets_503_and_may_come_again(monkeypatch, database_url, engine):
    owner = engine(None)
    one_seat = {"ONCETUNE_TRIGGER_WAITING_REQUESTS": "1"}
    with serving(monkeypatch, "trigger", "status", database_url=database_url, environment=one_seat) as client:
        with ThreadPoolExecutor(3) as callers, owner.connect() as connection, connection.begin() as transaction:
            connection.execute(text("LOCK TABLE ledger.run IN EXCLUSIVE MODE"))
            asked = [callers.submit(ask, client)]
            eventually(lambda: _waiting(owner) == 1)
            asked += [callers.submit(ask, client, document(f"other {number}")) for number in range(2)]
            answers = [one.result() for one in asked]  # a lock is waited for as long as a seat: the last gets none
            transaction.rollback()
        codes = Counter((answer.status_code, answer.json()["code"]) for answer in answers)
        assert codes == {(503, "database_unavailable"): 2, (503, "busy"): 1}
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
        assert ask(client, document("other 0")).status_code == 200


def test_a_database_that_is_away_is_503_and_heals_without_a_restart(client, administer, database_url, engine):
    owner = engine(None)
    run_id = ask(client, document("before")).json()["run_id"]
    with database_away(administer, database_url):
        for answer in (
            ask(client, key="k"),
            client.post(f"/runs/{run_id}/cancel", headers=signed()),
            client.get(f"/runs/{run_id}", headers=signed()),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
            assert int(answer.headers["Retry-After"]) > 0
            assert set(answer.json()) == {"detail", "code"}
        assert client.get("/live").status_code == 200
        assert client.get("/ready").status_code == 503
        health = client.get("/health")
        assert (health.status_code, health.json()["status"], health.json()["database"]) == (
            503, "unhealthy", "disconnected",
        )  # fmt: skip
    assert ask(client, key="k").status_code == 200
    assert client.get("/health").json()["status"] == "healthy"
    eventually(lambda: rows_of(owner, "SELECT FROM ledger.outbox WHERE confirmed_at IS NULL") == [], seconds=20)


def test_a_connection_that_dies_in_mid_request_is_503_and_the_key_tells_what_became_of_it(client, engine, administer):
    owner = engine(None)
    with ThreadPoolExecutor(1) as callers:
        with _holding_a_key(owner):
            caller = callers.submit(ask, client, key="k")
            eventually(lambda: _waiting(owner) == 1)
            administer("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                       f" AND datname = '{owner.url.database}'")  # fmt: skip
        assert caller.result().status_code == 503
    assert recorded(owner)["ledger.run"] == 0
    answer = ask(client, key="k")
    assert (answer.status_code, "Idempotent-Replayed" in answer.headers) == (200, False)


@pytest.mark.parametrize("missing", ["DATABASE_URL", "DPO_GATEWAY_SHARED_SECRET"])
def test_a_service_without_a_setting_does_not_start_and_its_error_holds_no_value(monkeypatch, missing):
    from oncetune.gateway.settings import GatewaySettings
    from oncetune.trigger.settings import TriggerSettings

    monkeypatch.setenv("DATABASE_URL", "postgresql://login:open-sesame@127.0.0.1/x")
    monkeypatch.setenv("DPO_GATEWAY_SHARED_SECRET", "open-sesame")  # too short
    monkeypatch.setenv("ONCETUNE_TRIGGER_DELIVERY", "direct")  # without its address
    for settings in (TriggerSettings, GatewaySettings):
        with pytest.raises(ValueError, match=settings.__name__) as error:
            settings()
        assert "open-sesame" not in str(error.value)
    monkeypatch.delenv(missing)
    with pytest.raises(ValueError, match="missing"):
        (TriggerSettings if missing == "DATABASE_URL" else GatewaySettings)()
