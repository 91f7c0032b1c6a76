"""What a link opens: one file of one attempt for a time, without a header, and nothing else."""

import time
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest

from oncetune.artifacts.folder import FolderStore
from oncetune.artifacts.links import Links
from tests.loglines import captured_lines
from tests.serving import SECRET, signed
from tests.status.artifacts.given import ANOTHER, completed, links, raw


def test_a_link_opens_nothing_but_its_own_file(status, engine, run_id, root, tmp_path):
    other = completed(engine, FolderStore(root), tmp_path / "staging", kb_id="other")
    good = urlsplit(links(status, run_id)["checkpoint_url"])
    query = parse_qs(good.query)
    expires, signature = query["expires"][0], query["signature"][0]
    turned = ("0" if signature[0] != "0" else "1") + signature[1:]
    for path, given in {
        "another run": (good.path.replace(str(run_id), str(other)), good.query),
        "another attempt": (good.path.replace("/1/", "/2/"), good.query),
        "another name": (good.path.replace("adapter.tar", "training.log"), good.query),
        "later": (good.path, f"expires={int(expires) + 1}&signature={signature}"),
        "a zero before": (good.path, f"expires=0{expires}&signature={signature}"),
        "another number": (good.path, f"expires=٣&signature={signature}"),
        "one turned digit": (good.path, f"expires={expires}&signature={turned}"),
        "shorter": (good.path, f"expires={expires}&signature={signature[:-1]}"),
        "in capitals": (good.path, f"expires={expires}&signature={signature.upper()}"),
        "no ASCII": (good.path, f"expires={expires}&signature=%ff"),
        "no signature": (good.path, f"expires={expires}"),
        "nothing": (good.path, ""),
        "of the gateway": (good.path, f"expires={expires}&signature={signed()['X-Novalto-Signature']}"),
    }.values():
        answer = status.get(f"{path}?{given}")
        assert (answer.status_code, answer.json()["code"]) == (404, "artifact_not_found"), (path, given)
    assert status.get(f"{good.path}?{good.query}").status_code == 200
    assert status.get(good.path, headers=signed()).status_code == 404, "the gateway's headers open nothing here"
    assert status.get(f"/runs?{good.query}").status_code == 401, "and a link opens nothing else"


def test_a_link_ends(status, run_id):
    ours = Links.of_secrets([SECRET])
    path = urlsplit(links(status, run_id)["logs_url"]).path
    for expires, code in ((int(time.time()) - 1, 403), (0, 403), (int(time.time()) + 60, 200)):
        answer = status.get(ours.signed(path, expires=expires))
        assert answer.status_code == code
    assert status.get(ours.signed(path, expires=1)).json()["code"] == "link_expired"


def test_links_of_the_previous_secret_open_while_it_rotates_and_no_others(status, run_id):
    path, expires = urlsplit(links(status, run_id)["logs_url"]).path, int(time.time()) + 60
    for secret, code in ((SECRET, 200), (ANOTHER, 200), ("neither of the two secrets", 404)):
        assert status.get(Links.of_secrets([secret]).signed(path, expires=expires)).status_code == code
    told = links(status, run_id)
    today = Links.of_secrets([SECRET]).signed(path, expires=told["expires_at"])
    assert told["logs_url"].endswith(today), "a link that is made today outlives the rotation"


@pytest.mark.parametrize(
    "name",
    [
        "../1/adapter.tar",
        "..%2f1%2fadapter.tar",
        "%2e%2e/1/adapter.tar",
        "adapter%2fadapter_config.json",
        "adapter/adapter_config.json",
        "adapter.tar%00.html",
        "adapter.tar%00",
        "adapter",
        "..",
        ".",
        "unknown.txt",
        "a" * 300,
        "%",
        "",
    ],
)
def test_no_other_path_leads_to_a_file_even_when_it_is_signed(status, run_id, name):
    ours = Links.of_secrets([SECRET])
    for prefix in (f"/artifacts/{run_id}/1/", f"/artifacts/{run_id}/", "/artifacts/"):
        for path in {prefix + name, prefix + httpx.URL(f"http://a/{name}").path[1:]}:
            query = ours.signed(path, expires=int(time.time()) + 60).partition("?")[2]
            if path.isascii() and path.isprintable() and " " not in path:
                code, body = raw(str(status.base_url), f"{prefix}{name}?{query}")
                assert code == 404, body


def test_a_signed_link_to_what_the_ledger_does_not_show_is_404(status, engine, run_id, root):
    ours, soon = Links.of_secrets([SECRET]), int(time.time()) + 60
    (root / str(run_id) / "1" / "secret.txt").write_text("of somebody else")
    (root / str(run_id) / "2").mkdir()
    (root / str(run_id) / "2" / "training.log").write_text("of an attempt that was lost")
    for path in (f"{run_id}/1/secret.txt", f"{run_id}/2/training.log", f"{uuid4()}/1/training.log"):
        assert status.get(ours.signed(f"/artifacts/{path}", expires=soon)).status_code == 404


@pytest.mark.parametrize("where", ["the file", "its folder", "the run's folder"])
def test_a_link_in_the_folder_of_results_is_not_followed(status, run_id, root, tmp_path, where):
    url = links(status, run_id)["logs_url"]
    place = {"the file": f"{run_id}/1/training.log", "its folder": f"{run_id}/1", "the run's folder": str(run_id)}[
        where
    ]
    (root / place).rename(tmp_path / "elsewhere")
    (root / place).symlink_to(tmp_path / "elsewhere")
    assert status.get(url).status_code == 404


def test_no_line_of_the_log_holds_a_signature(status, run_id, root):
    url = links(status, run_id)["logs_url"]
    with captured_lines() as lines:
        assert status.get(url).status_code == 200
        (root / str(run_id) / "1" / "training.log").unlink()
        assert status.get(url).status_code == 404
        signature = parse_qs(urlsplit(url).query)["signature"][0]
        assert status.get(url + "0").status_code == 404
    assert signature not in lines.getvalue()
