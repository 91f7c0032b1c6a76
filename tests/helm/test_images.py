"""What the Dockerfile takes out of the packages is nothing that our code imports."""

import re
import subprocess
import sys

from tests.helm.chart import ROOT

DOCKERFILE = (ROOT / "services" / "Dockerfile").read_text(encoding="utf-8")
WITHOUT_TESTING = """
import importlib.abc, importlib.machinery, sys

class Removed(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[1:] != ["testing"]:
            return
        found = importlib.machinery.PathFinder.find_spec(name, path)
        if found and found.submodule_search_locations:  # a folder; structlog has a testing.py, which stays
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Removed())
import oncetune.cli.main, oncetune.cli.deployment, oncetune.migrations.upgrade, oncetune.serve
"""


def removed(part: str) -> list[str]:
    """What `rm -rf` is given in this part of the Dockerfile."""
    return [word for words in re.findall(r"rm -rf ([^\\&;\n]+)", part) for word in words.split()]


def test_the_trainer_keeps_its_packages_whole_since_torch_imports_its_own_testing():
    both, services = DOCKERFILE.split('if [ "$LOCK" = services ]')
    packages = "/opt/oncetune/lib/python3*/site-packages/"
    base, both = both.split("FROM scratch")
    assert all(path.startswith("/usr/") for path in removed(base) if path not in "{}+"), "of the base, nothing of ours"
    assert removed(both) == [f"{packages}fastapi_offline/static/redoc*"]
    assert removed(services) == [f"{packages}*/testing"]


def test_the_services_start_without_what_their_image_leaves_out():
    subprocess.run([sys.executable, "-c", WITHOUT_TESTING], check=True, timeout=60)
