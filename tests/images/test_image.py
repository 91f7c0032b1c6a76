"""What services/Dockerfile promises of the two images, looked up in them."""

import json
import re
import tarfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.images.pods import ended

IMPORT_ALL = """
import ctypes, importlib, importlib.machinery, pathlib, sysconfig
import psycopg  # its compiled half must not come first
packages = pathlib.Path(sysconfig.get_path("platlib"))
count = 0
for file in packages.rglob("*.so*"):
    if file.name.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)):
        importlib.import_module(".".join([*file.relative_to(packages).parent.parts, file.name.partition(".")[0]]))
    else:
        ctypes.CDLL(str(file))
    count += 1
print(count)
"""
WRITE = """
import os, pathlib
ours = [pathlib.Path("/opt/oncetune"), *pathlib.Path("/opt/oncetune").rglob("*")]
print(os.getuid(), [str(path) for path in ours if os.access(path, os.W_OK)], os.access("/tmp", os.W_OK))
"""
A_SECRET = re.compile(r"password|secret|token|credential|private.?key", re.IGNORECASE)
NO_FILE_OF_OURS = re.compile(r"(^|/)(\.git|\.env|\.netrc|\.docker|\.ssh|pip\.conf|uv\.toml|id_rsa|tests/brokers)(/|$)")


@pytest.fixture(params=["services", "trainer"])
def image(request: pytest.FixtureRequest) -> str:
    """Both, one after the other."""
    name: str = request.getfixturevalue(f"{request.param}_image")
    return name


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env(timeout=120)
    yield client
    client.close()


def test_its_version_is_that_of_the_sources_by_its_label_and_by_its_own_word(image, engine):
    assert ended(image, "--version").out == f"oncetune {version('oncetune')}\n"
    labels = engine.images.get(image).labels
    assert labels["org.opencontainers.image.version"] == version("oncetune")


def test_who_runs_in_it_is_not_root_by_a_number_and_writes_to_nothing_but_tmp(image, engine):
    assert engine.images.get(image).attrs["Config"]["User"] == "10001:10001"  # Kubernetes cannot judge a name
    assert ended(image, "-c", WRITE, entrypoint="python", read_only=False).out == "10001 [] True\n"


def test_its_first_process_is_ours_and_no_shell_stands_before_it(image, engine):
    config = engine.images.get(image).attrs["Config"]
    assert (config["Entrypoint"], config["Cmd"]) == (["oncetune"], None)


def test_no_variable_and_no_step_of_it_names_a_secret(image, engine):
    found = engine.images.get(image)
    told = [*found.attrs["Config"]["Env"], *(step["CreatedBy"] for step in found.history())]
    assert [one for one in told if A_SECRET.search(one)] == []


def test_no_layer_of_it_has_a_file_that_is_not_for_it(services_image, engine, tmp_path):
    names = list(_files(engine.images.get(services_image), tmp_path / "image.tar"))
    assert "opt/oncetune/bin/oncetune" in names
    assert [name for name in names if NO_FILE_OF_OURS.search(name)] == []


def _files(image: Any, saved: Path) -> Iterator[str]:
    """The names of all files of all its layers, also of those that a later layer hides."""
    with saved.open("wb") as file:
        for part in image.save():
            file.write(part)
    with tarfile.open(saved) as parts:
        manifest = parts.extractfile("manifest.json")
        assert manifest
        for layer in json.load(manifest)[0]["Layers"]:
            with tarfile.open(fileobj=parts.extractfile(layer)) as files:
                yield from files.getnames()


def test_every_compiled_module_of_the_services_can_be_imported_stripped_as_it_is(services_image):
    said = ended(services_image, "-c", IMPORT_ALL, entrypoint="python")
    assert said.code == 0, said.err
    assert int(said.out) > 20


def test_the_services_have_no_pytorch_and_fit_into_200_megabytes(services_image, engine):
    assert engine.images.get(services_image).attrs["Size"] <= 200_000_000
    assert ended(services_image, "-c", "import torch", entrypoint="python").code == 1


def test_the_trainer_has_pytorch_for_gpus_and_for_none(trainer_image):
    code = "import torch; print(torch.version.cuda, torch.ones(2).sum())"
    said = ended(trainer_image, "-c", code, entrypoint="python")
    assert re.fullmatch(r"\d+\.\d+ tensor\(2\.\)\n", said.out), said.err
