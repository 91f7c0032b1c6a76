"""Bringing a database up to date: again, at once, beside others."""

import multiprocessing
import uuid
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib.resources import files

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, make_url

from oncetune.contracts.progress import Progress
from oncetune.contracts.run import RunState
from oncetune.ledger.leases import EndReason, StrikeRule, end_lease, renew_lease
from oncetune.migrations.upgrade import current, head, upgrade
from oncetune.postgres import connect, transaction
from tests.deadline import eventually
from tests.ledger.given import ROWS, change, claim, lock_waits, record, rows_of

FIRST_RUN = """
WITH named AS (
    INSERT INTO ledger.dataset (sha256, row_count, byte_count) VALUES (:dataset_sha256, 1, 69) RETURNING sha256
), stored AS (
    INSERT INTO ledger.dataset_chunk (sha256, number, content) SELECT sha256, 0, :chunk FROM named
)
INSERT INTO ledger.run (id, user_id, kb_id, exp_name, base_model, recipe, recipe_version, dataset_sha256)
SELECT gen_random_uuid(), 'ann', 'kb', 'experiment', 'zephyr',
       jsonb_build_object('recipe_version', 1, 'base_model', 'toy', 'dataset_sha256', sha256), 1, sha256
  FROM named
"""


@pytest.fixture
def empty(server_url, administer):
    """Makes an empty database and returns its URL; the roles exist already, they belong to the whole server."""
    made = []

    def make() -> str:
        made.append(f"test_{uuid.uuid4().hex}")
        administer(f"CREATE DATABASE {made[-1]}")
        return make_url(server_url).set(database=made[-1]).render_as_string(hide_password=False)

    yield make
    for name in made:
        administer(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def owner_of():
    """An engine that may do anything in the database of a URL."""
    engines = []

    def connected(url: str) -> Engine:
        engines.append(connect(url, role=None, pool_size=2))
        return engines[-1]

    yield connected
    for engine in engines:
        engine.dispose()


def test_an_empty_database_has_no_revision_and_an_upgraded_one_has_the_newest(empty):
    url = empty()
    assert current(url) is None
    upgrade(url)
    assert current(url) == head()


def test_an_upgrade_of_an_upgraded_database_keeps_everything(engine, database_url):
    run_id = record(engine("trigger")).run_id
    upgrade(database_url)
    assert [row.id for row in rows_of(engine(None), "SELECT id FROM ledger.run")] == [run_id]


def test_a_run_of_the_first_schema_is_trained_in_the_newest(empty, owner_of):
    url = empty()
    owner = owner_of(url)
    first = Config()
    first.set_main_option("script_location", str(files("oncetune") / "migrations"))
    with owner.connect() as connection:
        first.attributes["connection"] = connection
        command.upgrade(first, "0001")
    change(owner, FIRST_RUN, dataset_sha256=ROWS.sha256, chunk=next(iter(ROWS.chunks)))
    upgrade(url)
    lease = claim(owner)
    with transaction(owner) as session:
        renew_lease(session, lease, progress=Progress(step=1, steps=2, checkpoint_step=1), as_event=True)
        assert end_lease(session, lease.run_id, 1, reason=EndReason.RELEASED, rule=StrikeRule()) is RunState.QUEUED
    assert claim(owner).attempt == 2


def test_upgrades_of_one_database_at_once_take_turns(empty, owner_of):
    url = empty()
    owner = owner_of(url)
    with _migrators() as migrators, owner.connect() as connection:
        connection.exec_driver_sql("CREATE SCHEMA ledger")  # whoever is first must wait for this transaction
        both = [migrators.submit(upgrade, url) for _ in range(2)]
        eventually(lambda: lock_waits(owner) == ["advisory", "transactionid"], seconds=60)
        connection.rollback()
        for migrator in both:
            migrator.result(timeout=30)
    assert current(url) == head()


def test_twenty_databases_of_one_server_are_upgraded_at_once_although_they_share_its_roles(empty):
    urls = [empty() for _ in range(20)]
    with _migrators() as migrators:
        list(migrators.map(upgrade, urls))
    assert [current(url) for url in urls] == [head()] * 20


def test_upgrades_in_threads_of_one_process_do_not_disturb_one_another(empty):
    urls = [empty() for _ in range(4)]
    with ThreadPoolExecutor(4) as migrators:
        list(migrators.map(upgrade, urls))
    assert [current(url) for url in urls] == [head()] * 4


def test_an_upgrade_with_nothing_to_do_waits_for_no_table(empty, owner_of):
    url = empty()
    upgrade(url)
    with ThreadPoolExecutor(1) as migrator, owner_of(url).begin() as connection:
        connection.exec_driver_sql("LOCK TABLE ledger.run, ledger.outbox, audit.journal IN ACCESS EXCLUSIVE MODE")
        migrator.submit(upgrade, url).result(timeout=30)


def test_a_migration_that_meets_a_lock_lets_go_after_two_seconds_and_tries_again(empty, owner_of):
    url = empty()
    owner = owner_of(url)
    with ThreadPoolExecutor(1) as migrator, owner.connect() as connection:
        connection.exec_driver_sql("CREATE SCHEMA ledger")  # in a transaction that the migration must wait for
        upgraded = migrator.submit(upgrade, url)
        eventually(lambda: lock_waits(owner))
        eventually(lambda: not lock_waits(owner))
        assert not upgraded.done()
        connection.rollback()
        upgraded.result(timeout=30)
    assert current(url) == head()


def _migrators() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
