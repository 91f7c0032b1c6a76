"""A token is used by a whole download, and by nothing less."""

import socket
from pathlib import Path

import httpx
import pytest

from oncetune.contracts.preferences import PreferencePair
from oncetune.datasets.packing import pack_rows
from tests.datasets.unpacking import unpack_rows
from tests.deadline import eventually
from tests.ledger.given import ROWS, change, lock_waits, record, rows_of
from tests.trigger.downloading import PATH, download, token_of, used

NO_DATASET = "UPDATE ledger.run SET dataset_sha256 = NULL, dataset_url = 'https://rows.example/a.jsonl'"


def test_a_head_tells_the_size_and_the_hash_and_leaves_the_token_whole(client, engine, run_id):
    token = token_of(client, run_id)
    for _ in range(2):
        head = download(client, token, "HEAD")
        assert (head.status_code, head.headers["content-length"], head.content) == (200, str(ROWS.byte_count), b"")
    assert used(engine(None)) == [False]
    whole = download(client, token)
    assert {name: whole.headers[name] for name in ("repr-digest", "content-type", "accept-ranges")} == {
        name: head.headers[name] for name in ("repr-digest", "content-type", "accept-ranges")
    }


@pytest.mark.parametrize("wanted", ["bytes=0-", "Bytes=5-9", "bytes=-1", "bytes=0-0,2-2", "bytes=nonsense"])
def test_a_part_of_a_dataset_is_416_and_leaves_the_token_whole(client, engine, run_id, wanted):
    token = token_of(client, run_id)
    part = download(client, token, range=wanted)
    assert (part.status_code, part.json()["code"]) == (416, "no_ranges")
    assert part.headers["content-range"] == f"bytes */{ROWS.byte_count}"
    assert used(engine(None)) == [False]
    assert download(client, token, range="lines=1-2").status_code == 200, "other units are passed over (RFC 9110)"


def test_a_dataset_that_is_not_stored_yet_is_409_and_one_that_never_will_be_404_both_leave_the_token(
    client, engine, run_id
):
    owner, token = engine(None), token_of(client, run_id)
    change(owner, NO_DATASET)
    early = download(client, token)
    assert (early.status_code, early.json()["code"], early.headers["retry-after"]) == (409, "dataset_not_stored", "5")
    change(owner, "UPDATE ledger.run SET state = 'cancelled', finished_at = now()")
    assert download(client, token).json()["code"] == "no_dataset"
    assert used(owner) == [False]
    change(owner, "UPDATE ledger.run SET dataset_sha256 = :sha256", sha256=ROWS.sha256)
    assert download(client, token).status_code == 200


def test_a_caller_who_hung_up_before_the_first_byte_has_not_used_the_token(client, engine, run_id):
    owner, token = engine(None), token_of(client, run_id)
    host, port = client.base_url.host, client.base_url.port
    with owner.connect() as blocking:
        blocking.exec_driver_sql("LOCK TABLE ledger.dataset_chunk IN ACCESS EXCLUSIVE MODE")
        with socket.create_connection((host, port)) as caller:
            caller.sendall(f"GET {PATH}?token={token} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            eventually(lambda: lock_waits(owner))
            own = caller.getsockname()[1]
        eventually(lambda: not _served(port, own))
        blocking.rollback()
    eventually(lambda: not lock_waits(owner))
    answer = download(client, token)
    assert (answer.status_code, answer.content) == (200, unpack_rows(ROWS.chunks, sha256=ROWS.sha256))


def _served(port: int, by: int) -> bool:
    """Whether the server's end of this connection of this machine is open."""
    ends = [line.split()[1:3] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [f"0100007F:{port:04X}", f"0100007F:{by:04X}"] in ends


def test_a_spoilt_dataset_is_an_error_and_leaves_the_token_whole(client, engine, run_id):
    owner, token = engine(None), token_of(client, run_id)
    [kept] = rows_of(owner, "SELECT content FROM ledger.dataset_chunk")
    other = pack_rows([PreferencePair(prompt="What is 1 + 1?", chosen="Two.", rejected="Seven")])
    for spoilt in (b"no zlib", kept.content[:-9], other.chunks[0]):
        change(owner, "UPDATE ledger.dataset_chunk SET content = :content", content=spoilt)
        assert download(client, token).status_code == 500
    change(owner, "UPDATE ledger.dataset_chunk SET content = :content", content=kept.content)
    assert used(owner) == [False]
    assert download(client, token).status_code == 200


def test_a_dataset_that_turns_out_spoilt_on_the_way_never_arrives_whole(client, engine, big_rows):
    run_id = record(engine("trigger"), rows=big_rows).run_id
    change(engine(None), "DELETE FROM ledger.dataset_chunk WHERE number = 2")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        download(client, token_of(client, run_id))
