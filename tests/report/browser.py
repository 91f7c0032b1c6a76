"""A real headless Chromium (Debian: chromium), driven by its own flags. The tests that need it are left out without."""

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--force-color-profile=srgb",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # what it wants of its maker stays here
    "--enable-logging=stderr",
)  # fmt: skip
_NOT_A_PAGE = "not an origin"  # the initiator of what the browser asks for itself


@dataclass(frozen=True)
class Visit:
    """What became of a page: its DOM, what it said to the console, the URLs that it asked for."""

    dom: str
    console: list[str]
    requests: list[str]


def visit(page: Path, *, width: int = 1200) -> Visit:
    """Open it from its file, and wait until it is loaded."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "network.json"
        ended = _run(page, f"--log-net-log={log}", f"--window-size={width},900", "--dump-dom")
        return Visit(ended.stdout, re.findall(r"CONSOLE.*", ended.stderr), _asked_by_the_page(log))


def photograph(page: Path, picture: Path, *, width: int, height: int, dark: bool = False) -> Path:
    """A PNG of the top of the page."""
    scheme = 0 if dark else 1
    _run(
        page,
        f"--screenshot={picture}",
        f"--window-size={width},{height}",
        f"--blink-settings=preferredColorScheme={scheme}",
    )
    return picture


def printed_pages(page: Path, paper: Path) -> int:
    """How many sheets it takes."""
    _run(page, "--no-pdf-header-footer", f"--print-to-pdf={paper}")
    return len(re.findall(rb"/Type /Page\b", paper.read_bytes()))


def _run(page: Path, *words: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", *words, page.resolve().as_uri()]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


def _asked_by_the_page(log: Path) -> list[str]:
    told = json.loads(log.read_text())
    begins = told["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    asked = [
        event["params"] for event in told["events"] if event["type"] == begins and "url" in event.get("params", {})
    ]
    return [request["url"] for request in asked if request["initiator"] != _NOT_A_PAGE]
