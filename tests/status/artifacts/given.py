"""Runs with results, and what a caller is told of them."""

from datetime import timedelta
from http.client import HTTPConnection
from urllib.parse import urlsplit
from uuid import UUID

from oncetune.trainer.publishing import publish, recorded
from tests.ledger.given import claim, record
from tests.serving import signed
from tests.status.given import finish

ANOTHER = "another secret, long enough"
REPORT = "<h1>How it went</h1>"


def staged(folder, **files: str):
    """What an attempt leaves in its folder: an adapter, a log, and these beside."""
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 1000)
    (folder / "training.log").write_text("step 1\nstep 2\n")
    (folder / "results").mkdir()
    for name, content in files.items():
        (folder / "results" / name.replace("_", ".")).write_text(content)
    return folder


def completed(engine, store, folder, *, kb_id: str = "kb", user_id: str = "ann") -> UUID:
    """A run with its results in their place, as a trainer leaves it."""
    record(engine("trigger"), kb_id, user_id=user_id)
    lease = claim(engine("trainer"))
    published = publish(
        store,
        lease,
        staged(folder / kb_id, report_html=REPORT, report_json="{}"),
        grace=timedelta(0),
        must_stop=lambda _: True,
    )
    finish(
        engine,
        lease,
        state="completed",
        artifact_uri=published.uri,
        adapter_sha256=published.adapter_sha256,
        files=recorded(published.files),
    )
    return lease.run_id


def links(status, run_id, **caller) -> dict:
    answer = status.get(f"/runs/{run_id}/artifacts", headers=signed(**caller))
    assert answer.status_code == 200, answer.text
    return answer.json()


def raw(url: str, path: str, method: str = "GET") -> tuple[int, bytes]:
    """A path as it is: no client makes it a better one."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.putrequest(method, path, skip_accept_encoding=True)
    connection.endheaders()
    answer = connection.getresponse()
    told = answer.status, answer.read()
    connection.close()
    return told
