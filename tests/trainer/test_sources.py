"""Which sources are running: what other programs leave beside them, or take away again, does not count."""

import runpy
import shutil
from pathlib import Path

import pytest

from oncetune import sources
from tests.serving import serving


@pytest.fixture
def digest(tmp_path):
    """`digest()`: of a package with one source."""
    copy = Path(shutil.copy(sources.__file__, tmp_path))

    def make() -> str:
        return runpy.run_path(str(copy))["source_sha256"]()

    return make


@pytest.mark.parametrize("name", ["__pycache__/sources.cpython-311.pyc.140212", ".DS_Store", "sources.py~"])
def test_a_file_that_comes_and_goes_beside_the_sources_is_none_of_them(tmp_path, digest, name):
    before = digest()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"here")
    assert digest() == before


def test_a_source_that_changes_or_another_one_is_another_digest(tmp_path, digest):
    seen = {digest()}
    for name in ("another.sql", "another.py", "page.html"):
        (tmp_path / name).write_text("")
        seen.add(digest())
    (tmp_path / "page.html").write_text("changed")
    assert len(seen | {digest()}) == 5


def test_a_trainer_knows_its_sources_from_its_start(monkeypatch, database_url, tmp_path):
    """Of another version, installed over it, it would tell what it did not run."""
    sources.source_sha256.cache_clear()
    places = {name: tmp_path / name for name in ("TRAINER_STAGING", "ARTIFACTS", "MODEL_CACHE")}
    environment = {f"ONCETUNE_{name}": str(folder) for name, folder in places.items()}
    with serving(monkeypatch, "trainer", database_url=database_url, environment=environment):
        assert sources.source_sha256.cache_info().currsize == 1
