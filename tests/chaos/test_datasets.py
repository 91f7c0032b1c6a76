"""Datasets by URL in a system that is broken: where they come from, where their fetch dies, and a run once more."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from oncetune.trainer.rows_order import ORDER, FetchOrder
from tests.chaos.client_journal import Answer
from tests.chaos.crash_points import POINTS, ROWS, Side, arm
from tests.chaos.dataset_rules import LEARNED_FROM
from tests.chaos.dataset_server import DatasetServer, dataset_server, read_served
from tests.chaos.load import Wish
from tests.chaos.quiescence import settle
from tests.chaos.trial import Trial

[FILE] = (point for point in POINTS if point.name == "dataset-file")


@pytest.fixture
def served(tmp_path: Path) -> Path:
    return tmp_path / "served.jsonl"


@pytest.fixture
def server(served: Path) -> Iterator[DatasetServer]:
    with dataset_server(served) as server:
        yield server


def get(url: str) -> bytes | int | None:
    """What came whole, decompressed; another status; None when it broke off."""
    try:
        answer = httpx.get(url, trust_env=False)
    except httpx.RemoteProtocolError:
        return None
    return answer.content if answer.status_code == 200 else answer.status_code


def test_the_server_is_well_busy_and_cut_short_and_writes_down_only_what_went_out_whole(
    server: DatasetServer, served: Path
):
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(get, [server.url("one", "{}")] * 40))

    whole = [answer for answer in answers if isinstance(answer, bytes)]
    assert {None, 503} < set(answers)
    assert len(set(whole)) == len(whole) == len(read_served(served)["one"]) > 20


@pytest.mark.parametrize("side", Side)
def test_a_fetch_that_dies_leaves_half_a_file_or_a_whole_one(
    server: DatasetServer, served: Path, side: Side, tmp_path: Path
):
    order = FetchOrder(
        url=server.url("one", "{}"), max_bytes=2**20, deadline=timedelta(minutes=1), ports=(80,),
        allow=(server.host,), ca_file=None,
    )  # fmt: skip
    (tmp_path / ORDER).write_text(order.model_dump_json())
    (tmp_path / "armed").mkdir()
    armed = arm(tmp_path / "armed", ROWS, FILE, side, passes=0)

    command = [sys.executable, "-P", "-m", "tests.chaos.rows_launcher", str(tmp_path / "armed"), "fetch", str(tmp_path)]
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as child:
        ended = child.wait(60)

    assert ended == -signal.SIGKILL
    assert not armed.exists()
    written = (tmp_path / "fetched").read_bytes()
    assert written
    assert (sha256(written).hexdigest() in read_served(served)["one"]) == (side is Side.AFTER)


def runs_of(trial: Trial, kb_id: str) -> list[dict[str, Any]]:
    """In the order of their requests."""
    sql = (
        "SELECT id::text, attempt, parent_run_id::text AS parent, dataset_sha256 FROM ledger.run WHERE kb_id = %s"
        " ORDER BY created_at"
    )
    with psycopg.connect(trial.world.database_url, row_factory=dict_row) as connection:
        return connection.execute(sql, [kb_id]).fetchall()


def test_a_run_of_a_url_and_the_one_that_repeats_it_train_on_what_the_server_gave(trial: Trial):
    assert trial.client.ask_until_known("once", Wish(by_url=True), tries=10) is Answer.ACCEPTED
    settle(trial.world.database_url, seconds=60)
    [parent] = runs_of(trial, "once")

    assert [trial.client.rerun("once", parent["id"]) for _ in range(2)] == [Answer.ACCEPTED] * 2
    settle(trial.world.database_url, seconds=60)

    assert trial.judge.judge() == []
    runs = runs_of(trial, "once")
    assert [run["parent"] for run in runs] == [None, parent["id"]]
    adapters = [trial.world.artifacts / run["id"] / str(run["attempt"]) / LEARNED_FROM for run in runs]
    learned = [sha256(adapter.read_bytes()).hexdigest() for adapter in adapters]
    assert learned == [run["dataset_sha256"] for run in runs]
    assert learned[0] == learned[1] in read_served(trial.world.served)["once"]
