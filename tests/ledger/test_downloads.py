"""A download token as the ledger keeps it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from oncetune.ledger.downloads import find_download, issue_token, use_token
from oncetune.postgres import transaction
from tests.ledger.given import MINUTE, NOTHING, record

SHA256 = "ab" * 32


@pytest.mark.parametrize(("lifetime", "works"), [(MINUTE, True), (NOTHING, False)])
def test_a_token_that_expired_after_it_was_found_cannot_be_used(engine, lifetime: timedelta, works: bool) -> None:
    run_id = record(engine("trigger")).run_id
    with transaction(engine("trigger")) as session:
        issue_token(session, run_id, sha256=SHA256, issued_to="ann", lifetime=lifetime, limit=1)
    for expected in (works, False):
        with transaction(engine("trigger")) as session:
            assert (find_download(session, SHA256) is not None) is expected
            assert use_token(session, SHA256) is expected


def test_racing_callers_together_get_no_more_tokens_of_a_run_than_its_limit(engine) -> None:
    run_id, callers, limit = record(engine("trigger")).run_id, 16, 4

    def issue(caller: int) -> bool:
        with transaction(engine("trigger")) as session:
            sha256 = f"{caller:064x}"
            issued = issue_token(session, run_id, sha256=sha256, issued_to="ann", lifetime=MINUTE, limit=limit)
            return issued is not None

    with ThreadPoolExecutor(callers) as pool:
        assert sum(pool.map(issue, range(callers))) == limit
