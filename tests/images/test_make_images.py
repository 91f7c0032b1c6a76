"""`make images`, without an engine: what it would run; and what .ci/run says without one."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.helm.chart import CHART, ROOT, read
from tests.images.images import KINDS, image_of


def would_run(*words: str) -> str:
    nothing_else = {"PATH": os.environ["PATH"]}  # make reads BASE and TAG from it, and .ci/run exports BASE
    command = ["make", "-n", "images", *words]
    return subprocess.run(command, cwd=ROOT, env=nothing_else, capture_output=True, text=True, check=True).stdout


def test_the_images_have_the_names_that_the_chart_and_these_tests_have_for_them():
    values, version = read(CHART / "values.yaml"), read(CHART / "Chart.yaml")["appVersion"]
    wanted = [f"{one['repository']}:{version}" for one in (values["image"], values["trainer"]["image"])]
    assert re.findall(r"--tag (\S+)", would_run()) == wanted == [image_of(kind) for kind in KINDS]


def test_each_is_built_from_the_lock_of_its_name_and_with_the_base_that_is_given():
    assert re.findall(r"--build-arg (\S+)", would_run()) == ["LOCK=services", "LOCK=trainer"]
    assert re.findall(r"--build-arg (\S+)", would_run("BASE=a:b", "ONLY=trainer")) == ["BASE=a:b", "LOCK=trainer"]
    for kind in KINDS:
        assert (ROOT / "services" / "requirements" / f"{kind}.txt").exists()


def test_the_version_in_their_labels_is_that_of_the_sources():
    assert set(re.findall(r"image\.version=(\S+)", would_run())) == {image_of("services").partition(":")[2]}


def test_ci_without_an_engine_says_so_before_it_does_anything(tmp_path: Path):
    script, programs = tmp_path / "checkout" / ".ci" / "run", tmp_path / "bin"  # there is no ../shared beside it
    script.parent.mkdir(parents=True)
    programs.mkdir()
    shutil.copy(ROOT / ".ci" / "run", script)
    for name in ("bash", "dirname", "id", "mktemp", "rm", "xargs"):  # it cannot install anything here
        (programs / name).symlink_to(shutil.which(name) or name)
    said = subprocess.run(
        [script], env={"PATH": str(programs)}, capture_output=True, text=True, check=False, timeout=60
    )
    assert (said.returncode, said.stdout.startswith("no Docker engine answers to ")) == (1, True), said.stderr
