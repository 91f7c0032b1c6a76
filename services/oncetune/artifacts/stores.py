"""Which store an address means."""

from pathlib import Path

from oncetune.artifacts.bucket import BucketStore
from oncetune.artifacts.folder import FolderStore
from oncetune.artifacts.store import Place


def open_store(place: Place) -> FolderStore | BucketStore:
    """Asks nobody: a folder that is not there is made, a bucket that is not there refuses, when something is stored."""
    return FolderStore(place) if isinstance(place, Path) else BucketStore(place)
