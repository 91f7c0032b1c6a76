"""The process of a training: a child of its trainer that shares the machine with others."""

import os
from collections.abc import Mapping
from pathlib import Path


def share_cores() -> None:
    """Let compute threads spin shortly, then sleep; to be called before torch is imported (OpenMP reads it once).

    Spinning long, as OpenMP does by itself, starves the neighbours on a busy machine; never spinning doubles the
    time of a step on an idle one (DECISIONS.md has the figures).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def model_cache(environment: Mapping[str, str]) -> Path:
    """Where converted models are kept: ONCETUNE_MODEL_CACHE, else oncetune/models in the user's cache folder."""
    named = environment.get("ONCETUNE_MODEL_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "oncetune" / "models"
