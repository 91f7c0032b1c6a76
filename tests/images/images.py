"""Our own two images, where a Docker engine has them. `make images` builds them; nothing here builds or pulls."""

import os
import subprocess
import sys
from functools import cache
from importlib.metadata import version

from oncetune.local.sidecar import find_daprd
from tests.containers import is_offered

KINDS = ("services", "trainer")
DIGEST = "from oncetune.sources import source_sha256; print(source_sha256())"


def image_of(kind: str) -> str:
    """The name that `make images` gives it."""
    return f"oncetune-{kind}:{version('oncetune')}"


@cache
def missing_images() -> list[str]:
    """What the tests of this folder need and this machine has not."""
    absent = [image_of(kind) for kind in KINDS if not is_offered(image_of(kind))]
    return absent if find_daprd(os.environ) else [*absent, "daprd"]


def tested_here() -> bool:
    """Whether the suite tests the images here; `ONCETUNE_TEST_IMAGES=all` makes a missing one fail."""
    return os.environ.get("ONCETUNE_TEST_IMAGES") == "all" or not missing_images()


def digest_of_the_checkout() -> str:
    """What DIGEST prints here."""
    said = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True, timeout=60)
    return said.stdout.strip()
