"""Many downloads: one wins each token, and none keeps the others from their seats."""

import socket
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx

from tests.datasets.unpacking import unpack_rows
from tests.deadline import eventually
from tests.ledger.given import ROWS, count, record, rows_of
from tests.serving import serving
from tests.trigger.downloading import PATH, download, issue, token_of


def test_sixty_four_racing_downloads_of_one_token_are_one_dataset_and_sixty_three_refusals(
    monkeypatch, database_url, engine, run_id
):
    start = Barrier(64)
    with serving(monkeypatch, "trigger", database_url=database_url) as client:
        url = f"{client.base_url}{PATH}?token={token_of(client, run_id)}"

        def one(_number: int) -> tuple[int, bytes]:
            with httpx.Client(trust_env=False, timeout=30) as own:
                start.wait(30)
                answer = own.get(url)
                return answer.status_code, answer.content

        with ThreadPoolExecutor(64) as racers:
            answers = list(racers.map(one, range(64)))
    assert sorted(status for status, _ in answers) == [200] + [401] * 63
    assert [content for status, content in answers if status == 200] == [unpack_rows(ROWS.chunks, sha256=ROWS.sha256)]


def test_a_download_holds_its_seat_to_its_end_and_no_connection_meanwhile(monkeypatch, database_url, engine, big_rows):
    run_id, owner = record(engine("trigger"), rows=big_rows).run_id, engine(None)
    few = {"ONCETUNE_TRIGGER_DOWNLOADS_AT_ONCE": "1"}
    monkeypatch.setattr("oncetune.gateway.crowd.SEAT_SECONDS", 0.2)
    with serving(monkeypatch, "trigger", database_url=database_url, environment=few) as client:
        slow, quick = token_of(client, run_id), token_of(client, run_id)
        with socket.socket() as caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.connect((client.base_url.host, client.base_url.port))
            caller.sendall(f"GET {PATH}?token={slow} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert caller.recv(4) == b"HTTP"
            busy = download(client, quick)
            assert (busy.status_code, busy.json()["code"], "retry-after" in busy.headers) == (503, "busy", True)
            eventually(lambda: _open_transactions(owner) == 0)
        eventually(lambda: download(client, quick).status_code == 200)


def _open_transactions(owner) -> int:
    of_trigger = "SELECT count(*) FROM pg_stat_activity WHERE usename IS NOT NULL AND application_name LIKE '%trigger'"
    return int(rows_of(owner, f"{of_trigger} AND datname = current_database() AND state <> 'idle'")[0][0])


def test_a_worker_that_takes_too_long_gets_no_more_and_loses_its_seat(monkeypatch, database_url, engine, big_rows):
    run_id = record(engine("trigger"), rows=big_rows).run_id
    soon = {"ONCETUNE_TRIGGER_DOWNLOAD_DEADLINE": "PT2S", "ONCETUNE_TRIGGER_DOWNLOADS_AT_ONCE": "1"}
    with serving(monkeypatch, "trigger", database_url=database_url, environment=soon) as client:
        slow, quick = token_of(client, run_id), token_of(client, run_id)
        with socket.socket() as caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.settimeout(20)
            caller.connect((client.base_url.host, client.base_url.port))
            caller.sendall(f"GET {PATH}?token={slow} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert caller.recv(4) == b"HTTP"
            assert download(client, quick).status_code == 200, "the seat is free though the slow one is still there"
            received = sum(map(len, iter(lambda: caller.recv(1 << 20), b"")))
    assert 0 < received < big_rows.byte_count


def test_a_run_has_so_many_unused_tokens_and_one_more_when_one_was_used(monkeypatch, database_url, engine, run_id):
    few = {"ONCETUNE_TRIGGER_DOWNLOAD_TOKENS_PER_RUN": "2"}
    with serving(monkeypatch, "trigger", database_url=database_url, environment=few) as client:
        token, _ = token_of(client, run_id), token_of(client, run_id)
        many = issue(client, run_id)
        assert (many.status_code, many.json()["code"], "retry-after" in many.headers) == (
            429,
            "too_many_downloads",
            True,
        )
        download(client, token).raise_for_status()
        assert issue(client, run_id).status_code == 200
    assert count(engine(None), "ledger.download_token") == 3
