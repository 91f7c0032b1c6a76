"""`python -m oncetune.report FOLDER`, as the trainer starts it."""

import subprocess
import sys

import pytest

from oncetune.report.page import render_page
from tests.report import reports


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "adapter").mkdir()
    (tmp_path / "results" / "report.json").write_text(reports.report().model_dump_json())
    return tmp_path


def run(folder, monkeypatch, *, first_path=""):
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in (first_path, *sys.path) if path))
    program = [sys.executable, "-P", "-m", "oncetune.report", str(folder)]
    return subprocess.run(program, capture_output=True, text=True, check=False, timeout=120)


def test_the_program_writes_the_same_page_as_any_other_process(folder, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    (folder / "matplotlibrc").write_text("font.size: 40\n")
    monkeypatch.chdir(folder)
    ended = run(folder, monkeypatch)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert (folder / "results" / "report.html").read_text() == render_page(reports.report())
    assert (folder / "adapter" / "README.md").read_text().startswith("---\nlibrary_name: peft")


def test_a_machine_that_takes_long_to_find_its_fonts_is_no_line_in_the_training_log(folder, tmp_path, monkeypatch):
    """matplotlib warns after five seconds: here at once."""
    at_once = "import threading\n_Timer = threading.Timer\nthreading.Timer = lambda _, warn: _Timer(0, warn)\n"
    (tmp_path / "sitecustomize.py").write_text(at_once)
    ended = run(folder, monkeypatch, first_path=str(tmp_path))
    assert (ended.returncode, ended.stderr) == (0, "")


def test_without_an_adapter_there_is_no_model_card(folder, monkeypatch):
    (folder / "adapter").rmdir()
    assert run(folder, monkeypatch).returncode == 0
    assert not (folder / "adapter").exists()


def test_a_report_that_cannot_be_read_is_another_exit_status(folder, monkeypatch):
    (folder / "results" / "report.json").write_text("{}")
    assert run(folder, monkeypatch).returncode not in (0, None)
    assert not (folder / "results" / "report.html").exists()
