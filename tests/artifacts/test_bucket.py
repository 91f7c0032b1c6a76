"""A result is in its bucket whole and as it was, or the run does not know of it: on a real S3 server."""

import hashlib
import threading
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from oncetune.artifacts.bucket import BucketStore
from oncetune.artifacts.store import Bucket, NotStored, StoredFile, read_place
from tests.artifacts.given import folder_sha256, publish_to
from tests.artifacts.s3 import BUCKET
from tests.cli.small_server import SmallServer, small_server
from tests.deadline import eventually

RUN = UUID("3f0c6a52-9d0b-4a53-8a3e-6d8f0f1c2b7a")
FILES = {
    "adapter_config.json": b"{}",
    "adapter_model.safetensors": bytes(range(256)) * 2**16,  # 16 MiB: in several parts
    "tokenizer/vocab.json": b"[]",
    "empty": b"",
    "with a blank, ü and %41 #?&+.txt": b"odd",
}


@pytest.fixture
def adapter(tmp_path):
    for name, content in FILES.items():
        (tmp_path / "adapter" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "adapter" / name).write_bytes(content)
    return tmp_path / "adapter"


@pytest.fixture
def log_file(tmp_path):
    (tmp_path / "a log").write_bytes(b"step 1")
    return tmp_path / "a log"


@pytest.fixture
def store(s3):
    return BucketStore(Bucket(BUCKET, "of/oncetune"))


def test_a_published_result_is_in_the_bucket_byte_for_byte_and_told_with_its_hashes(store, s3, adapter, log_file):
    published = publish_to(store, RUN, 1, adapter, training_log=log_file)
    below = f"of/oncetune/{RUN}/1"
    assert s3.objects() == {
        **{f"{below}/adapter/{name}": content for name, content in FILES.items()},
        f"{below}/training.log": b"step 1",
    }
    assert published.uri == f"s3://{BUCKET}/{below}/adapter"
    assert published.adapter_sha256 == folder_sha256(adapter)
    assert published.files == {"training.log": StoredFile(6, hashlib.sha256(b"step 1").hexdigest())}


def test_a_link_gives_an_object_to_whoever_has_it_until_it_ends(store, s3, adapter, tmp_path, log_file):
    (tmp_path / "page").write_text("<h1>How it went</h1>")
    publish_to(store, RUN, 1, adapter, report_html=tmp_path / "page", training_log=log_file)
    report = httpx.get(store.link(RUN, 1, "report.html", timedelta(hours=1)), trust_env=False)
    assert (report.status_code, report.text) == (200, "<h1>How it went</h1>")
    assert report.headers["content-type"] == "text/html; charset=utf-8"
    part = httpx.get(
        store.link(RUN, 1, "adapter/adapter_model.safetensors", timedelta(hours=1)),
        headers={"Range": "bytes=-5"},
        trust_env=False,
    )
    assert (part.status_code, part.content) == (206, bytes(range(251, 256)))
    link = store.link(RUN, 1, "report.html", timedelta(hours=1))
    for spoiled in (link.partition("?")[0], link.replace("report.html", "training.log"), link[:-1]):
        assert httpx.get(spoiled, trust_env=False).status_code == 403
    short = store.link(RUN, 1, "report.html", timedelta(seconds=1))
    eventually(lambda: httpx.get(short, trust_env=False).status_code == 403, every=0.2)


def test_a_repeat_replaces_the_result_of_its_attempt_and_leaves_the_others(store, s3, adapter):
    publish_to(store, RUN, 1, adapter)
    other = publish_to(store, RUN, 11, adapter)
    (adapter / "tokenizer" / "vocab.json").unlink()
    again = publish_to(store, RUN, 1, adapter)
    assert again.adapter_sha256 == folder_sha256(adapter) != other.adapter_sha256
    names = {name.removeprefix(f"of/oncetune/{RUN}/") for name in s3.objects()}
    assert names == {f"1/adapter/{name}" for name in FILES if name != "tokenizer/vocab.json"} | {
        f"11/adapter/{name}" for name in FILES
    }


