"""`oncetune runs artifacts`: links, and every file on this machine as it was stored, or not at all."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from uuid import uuid4

import httpx
import pytest

from oncetune.cli.artifacts import unpack
from oncetune.cli.exits import Failure
from tests.cli.conftest import SECRET
from tests.cli.small_server import SmallServer, small_server
from tests.stack import program_environment

RUN = str(uuid4())
QUICK = ("--exp-name", "e", "--base-model", "toy", "--set", "max_steps=2", "--set", "batch_size=2")
LOAD = """
import json, sys
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, adapter = sys.argv[1:]
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
words = AutoTokenizer.from_pretrained(base)("Are you well?", return_tensors="pt")
with torch.no_grad():
    with_adapter = model(**words).logits
    with model.disable_adapter():
        without = model(**words).logits
print(json.dumps({"differs": not torch.equal(with_adapter, without), "finite": bool(with_adapter.isfinite().all()),
                  "beside": [name for name in ("trl", "oncetune", "datasets") if name in sys.modules]}))
"""


@pytest.fixture(scope="module")
def ended(stack, tmp_path_factory):
    """A completed run of the stack."""
    rows = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in _ROWS))
    command = [sys.executable, "-m", "oncetune.cli", "submit", rows, "--kb-id", "artifacts", *QUICK, "--watch"]
    command += ["--json"]
    known = {"ONCETUNE_URL": stack.url, "DPO_GATEWAY_SHARED_SECRET": stack.gateway_secret}
    told = subprocess.run(command, env=program_environment(**known), capture_output=True, text=True, timeout=240)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)["run_id"]


_ROWS = [{"prompt": f"Is it {n}?", "chosen": f"Yes, it is {n}.", "rejected": "No."} for n in range(8)]


def test_links_work_for_whoever_has_them_and_are_told_one_a_line(at_stack, ended):
    told = at_stack("runs", "artifacts", ended)
    assert told.returncode == 0, told.stderr
    links = dict(line.split(None, 1) for line in told.stdout.splitlines())
    assert {"checkpoint_url", "logs_url"} <= links.keys()
    for link in links.values():
        assert httpx.get(link, trust_env=False).status_code == 200
    assert "until" in told.stderr
    assert json.loads(at_stack("runs", "artifacts", ended, "--json").stdout).keys() >= {*links, "files", "expires_at"}


def test_a_downloaded_adapter_is_loaded_by_a_process_that_has_only_transformers_and_peft(
    at_stack, stack, ended, tmp_path
):
    here = tmp_path / "here"
    for _ in range(2):
        told = at_stack("runs", "artifacts", ended, "--download", str(here))
        assert told.returncode == 0, told.stderr
    assert {"adapter", "adapter.tar", "training.log"} <= {path.name for path in here.iterdir()}
    assert not list(here.glob(".*"))
    environment = program_environment()
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-P", "-c", LOAD, stack.models["toy"], here / "adapter"]
    loaded = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert loaded.returncode == 0, loaded.stderr
    assert json.loads(loaded.stdout) == {"differs": True, "finite": True, "beside": []}


def test_a_run_without_results_says_so(oncetune):
    with small_server(SmallServer({f"/runs/{RUN}/artifacts": (200, {})})) as server:
        known = {"ONCETUNE_URL": server.url, "DPO_GATEWAY_SHARED_SECRET": SECRET}
        told = oncetune("runs", "artifacts", RUN, **known)
        assert (told.returncode, told.stdout.strip()) == (0, "none")
        refused = oncetune("runs", "artifacts", RUN, "--download", "here", **known)
    assert refused.returncode == 1 and "nothing to download" in refused.stderr


def archive(**entries: tarfile.TarInfo) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as packed:
        for name, entry in {"good": tarfile.TarInfo("adapter/weights"), **entries}.items():
            entry.size = len(name) if entry.isreg() else 0
            packed.addfile(entry, io.BytesIO(name.encode()))
    return made.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


EVIL = {
    "out of the folder": archive(evil=entry("../evil")),
    "from the root": archive(evil=entry("adapter/../../../evil")),
    "a link out": archive(evil=entry("adapter/evil", tarfile.SYMTYPE, "../../../evil")),
    "a device": archive(evil=entry("adapter/evil", tarfile.CHRTYPE)),
    "no archive": b"hello",
    "nothing in it": archive()[1024:],  # its first entry taken away
    "cut in a file": archive(weights=entry("adapter/more"))[:1540],
    "another folder": archive().replace(b"adapter/weights", b"other00/weights"),
}


def offered(server: SmallServer, name: str, content: str, *, sha256: str | None = None) -> SmallServer:
    """A server whose run has this one file."""
    digest = sha256 or hashlib.sha256(content.encode("latin-1")).hexdigest()
    file = {"name": name, "bytes": len(content), "sha256": digest, "url": f"{server.url}/file"}
    server.answers = {f"/runs/{RUN}/artifacts": (200, {"files": [file]}), "/file": (200, content)}
    return server


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/b", "..", "", "evil\x1b[2J"])
def test_a_name_that_leads_elsewhere_is_refused(oncetune, tmp_path, name):
    with small_server(SmallServer({})) as server:
        offered(server, name, "x")
        known = {"ONCETUNE_URL": server.url, "DPO_GATEWAY_SHARED_SECRET": SECRET}
        told = oncetune("runs", "artifacts", RUN, "--download", str(tmp_path / "here"), **known)
    assert told.returncode == 1 and "no plain name" in told.stderr and "GET /file" not in server.asked
    assert list((tmp_path / "here").iterdir()) == []


def test_a_file_that_arrives_damaged_is_not_kept(oncetune, tmp_path):
    with small_server(SmallServer({})) as server:
        offered(server, "training.log", "step 1", sha256="0" * 64)
        known = {"ONCETUNE_URL": server.url, "DPO_GATEWAY_SHARED_SECRET": SECRET}
        told = oncetune("runs", "artifacts", RUN, "--download", str(tmp_path / "here"), **known)
    assert told.returncode == 1 and "damaged" in told.stderr
    assert list((tmp_path / "here").iterdir()) == []


def downloaded(oncetune, folder, *words: str, name: str, content: str):
    """What the command told of a run with this one file."""
    with small_server(SmallServer({})) as server:
        offered(server, name, content)
        known = {"ONCETUNE_URL": server.url, "DPO_GATEWAY_SHARED_SECRET": SECRET}
        return oncetune("runs", "artifacts", RUN, "--download", str(folder), *words, **known)


def test_what_another_run_left_in_the_folder_is_not_given_out_as_this_ones(oncetune, tmp_path):
    here = tmp_path / "here"
    first = downloaded(oncetune, here, name="adapter.tar", content=archive().decode("latin-1"))
    assert (first.returncode, first.stdout.split()) == (0, [str(here / "adapter.tar"), str(here / "adapter")])
    second = downloaded(oncetune, here, name="training.log", content="it failed")
    assert (second.returncode, second.stdout.split()) == (0, [str(here / "training.log")])


def test_an_adapter_that_was_not_downloaded_is_left_alone(oncetune, tmp_path):
    mine = tmp_path / "adapter" / "mine"
    mine.parent.mkdir()
    mine.write_text("years of work")
    told = downloaded(oncetune, tmp_path, name="adapter.tar", content=archive().decode("latin-1"))
    assert told.returncode == 2 and "not from a download" in told.stderr
    assert mine.read_text() == "years of work"


def test_as_json_a_download_is_one_document(oncetune, tmp_path):
    told = downloaded(oncetune, tmp_path / "here", "--json", name="training.log", content="step 1")
    assert json.loads(told.stdout)["files"][0]["name"] == "training.log"
    assert str(tmp_path / "here" / "training.log") in told.stderr


@pytest.mark.parametrize("how", EVIL)
def test_an_archive_that_is_no_adapters_leaves_nothing_behind(tmp_path, how):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "adapter.tar").write_bytes(EVIL[how])
    (tmp_path / "here" / "adapter").mkdir()  # of the download before
    (tmp_path / "here" / "adapter" / "before").touch()
    with pytest.raises(Failure, match="is no archive of an adapter"):
        unpack(tmp_path / "here" / "adapter.tar", tmp_path / "here")
    assert {path.name for path in tmp_path.rglob("*")} == {"here", "adapter.tar", "adapter", "before"}
