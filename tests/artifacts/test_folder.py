"""An adapter is in its place whole, or not at all."""

import hashlib
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname
from uuid import UUID

import pytest

from oncetune.artifacts.folder import FolderStore, files_below
from oncetune.artifacts.store import NotStored, StoredFile
from tests.artifacts.given import folder_sha256, publish_adapter
from tests.deadline import eventually

RUN = UUID("3f0c6a52-9d0b-4a53-8a3e-6d8f0f1c2b7a")
FILES = {
    "adapter_config.json": b"{}",
    "adapter_model.safetensors": bytes(range(256)) * 4096,
    "tokenizer/vocab.json": b"[]",
    "tokenizer.json": b"{}",  # before tokenizer/ in a list of paths, after it in a list of folders
    "empty": b"",
}


@pytest.fixture
def adapter(tmp_path):
    return _write(tmp_path / "staging" / "adapter", FILES)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "artifacts with spaces"


def _write(folder: Path, contents: dict[str, bytes]) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def _read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _place(root: Path, attempt: int = 1) -> Path:
    return root / str(RUN) / str(attempt)


def test_a_published_adapter_is_where_its_address_says_byte_for_byte(root, adapter):
    published = publish_adapter(root, RUN, 1, adapter)
    place = Path(url2pathname(urlparse(published.uri).path))
    assert place == _place(root) / "adapter"
    assert _read(place) == FILES
    assert _read(adapter) == FILES, "the staged one is left to its owner"


def test_its_hash_is_what_sha256sum_says(root, adapter):
    published = publish_adapter(root, RUN, 1, adapter)
    names = sorted(FILES)
    printed = subprocess.run(
        ["sha256sum", *names], cwd=adapter, env={"LC_ALL": "C", **os.environ}, capture_output=True, check=True
    )
    assert published.adapter_sha256 == hashlib.sha256(printed.stdout).hexdigest()


def test_a_disk_that_keeps_other_bytes_than_it_was_given_has_not_stored_them(root, adapter, monkeypatch):
    fsync = os.fsync

    def spoil(descriptor: int) -> None:
        if (path := Path(f"/proc/self/fd/{descriptor}").readlink()).name == "tokenizer.json":
            path.write_bytes(b"{!")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spoil)
    with pytest.raises(NotStored, match=r"adapter/tokenizer\.json came back from the store with other bytes"):
        publish_adapter(root, RUN, 1, adapter)


def test_what_lies_beside_the_adapter_can_be_downloaded_and_its_size_and_hash_are_told(root, adapter, tmp_path):
    log_file = tmp_path / "a log"
    log_file.write_bytes(b"step 1")
    published = publish_adapter(root, RUN, 1, adapter, training_log=log_file)
    assert published.files == {"training.log": StoredFile(6, hashlib.sha256(b"step 1").hexdigest())}
    assert published.adapter_sha256 == folder_sha256(adapter)
    assert FolderStore(root).keep_log(RUN, 2, log_file) == published.files


def test_a_link_is_no_file_of_a_folder(adapter):
    told = folder_sha256(adapter)
    (adapter / "link").symlink_to(adapter / "tokenizer.json")
    (adapter / "shared").symlink_to(_write(adapter.with_name("shared"), {"vocabulary": b"a b c"}))
    assert folder_sha256(adapter) == told
    (adapter.with_name("way")).symlink_to(adapter)
    assert files_below(adapter.with_name("way")) == {}