class Spoiler(threading.Thread):
    """Another writer, or a disk: turns a byte of one object as soon as it lies there."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._over = path, threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.001):
            if self._path.exists() and self._path.read_bytes()[:1] == b"{":
                self._path.write_bytes(b"[" + self._path.read_bytes()[1:])

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def test_a_bucket_that_gives_back_other_bytes_has_not_stored_them(store, s3, adapter):
    path = s3.folder / BUCKET / "of" / "oncetune" / str(RUN) / "1" / "adapter" / "adapter_config.json"
    with Spoiler(path), pytest.raises(NotStored, match=r"adapter/adapter_config\.json came back from the store"):
        publish_to(store, RUN, 1, adapter)


def test_a_server_that_is_killed_in_the_middle_is_an_error_and_the_next_try_is_whole(store, s3, adapter):
    (adapter / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 2**20)  # 256 MiB: takes its time
    arriving = s3.folder / BUCKET / ".sgwtmp" / "multipart"
    failed: list[BaseException] = []

    def publish() -> None:
        try:
            publish_to(store, RUN, 1, adapter)
        except NotStored as error:
            failed.append(error)

    publishing = threading.Thread(target=publish)
    publishing.start()
    eventually(lambda: arriving.exists() and any(path.is_file() for path in arriving.rglob("*")), every=0.001)
    s3.kill()
    publishing.join(60)
    assert [str(error) for error in failed] == [f"s3://{BUCKET}/of/oncetune refuses: its server does not answer"]
    assert not any(name.endswith("adapter_model.safetensors") for name in s3.objects())
    (adapter / "adapter_model.safetensors").write_bytes(FILES["adapter_model.safetensors"])
    s3.start()
    assert publish_to(store, RUN, 1, adapter).adapter_sha256 == folder_sha256(adapter)
    assert {name.rpartition("/adapter/")[2]: content for name, content in s3.objects().items()} == FILES


WRONG = {
    "wrong key": ({"AWS_SECRET_ACCESS_KEY": "another"}, BUCKET, "SignatureDoesNotMatch: "),
    "unknown user": ({"AWS_ACCESS_KEY_ID": "SOMEBODY"}, BUCKET, "XAdminUserNotFound: "),
    "no bucket": ({}, "nowhere", "NoSuchBucket: The specified bucket does not exist"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_a_bucket_is_one_sentence_without_a_secret(s3, adapter, log_file, monkeypatch, what):
    environment, name, said = WRONG[what]
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    store = BucketStore(Bucket(name, "of"))
    for use in (
        lambda: publish_to(store, RUN, 1, adapter),
        lambda: store.keep_log(RUN, 1, log_file),
        lambda: store.discard(RUN, 1),
        lambda: store.remove(RUN),
        lambda: list(store.places()),
    ):
        with pytest.raises(NotStored) as refused:
            use()
        sentence = str(refused.value)
        assert sentence.startswith(f"s3://{name}/of refuses: {said}"), sentence
        assert len(sentence) < 300 and "\n" not in sentence and "Signature=" not in sentence


def test_a_long_refusal_of_a_cloud_keeps_its_reason(monkeypatch):
    role = "arn:aws:sts::123456789012:assumed-role/oncetune-trainer-in-production/1767007200123456789"
    said = (
        f"User: {role} is not authorized to perform: s3:ListBucket on resource: "
        '"arn:aws:s3:::results-of-the-tuning" because no identity-based policy allows the s3:ListBucket action'
    )
    refusal = f"<Error><Code>AccessDenied</Code><Message>{said}</Message><RequestId>1</RequestId></Error>"
    with small_server(SmallServer({"/results": (403, f'<?xml version="1.0" encoding="UTF-8"?>\n{refusal}')})) as server:
        known = {"ENDPOINT_URL": server.url, "ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s", "REGION": "us-east-1"}
        for name, value in known.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        with pytest.raises(NotStored) as refused:
            list(BucketStore(Bucket("results", "of")).places())
    assert str(refused.value) == f"s3://results/of refuses: AccessDenied: {said}"


def test_a_discarded_result_is_gone_and_its_log_and_the_others_stay(store, s3, adapter, log_file):
    for attempt in (1, 2):
        publish_to(store, RUN, attempt, adapter, training_log=log_file)
    assert list(store.places()) == [(RUN, {1, 2})]
    for _ in range(2):
        store.discard(RUN, 1)
    assert list(store.places()) == [(RUN, {2})]
    assert f"of/oncetune/{RUN}/1/training.log" in s3.objects()


def test_all_of_a_run_is_removed_and_nothing_of_others(store, s3, adapter, log_file):
    other = uuid4()
    for run in (RUN, other):
        publish_to(store, run, 1, adapter, training_log=log_file)
    store.keep_log(RUN, 2, log_file)
    (s3.folder / BUCKET / "of" / "oncetune" / "notes.txt").write_text("of somebody else")
    (s3.folder / BUCKET / "of" / "oncetune" / "three" / "1" / "adapter").mkdir(parents=True)
    (s3.folder / BUCKET / "of" / "oncetune" / "three" / "1" / "adapter" / "x").touch()
    store.remove(RUN)
    assert list(store.places()) == [(other, {1})]
    assert "of/oncetune/notes.txt" in s3.objects()
    store.remove(RUN)


ADDRESSES = {
    "s3://results": Bucket("results", ""),
    "s3://results/": Bucket("results", ""),
    "s3://my.results-1/of/oncetune/": Bucket("my.results-1", "of/oncetune"),
    "artifacts": Path("artifacts"),
    "/var/lib/oncetune/artifacts": Path("/var/lib/oncetune/artifacts"),
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_a_folder_or_a_bucket(address):
    assert read_place(address) == ADDRESSES[address]


@pytest.mark.parametrize(
    "address",
    ["", "s3://", "s3://ab", "s3://Results", "s3://results//x", "s3://results/../x", "s3://a_b/x", "gs://results"],
)
def test_another_address_is_refused(address):
    with pytest.raises(ValueError):
        read_place(address)


@pytest.mark.parametrize("left", ["adapter.tar", "report.html", "adapter/weights"])
def test_a_discard_that_was_cut_off_anywhere_is_found_again_and_a_log_alone_is_not(store, s3, left):
    for key in (f"{RUN}/1/{left}", f"{RUN}/1/training.log", f"{RUN}/10/training.log"):
        path = s3.folder / BUCKET / "of" / "oncetune" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("left")
    assert list(store.places()) == [(RUN, {1})]
    store.discard(RUN, 1)
    assert list(store.places()) == [(RUN, set())]
