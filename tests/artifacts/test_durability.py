"""Whatever a folder is renamed to or recorded as, its files and its names were brought to the disk before."""

import os
from pathlib import Path
from uuid import uuid4

import pytest

from oncetune.contracts.checkpoint import SEAL_NAME, Origin, close_with_seal
from tests.artifacts.given import publish_adapter

RUN = uuid4()
FILES = {"adapter_config.json": 2, "adapter_model.safetensors": 100_000, "tokenizer/vocab/words.json": 3, "empty": 0}
FOLDERS = {".", "tokenizer", "tokenizer/vocab"}


@pytest.fixture
def synced(monkeypatch):
    """What was synced, in order: the path at that moment, and a file's bytes or a folder's names by then."""
    calls: list[tuple[Path, int | list[str]]] = []
    real = os.fsync

    def spy(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        calls.append((path, sorted(entry.name for entry in path.iterdir()) if path.is_dir() else path.stat().st_size))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    return calls


def _write(folder: Path) -> Path:
    for name, size in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(size))
    return folder


def test_an_adapter_is_on_the_disk_before_it_is_in_its_place_and_its_names_before_it_is_recorded(tmp_path, synced):
    root = tmp_path / "artifacts"
    publish_adapter(root, RUN, 1, _write(tmp_path / "adapter"))
    arriving, place = root / str(RUN) / "1.arriving", root / str(RUN) / "1"
    before = {path: found for path, found in synced if path.is_relative_to(arriving)}
    assert before.keys() == {arriving} | {arriving / "adapter" / name for name in FILES.keys() | FOLDERS}
    assert {name: before[arriving / "adapter" / name] for name in FILES} == FILES, "whole by then"
    assert synced[-2:] == [(place.parent, ["1"]), (root, [str(RUN)])], "once it has its name"


def test_a_checkpoint_is_on_the_disk_with_its_seal_before_it_can_be_renamed(tmp_path, synced):
    folder = _write(tmp_path / "checkpoint")
    origin = Origin(run_id=str(RUN), dataset_sha256="0" * 64, recipe_sha256="1" * 64)
    close_with_seal(folder, origin, step=10, steps=50, made_with={})
    last = dict(synced)
    assert last.keys() == {folder / name for name in FILES.keys() | FOLDERS | {SEAL_NAME}}
    assert {name: last[folder / name] for name in FILES} == FILES
    assert last[folder / SEAL_NAME] == (folder / SEAL_NAME).stat().st_size > 0
    assert SEAL_NAME in last[folder]
