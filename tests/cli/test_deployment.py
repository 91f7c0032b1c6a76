"""`oncetune serve` as a deployment starts it."""

import uuid

from sqlalchemy import make_url


def test_a_database_without_tables_is_told_at_the_start_with_what_to_do(oncetune, server_url, administer):
    name = f"empty_{uuid.uuid4().hex}"
    administer(f"CREATE DATABASE {name}")
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    settings = {"DATABASE_URL": url, "DPO_GATEWAY_SHARED_SECRET": "a-secret-of-the-test", "APP_API_TOKEN": "token"}
    try:
        told = oncetune("serve", "status", "--host", "127.0.0.1", "--port", "8099", **settings)
    finally:
        administer(f"DROP DATABASE {name} WITH (FORCE)")
    assert told.returncode == 2
    assert "run `oncetune migrate`" in told.stderr
