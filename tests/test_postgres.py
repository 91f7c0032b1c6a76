import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout


def test_a_pool_opens_no_more_connections_than_its_size_and_who_waits_for_five_seconds_is_told(engine):
    status = engine("status", pool_size=2)
    with status.connect(), status.connect(), pytest.raises(PoolTimeout):
        status.connect()
    with status.connect() as freed:
        assert not freed.closed
