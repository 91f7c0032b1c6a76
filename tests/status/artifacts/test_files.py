"""What a link gives: the whole file, a part of it, and how a browser may show it."""

import hashlib
import io
import tarfile
import time

import httpx
import pytest

from oncetune.artifacts.folder import FolderStore
from tests.status.artifacts.given import REPORT, links


def test_a_completed_runs_links_give_archive_report_and_log_to_whoever_has_them(status, run_id):
    told = links(status, run_id)
    assert abs(told["expires_at"] - time.time() - 3600) < 60
    archive, report, log = (
        httpx.get(told[name], trust_env=False) for name in ("checkpoint_url", "report_url", "logs_url")
    )
    assert (report.text, log.text) == (REPORT, "step 1\nstep 2\n")
    with tarfile.open(fileobj=io.BytesIO(archive.content)) as packed:
        assert packed.getnames() == ["adapter/adapter_config.json", "adapter/adapter_model.safetensors"]
    assert [file["name"] for file in told["files"]] == ["adapter.tar", "report.html", "report.json", "training.log"]
    for file in told["files"]:
        content = httpx.get(file["url"], trust_env=False).content
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])


def test_a_report_is_shown_and_runs_nothing_and_all_else_is_saved(status, run_id):
    told = {file["name"]: status.get(file["url"]).headers for file in links(status, run_id)["files"]}
    for name, kind, disposition in (
        ("report.html", "text/html; charset=utf-8", 'inline; filename="report.html"'),
        ("adapter.tar", "application/x-tar", 'attachment; filename="adapter.tar"'),
        ("training.log", "text/plain; charset=utf-8", 'attachment; filename="training.log"'),
        ("report.json", "application/json", 'attachment; filename="report.json"'),
    ):
        headers = told[name]
        assert (headers["content-type"], headers["content-disposition"]) == (kind, disposition)
        assert headers["content-security-policy"].startswith("default-src 'none';")
        assert headers["content-security-policy"].endswith("; sandbox")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "private, no-store"


def test_a_download_that_broke_off_goes_on_where_it_was(status, run_id):
    told = links(status, run_id)
    [sha256] = [file["sha256"] for file in told["files"] if file["name"] == "adapter.tar"]
    whole = status.get(told["checkpoint_url"])
    assert (whole.headers["etag"], int(whole.headers["content-length"])) == (f'"{sha256}"', len(whole.content))
    head = status.head(told["checkpoint_url"])
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(whole.content)), b"")
    rest = status.get(told["checkpoint_url"], headers={"Range": "bytes=1000-", "If-Range": f'"{sha256}"'})
    assert (rest.status_code, rest.content) == (206, whole.content[1000:])
    other = status.get(told["checkpoint_url"], headers={"Range": "bytes=1000-", "If-Range": '"another"'})
    assert (other.status_code, other.content) == (200, whole.content)


@pytest.mark.parametrize("range_", ["bytes=99999999-", "bytes=-0"])
def test_a_range_beyond_the_file_is_416_and_says_how_large_it_is(status, run_id, range_):
    url = links(status, run_id)["checkpoint_url"]
    size = status.head(url).headers["content-length"]
    beyond = status.get(url, headers={"Range": range_})
    assert (beyond.status_code, beyond.json()["code"]) == (416, "range_not_satisfiable")
    assert beyond.headers["content-range"] == f"bytes */{size}"


@pytest.mark.parametrize("range_", ["bytes=5-1", "bytes=a-b", "bytes=0-1,5-9", "bytes", "lines=1-2", "bytes=-"])
def test_a_range_that_is_none_is_passed_over(status, run_id, range_):
    url = links(status, run_id)["report_url"]
    answer = status.get(url, headers={"Range": range_})
    assert (answer.status_code, answer.text) == (200, REPORT)
    assert answer.headers["content-security-policy"]


def test_a_file_that_retention_takes_at_this_moment_is_410(status, run_id, monkeypatch):
    url = links(status, run_id)["report_url"]
    found = FolderStore.file

    def taken(store, *words):
        path = found(store, *words)
        path.unlink()
        return path

    monkeypatch.setattr(FolderStore, "file", taken)
    assert (answer := status.get(url)).status_code == 410
    assert answer.json()["code"] == "artifact_removed"
