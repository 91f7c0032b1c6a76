"""What the command tells without any server."""

import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.datastructures import Headers

from oncetune.cli.client import signed_headers
from oncetune.cli.watch import progress_words
from oncetune.gateway.claims import Caller, read_caller
from oncetune.gateway.settings import GatewaySettings
from tests.cli.conftest import Oncetune
from tests.cli.small_server import SmallServer, small_server
from tests.stack import program_environment


def test_help_tells_the_exit_codes(oncetune: Oncetune) -> None:
    told = oncetune("--help")
    assert told.returncode == 0
    for line in (
        "0  ok",
        "1  failure",
        "2  usage",
        "3  not finished",
        "4  authentication",
        "5  the run",
        "130  Ctrl-C",
    ):
        assert line in told.stdout


def test_version_tells_that_of_the_installed_package(oncetune: Oncetune) -> None:
    told = oncetune("--version")
    assert (told.returncode, told.stdout) == (0, f"oncetune {version('oncetune')}\n")


def test_the_door_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'fastapi', 'httpx', 'sqlalchemy', 'alembic', 'psycopg', 'dapr', 'pydantic'}"
    code = f"import sys, oncetune.cli.main; sys.exit(str({heavy} & set(sys.modules)))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=program_environment()
    )
    assert told.stderr.strip() == "set()"


def test_no_command_loads_torch() -> None:
    code = (
        "import sys, oncetune.cli.main, oncetune.cli.demo, oncetune.cli.local, oncetune.cli.deployment,"
        " oncetune.cli.submit, oncetune.serve; sys.exit(str({'torch', 'transformers'} & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=program_environment()
    )
    assert told.stderr.strip() == "set()"


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("serve", "nonsense"),
        ("up", "--delivery", "pigeons"),
        ("up", "--port", "70000"),
        ("submit", "-"),
        ("runs", "list", "--state", "dancing"),
    ],
    ids=lambda words: " ".join(words),
)
def test_wrong_words_are_a_matter_of_usage(oncetune: Oncetune, words: tuple[str, ...]) -> None:
    told = oncetune(*words, APP_API_TOKEN="given", said="")
    assert told.returncode == 2, told.stderr
    assert told.stdout == ""
    assert "Traceback" not in told.stderr


def test_a_service_without_its_settings_says_which_are_missing(oncetune: Oncetune) -> None:
    told = oncetune("serve", "trigger", "status", APP_API_TOKEN="given")
    assert told.returncode in (1, 2)
    assert "DATABASE_URL" in told.stderr
    assert "given" not in told.stderr


def test_without_a_secret_nothing_is_sent(oncetune: Oncetune) -> None:
    told = oncetune("runs", "list", "--url", "http://127.0.0.1:9")
    assert told.returncode == 4
    assert "DPO_GATEWAY_SHARED_SECRET" in told.stderr


