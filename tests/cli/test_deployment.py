"""`oncetune serve` and `oncetune migrate` as a deployment starts them."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib.resources import files

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import make_url

from oncetune.migrations.revision import needed
from oncetune.migrations.upgrade import NoSchemaInTime, head, upgrade, wait_for_schema
from oncetune.postgres import connect

SOON, NOW = timedelta(seconds=30), timedelta(0)


@pytest.fixture
def empty(server_url, administer) -> Iterator[str]:
    """The URL of a database without tables."""
    name = f"empty_{uuid.uuid4().hex}"
    administer(f"CREATE DATABASE {name}")
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    administer(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def service_login(server_url, administer) -> Iterator[str]:
    """A login that may act as the services and owns nothing."""
    name = f"login_{uuid.uuid4().hex}"
    administer(
        f"CREATE ROLE {name} LOGIN PASSWORD 'of-the-test' IN ROLE oncetune_trigger, oncetune_status, oncetune_trainer"
    )
    yield name
    administer(f"DROP ROLE {name}")


def to(database_url: str, revision: str) -> None:
    """Migrate no further than to this revision."""
    config = Config()
    config.set_main_option("script_location", str(files("oncetune") / "migrations"))
    engine = connect(database_url, role=None, pool_size=1)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def test_a_database_without_tables_is_told_at_the_start_with_what_to_do(oncetune, empty):
    settings = {"DATABASE_URL": empty, "DPO_GATEWAY_SHARED_SECRET": "a-secret-of-the-test", "APP_API_TOKEN": "token"}
    told = oncetune("serve", "status", "--host", "127.0.0.1", "--port", "8099", **settings)
    assert told.returncode == 2
    assert "run `oncetune migrate`" in told.stderr


@pytest.mark.parametrize("url", ["u:hush", "postgresql://u:hush@h:port/db", "mysql://u:hush@h/db"])
@pytest.mark.parametrize("command", [("serve", "status"), ("migrate",), ("migrate", "--wait")], ids=" ".join)
def test_what_is_no_url_of_a_postgres_is_told_in_one_line_without_its_password(oncetune, command, url):
    settings = {"DATABASE_URL": url, "DPO_GATEWAY_SHARED_SECRET": "a-secret-of-the-test", "APP_API_TOKEN": "token"}
    told = oncetune(*command, **settings)
    assert told.returncode == 2
    assert "DATABASE_URL is not a Postgres URL" in told.stderr
    assert "Traceback" not in told.stderr
    assert "hush" not in told.stderr


def test_an_option_that_no_postgres_has_is_told_at_the_start(oncetune, empty):
    settings = {"DPO_GATEWAY_SHARED_SECRET": "a-secret-of-the-test", "APP_API_TOKEN": "token"}
    wrong = make_url(empty).update_query_dict({"nosuch": "1"}).render_as_string(hide_password=False)
    told = oncetune("serve", "status", "--port", "8099", DATABASE_URL=wrong, **settings)
    assert told.returncode == 2
    assert "DATABASE_URL is not a Postgres URL" in told.stderr


def test_the_schema_of_an_older_version_is_told_at_the_start_with_both_numbers(oncetune, empty):
    assert needed() == head()
    to(empty, "0002")
    settings = {"DATABASE_URL": empty, "DPO_GATEWAY_SHARED_SECRET": "a-secret-of-the-test", "APP_API_TOKEN": "token"}
    told = oncetune("serve", "status", "--host", "127.0.0.1", "--port", "8099", **settings)
    assert told.returncode == 2
    assert f"the database's schema is at 0002, {head()} is needed; run `oncetune migrate`" in told.stderr


def test_a_pod_that_waits_for_the_schema_goes_on_when_somebody_else_has_migrated(empty):
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait_for_schema, empty, deadline=SOON, every=timedelta(milliseconds=10))
        upgrade(empty)
        assert waiting.result(timeout=30) == head()


def test_waiting_for_the_schema_changes_nothing_and_says_what_is_missing(oncetune, empty):
    told = oncetune("migrate", "--wait", "--timeout", "0", DATABASE_URL=empty)
    assert told.returncode == 3
    assert f"after 0 s, the database has no schema of oncetune yet, {head()} is needed." in told.stderr
    to(empty, "0002")
    with pytest.raises(NoSchemaInTime, match=f"the schema is at 0002, {head()} is needed"):
        wait_for_schema(empty, deadline=NOW)


def test_a_database_that_does_not_answer_is_one_sentence_and_the_password_is_not_in_it(oncetune):
    told = oncetune("migrate", "--wait", "--timeout", "0", DATABASE_URL="postgresql://me:hush@127.0.0.1:1/none")
    assert told.returncode == 3
    assert "the database does not answer: connection" in told.stderr
    assert "hush" not in told.stderr and "Traceback" not in told.stderr


def test_what_is_no_database_url_is_told_at_once(oncetune):
    told = oncetune("migrate", "--wait", "--timeout", "60", DATABASE_URL="nonsense")
    assert (told.returncode, told.stderr.strip()) == (2, "oncetune: DATABASE_URL is not a Postgres URL.")


def test_the_schema_of_a_newer_version_will_do_and_is_left_as_it_is(database_url, engine):
    with engine(None).begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert wait_for_schema(database_url, deadline=NOW) == "9999"
    upgrade(database_url)  # a rollback's migration
    assert wait_for_schema(database_url, deadline=NOW) == "9999"


def test_a_login_of_the_services_may_see_which_schema_is_there(database_url, service_login):
    theirs = make_url(database_url).set(username=service_login, password="of-the-test")
    assert wait_for_schema(theirs.render_as_string(hide_password=False), deadline=NOW) == head()
