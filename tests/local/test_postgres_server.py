"""The built-in Postgres: it keeps its data, survives what was left behind, and says what is broken."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from oncetune.local.cluster import SYSTEM_FOLDER, Cluster, cluster_of, forget
from oncetune.local.postgres_server import start_postgres
from oncetune.local.preflight import CannotStart, prepare_folder
from oncetune.local.processes import Processes
from oncetune.local.signals import Signals
from tests.deadline import eventually


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    forget(tmp_path / "data")


@contextmanager
def running(data: Path) -> Iterator[Cluster]:
    prepare_folder(data)
    processes = Processes(data / "logs", signals=Signals(), tell=print)
    try:
        cluster = cluster_of(data)
        start_postgres(cluster, processes, environment=os.environ)
        yield cluster
    finally:
        processes.stop()


def remember(cluster: Cluster, word: str) -> None:
    with psycopg.connect(cluster.database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS memory (word text)")
        connection.execute("INSERT INTO memory VALUES (%s)", (word,))


def remembered(cluster: Cluster) -> list[str]:
    with psycopg.connect(cluster.database_url) as connection:
        return [word for (word,) in connection.execute("SELECT word FROM memory").fetchall()]


def test_the_data_is_there_again_after_a_stop(data: Path) -> None:
    with running(data) as cluster:
        remember(cluster, "kept")
    with running(data) as cluster:
        assert remembered(cluster) == ["kept"]


def test_only_the_servers_account_may_reach_its_socket(data: Path) -> None:
    with running(data) as cluster:
        assert cluster.sockets.stat().st_mode & 0o777 == 0o700
        with psycopg.connect(cluster.database_url) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_what_an_interrupted_beginning_left_is_no_cluster(data: Path) -> None:
    prepare_folder(data)
    cluster = cluster_of(data)
    half = cluster.folder.with_suffix(".new")
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with running(data) as cluster:
        remember(cluster, "begun")


def test_a_server_that_was_left_behind_is_stopped_and_its_data_kept(data: Path) -> None:
    with running(data) as cluster:
        remember(cluster, "kept")
    left = subprocess.Popen(
        [cluster.binaries / "postgres", "-D", cluster.folder, "-c", "listen_addresses=", "-k", cluster.sockets],
        user=cluster.account,
        stderr=subprocess.DEVNULL,
    )
    pid_file = cluster.folder / "postmaster.pid"
    eventually(lambda: pid_file.exists() and "ready" in pid_file.read_text())
    with running(data) as cluster:
        assert left.wait(10) == 0
        assert remembered(cluster) == ["kept"]


def test_broken_data_is_named_with_the_servers_own_words_and_the_way_out(data: Path) -> None:
    with running(data) as cluster:
        pass
    (cluster.folder / "global" / "pg_control").unlink()
    with pytest.raises(CannotStart) as failure, running(data):
        pass
    assert "pg_control" in failure.value.what
    assert str(cluster.folder) in failure.value.remedy
    assert "DATABASE_URL" in failure.value.remedy


def test_a_folder_that_lost_its_contents_is_not_filled_again(data: Path) -> None:
    with running(data) as cluster:
        pass
    (cluster.folder / "PG_VERSION").unlink()
    with pytest.raises(CannotStart, match="broken"), running(data):
        pass


def test_a_path_too_long_for_a_socket_is_no_obstacle(tmp_path: Path) -> None:
    deep = tmp_path / "a-folder-with-a-long-name" / "and-one-more-below-it" / uuid.uuid4().hex / "data"
    try:
        with running(deep) as cluster:
            remember(cluster, "deep")
            assert len(os.fsencode(cluster.sockets)) <= 80
    finally:
        forget(deep)


@pytest.mark.parametrize("name", ["with space", "a+b", "100%", "x&y=z", "a,b"])
def test_an_ordinary_users_folder_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    cluster = cluster_of(tmp_path / name)
    assert cluster.folder == tmp_path / name / "postgres"
    assert make_url(cluster.database_url).query["host"] == str(cluster.sockets)
    assert not set(name) & set(" +%&=,") & set(str(cluster.sockets))


def test_a_stale_pid_file_ends_nobody_elses_process(data: Path) -> None:
    with running(data) as cluster:
        remember(cluster, "kept")
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (cluster.folder / "postmaster.pid").write_text(f"{stranger.pid}\n")
        with running(data) as cluster:
            assert remembered(cluster) == ["kept"]
        assert stranger.poll() is None
        stranger.kill()


def test_a_deleted_data_folder_does_not_come_back_with_its_old_runs(data: Path) -> None:
    with running(data) as cluster:
        remember(cluster, "old")
    for path in sorted(data.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    with running(data) as cluster, pytest.raises(psycopg.errors.UndefinedTable):
        remembered(cluster)


def test_a_data_folder_that_was_moved_still_has_its_runs(data: Path) -> None:
    with running(data) as cluster:
        remember(cluster, "kept")
    moved = data.rename(data.with_name("moved"))
    try:
        with running(moved) as cluster:
            assert remembered(cluster) == ["kept"]
    finally:
        forget(moved)


@pytest.mark.parametrize("mark", ["", "..", "a/../../b"])
def test_a_damaged_mark_never_leads_to_another_folder(data: Path, mark: str) -> None:
    with running(data) as cluster:
        assert cluster.folder.is_relative_to(SYSTEM_FOLDER if cluster.aside else data)
    (data / "postgres-id").write_text(mark)
    if cluster.aside:
        with pytest.raises(CannotStart, match="damaged"):
            cluster_of(data)
    (data / "postgres-id").write_text(cluster.folder.parent.name)