def test_a_server_that_is_not_there_is_a_failure_with_a_hint(oncetune: Oncetune) -> None:
    told = oncetune("runs", "list", "--url", "http://127.0.0.1:9", DPO_GATEWAY_SHARED_SECRET="a-secret-of-the-test")
    assert (told.returncode, told.stdout) == (1, "")
    assert "does not answer" in told.stderr
    assert "oncetune up" in told.stderr


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/"])
def test_a_url_that_is_none_is_a_matter_of_usage(oncetune: Oncetune, url: str) -> None:
    told = oncetune("runs", "list", "--url", url, DPO_GATEWAY_SHARED_SECRET="a-secret-of-the-test")
    assert told.returncode == 2, told.stderr


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('[{"prompt": ', "row 1 cannot be read as JSON"),
        ('{"prompt": "a", "chosen": "b", "rejected": "c"}\n{broken\n', "line 2 cannot be read as JSON"),
        ("[7]", "row 1: not an object"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(
    oncetune: Oncetune, tmp_path: Path, content: str, complaint: str
) -> None:
    (tmp_path / "rows").write_text(content)
    told = oncetune(
        "submit", "rows", "--kb-id", "k", "--exp-name", "e", DPO_GATEWAY_SHARED_SECRET="a-secret-of-the-test"
    )
    assert told.returncode == 1
    assert complaint in told.stderr


@pytest.mark.parametrize(
    "options",
    [("--set", "beta"), ("--hyperparameters", "{"), ("--hyperparameters", "[1]")],
    ids=lambda options: " ".join(options),
)
def test_a_hyperparameter_that_cannot_be_read_is_a_matter_of_usage(
    oncetune: Oncetune, rows: Path, options: tuple[str, ...]
) -> None:
    words = ("submit", str(rows), "--kb-id", "k", "--exp-name", "e", *options)
    told = oncetune(*words, DPO_GATEWAY_SHARED_SECRET="a-secret-of-the-test")
    assert told.returncode == 2, told.stderr


def test_a_database_that_cannot_be_reached_is_told_without_its_password(oncetune: Oncetune, tmp_path: Path) -> None:
    url = "postgresql://ann:hidden-word@127.0.0.1:9/oncetune"
    for command in (("up", "--data", str(tmp_path / "data"), "--min-free-mb", "0"), ("migrate",)):
        told = oncetune(*command, DATABASE_URL=url)
        assert told.returncode == 1, told.stderr
        assert "127.0.0.1" in told.stderr
        assert "hidden-word" not in told.stderr
        assert "Traceback" not in told.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--data", "file"), "is a file"),
        (("--data", "data", "--min-free-mb", "1000000000"), "MiB free"),
        (("--data", "/proc/oncetune"), "cannot be used"),
        (("--data", "data", "--min-free-mb", "0", "--port", "BUSY"), "is used by another program"),
    ],
    ids=("a file", "no space", "not writable", "a busy port"),
)
def test_up_says_what_is_wrong_and_what_to_do(
    oncetune: Oncetune, tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    (tmp_path / "file").write_text("a file")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        told = oncetune("up", *(word.replace("BUSY", str(busy.getsockname()[1])) for word in words))
    assert told.returncode == 1
    assert complaint in told.stderr
    assert "--data" in told.stderr or "--port" in told.stderr
    assert len(told.stderr.splitlines()) <= 3
    assert told.stdout == ""


def test_a_key_that_no_header_can_carry_is_a_matter_of_usage(oncetune: Oncetune, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text("[]")
    for key in ("", "schl\u00fcssel", "a\nb", "k" * 256):
        words = ("--kb-id", "k", "--exp-name", "e", "--idempotency-key", key)
        told = oncetune("submit", "rows.json", *words, DPO_GATEWAY_SHARED_SECRET="a-secret-of-the-test")
        assert (told.returncode, told.stdout) == (2, ""), told.stderr
        assert "--idempotency-key" in told.stderr


def test_a_demo_empties_no_folder_that_is_not_its_own(oncetune: Oncetune, tmp_path: Path) -> None:
    thesis = tmp_path / "demo" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    told = oncetune("demo", "--data", str(tmp_path))
    assert told.returncode == 1
    assert "--data" in told.stderr
    assert thesis.read_text() == "years of work"


def test_a_port_that_is_taken_ends_serve_with_a_failure_of_its_own(oncetune: Oncetune, database_url: str) -> None:
    settings = {"DPO_GATEWAY_SHARED_SECRET": "a-secret-of-the-test", "APP_API_TOKEN": "token"}
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        told = oncetune("serve", "status", "--host", "127.0.0.1", "--port", port, DATABASE_URL=database_url, **settings)
    assert told.returncode == 1
    assert f"127.0.0.1:{port}" in told.stderr


def test_requests_are_signed_with_the_prefix_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "a-secret-of-the-tests-only"
    for prefix in ("X-Example", "X-Novalto"):
        monkeypatch.setenv("DPO_GATEWAY_HEADER_PREFIX", prefix)
        server = GatewaySettings(shared_secret=SecretStr(secret))
        assert read_caller(Headers(signed_headers("ann", secret)), server) == Caller("ann", admin=True)
        assert server.header_prefix == prefix


@pytest.mark.parametrize(("words", "code"), [(("--kb-id", "\udcff"), 2), ((), 1)], ids=["bytes", "no gzip"])
def test_no_words_and_no_answer_end_in_a_traceback(oncetune: Oncetune, words: tuple[str, ...], code: int) -> None:
    with small_server(SmallServer({"/runs": (200, "plain")}, headers={"content-encoding": "gzip"})) as server:
        told = oncetune("runs", "list", *words, ONCETUNE_URL=server.url, DPO_GATEWAY_SHARED_SECRET="s" * 32)
    assert (told.returncode, told.stdout) == (code, "")
    assert told.stderr.startswith("oncetune: ") and "Traceback" not in told.stderr


@pytest.mark.parametrize(("phase", "said"), [("training", True), ("evaluating", False), ("sampling", False)])
def test_the_time_left_is_that_of_the_steps_and_said_only_while_they_are_made(phase, said):
    told = {"phase": phase, "step": 2, "steps": 2, "seconds_left": 0.0}
    assert ("s left" in progress_words({"status": "running", "progress": told})) == said