def test_all_of_an_adapter_is_on_the_disk_before_it_is_in_its_place_and_its_name_after(root, adapter, monkeypatch):
    fsync, before, after = os.fsync, set(), set()

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        (after if _place(root).exists() else before).add(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", noted)
    publish_adapter(root, RUN, 1, adapter)
    arriving = _place(root).with_name("1.arriving")
    everything = {path.relative_to(_place(root)) for path in _place(root).rglob("*")}
    assert before == {arriving} | {arriving / path for path in everything}
    assert after == {_place(root).parent, root}


@pytest.mark.parametrize("change", ["content", "name", "one more", "one less", "folder"])
def test_any_change_of_the_folder_changes_its_hash(tmp_path, adapter, change):
    changed = {
        "content": {**FILES, "empty": b" "},
        "name": {("hollow" if name == "empty" else name): content for name, content in FILES.items()},
        "one more": {**FILES, "more": b""},
        "one less": {name: content for name, content in FILES.items() if name != "empty"},
        "folder": {name.replace("tokenizer/", "tokenizers/"): content for name, content in FILES.items()},
    }[change]
    assert folder_sha256(_write(tmp_path / "other", FILES)) == folder_sha256(adapter)
    assert folder_sha256(_write(tmp_path / "other", changed)) != folder_sha256(adapter)


def test_a_repeat_replaces_the_copy_of_its_attempt_and_leaves_the_others(root, adapter):
    first = publish_adapter(root, RUN, 1, adapter)
    other = publish_adapter(root, RUN, 2, adapter)
    assert first.adapter_sha256 == other.adapter_sha256
    again = publish_adapter(root, RUN, 1, _write(adapter, {"adapter_config.json": b"{2}"}))
    assert again.uri == first.uri
    assert again.adapter_sha256 != first.adapter_sha256
    assert _read(_place(root, 1)) == {"adapter/adapter_config.json": b"{2}"}
    assert folder_sha256(_place(root, 2) / "adapter") == other.adapter_sha256
    assert sorted(path.name for path in _place(root).parent.iterdir()) == ["1", "2"]


@pytest.mark.parametrize("earlier", [False, True], ids=["first", "repeat"])
def test_a_copy_that_fails_midway_is_not_in_the_place_and_the_next_try_is_whole(root, adapter, earlier):
    if earlier:
        publish_adapter(root, RUN, 1, adapter)
    with pytest.raises(OSError, match="File too large"), _room_for(2**19):
        publish_adapter(root, RUN, 1, adapter)
    assert not _place(root).exists()
    publish_adapter(root, RUN, 1, adapter)
    assert _read(_place(root) / "adapter") == FILES
    assert [path.name for path in _place(root).parent.iterdir()] == ["1"]


def test_a_trainer_that_is_killed_midway_leaves_nothing_in_the_place(root, tmp_path):
    adapter = _write(tmp_path / "adapter", {"adapter_model.safetensors": b""})
    os.truncate(adapter / "adapter_model.safetensors", 2**36)  # takes no room, and a minute to copy
    trainer = multiprocessing.get_context("spawn").Process(target=publish_adapter, args=(root, RUN, 1, adapter))
    trainer.start()
    eventually(lambda: list(_place(root).parent.rglob("*.safetensors")), seconds=60)
    trainer.kill()
    trainer.join()
    assert trainer.exitcode == -signal.SIGKILL
    assert not _place(root).exists()
    assert publish_adapter(root, RUN, 1, _write(adapter, FILES)).adapter_sha256 == folder_sha256(adapter)


def test_a_root_that_takes_nothing_is_an_os_error(tmp_path, adapter):
    root = tmp_path / "a file"
    root.write_bytes(b"")
    with pytest.raises(OSError):
        publish_adapter(root, RUN, 1, adapter)


def test_an_adapter_that_is_not_there_is_an_os_error_and_leaves_no_place(root, tmp_path):
    with pytest.raises(OSError):
        publish_adapter(root, RUN, 1, tmp_path / "nowhere")
    assert not _place(root).exists()


def test_a_discarded_adapter_is_gone_and_its_log_and_the_others_stay(root, adapter, tmp_path):
    (tmp_path / "training.log").touch()
    for attempt in (1, 2):
        publish_adapter(root, RUN, attempt, adapter)
        FolderStore(root).keep_log(RUN, attempt, tmp_path / "training.log")
    _place(root).with_name("1.arriving").mkdir()
    for _ in range(2):
        FolderStore(root).discard(RUN, 1)
    assert dict(FolderStore(root).places()) == {RUN: {2}}
    assert sorted(path.relative_to(root / str(RUN)).as_posix() for path in root.rglob("*.log")) == [
        "1/training.log",
        "2/training.log",
    ]


def test_adapters_that_arrive_are_found_and_the_folders_of_strangers_are_not(root, adapter):
    publish_adapter(root, RUN, 1, adapter)
    for path in ("2.arriving", "three.arriving", "checkpoints/1/10"):
        (root / str(RUN) / path).mkdir(parents=True)
    (root / "lost+found" / "1" / "adapter").mkdir(parents=True)
    assert list(FolderStore(root).places()) == [(RUN, {1, 2})]


@pytest.mark.parametrize("left", ["adapter.tar", "adapter/weights"])
def test_a_discard_that_was_cut_off_anywhere_is_found_again_and_a_log_alone_is_not(root, left):
    for place in (f"{RUN}/1/{left}", f"{RUN}/1/training.log", f"{RUN}/2/training.log"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text("left")
    assert list(FolderStore(root).places()) == [(RUN, {1})]
    FolderStore(root).discard(RUN, 1)
    assert list(FolderStore(root).places()) == [(RUN, set())]


def test_the_log_is_kept_beside_the_adapter_or_without_one(root, adapter, tmp_path):
    log_file = tmp_path / "training.log"
    log_file.write_text("step 1")
    published = publish_adapter(root, RUN, 1, adapter)
    for attempt in (1, 2):
        FolderStore(root).keep_log(RUN, attempt, log_file)
        assert (_place(root, attempt) / "training.log").read_text() == "step 1"
    assert folder_sha256(_place(root) / "adapter") == published.adapter_sha256


@contextmanager
def _room_for(size: int) -> Iterator[None]:
    """No file of this process may become longer while inside: its write breaks off there, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_takes_half_an_adapter_keeps_none_of_it_and_the_next_try_is_whole(root, adapter):
    for attempt in (1, 2):
        with pytest.raises(OSError, match="File too large"), _room_for(2**19):
            publish_adapter(root, RUN, attempt, adapter)
    assert list((root / str(RUN)).iterdir()) == []
    assert publish_adapter(root, RUN, 1, adapter).adapter_sha256 == folder_sha256(adapter)
    assert _read(_place(root) / "adapter") == FILES
