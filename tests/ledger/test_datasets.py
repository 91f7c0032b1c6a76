"""A dataset is stored once, in pieces, and is exactly what its name says."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from oncetune.datasets.packing import CHUNK_BYTES
from oncetune.datasets.unpacking import BrokenDataset
from oncetune.ledger.datasets import read_chunks
from oncetune.postgres import transaction
from tests.datasets.unpacking import unpack_rows
from tests.ledger.given import change, count, record, rows_of


def _stored(engine, rows):
    with transaction(engine) as session:
        return list(read_chunks(session, rows.sha256))


def test_equal_rows_are_stored_once_however_many_runs_use_them_at_once(engine, big_rows):
    trigger, owner = engine("trigger", 8), engine(None)
    with ThreadPoolExecutor(8) as callers:
        list(callers.map(lambda number: record(trigger, f"kb{number}", rows=big_rows), range(8)))
    assert count(owner, "ledger.run") == 8
    assert count(owner, "ledger.dataset") == 1
    assert count(owner, "ledger.dataset_chunk") == len(big_rows.chunks)


def test_a_large_dataset_travels_in_chunks_of_at_most_1_mib_and_comes_back_whole(engine, big_rows):
    record(engine("trigger"), rows=big_rows)
    chunks = _stored(engine("trainer"), big_rows)
    assert [len(chunk) for chunk in chunks[:-1]] == [CHUNK_BYTES] * (len(big_rows.chunks) - 1)
    assert len(chunks) > 2
    assert len(chunks[-1]) <= CHUNK_BYTES
    jsonl = unpack_rows(chunks, sha256=big_rows.sha256)
    assert (len(jsonl), jsonl.count(b"\n")) == (big_rows.byte_count, big_rows.row_count)
    [row] = rows_of(engine(None), "SELECT row_count, byte_count FROM ledger.dataset")
    assert tuple(row) == (big_rows.row_count, big_rows.byte_count)


@pytest.mark.parametrize(
    "accident",
    [
        "UPDATE ledger.dataset_chunk SET content = set_byte(content, 9, 255 - get_byte(content, 9)) WHERE number = 1",
        "UPDATE ledger.dataset_chunk SET content = substring(content FROM 1 FOR 1000) WHERE number = 1",
        "DELETE FROM ledger.dataset_chunk WHERE number = 0",
        "DELETE FROM ledger.dataset_chunk WHERE number = (SELECT max(number) FROM ledger.dataset_chunk)",
        "DELETE FROM ledger.dataset_chunk",
    ],
)
def test_a_dataset_whose_chunks_are_broken_is_never_trained_on(engine, big_rows, accident):
    record(engine("trigger"), rows=big_rows)
    change(engine(None), accident)
    with pytest.raises(BrokenDataset, match=big_rows.sha256):
        unpack_rows(_stored(engine("trainer"), big_rows), sha256=big_rows.sha256)


def test_a_dataset_that_is_used_again_is_kept_from_the_sweep(engine):
    trigger, owner = engine("trigger"), engine(None)
    record(trigger)
    change(owner, "UPDATE ledger.dataset SET used_at = now() - interval '1 year'")
    record(trigger, "other kb")
    assert rows_of(owner, "SELECT FROM ledger.dataset WHERE used_at > now() - interval '1 hour'")
