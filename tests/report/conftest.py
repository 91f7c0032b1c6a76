import os
from pathlib import Path

import pytest

from tests.report.browser import CHROMIUM

collect_ignore = [] if CHROMIUM else ["test_browser.py"]


@pytest.fixture(scope="session", autouse=True)
def _fonts_are_looked_for_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """And nobody's matplotlibrc is read; set before matplotlib is imported."""
    os.environ.setdefault("MPLCONFIGDIR", str(tmp_path_factory.mktemp("matplotlib")))


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Where a test puts the page that it looks at."""
    return tmp_path / "report.html"
