"""Results to store, and where they go."""

from pathlib import Path
from uuid import UUID

from oncetune.artifacts.folder import FolderStore, files_below
from oncetune.artifacts.store import Published, ResultStore, measure_all, tree_sha256


def publish_to(store: ResultStore, run_id: UUID, attempt: int, adapter: Path, **beside: Path) -> Published:
    """Store an adapter, and files beside it: their dots are written as underscores."""
    files = {f"adapter/{name}": path for name, path in files_below(adapter).items()}
    return store.publish(run_id, attempt, files | {name.replace("_", "."): path for name, path in beside.items()})


def publish_adapter(root: Path, run_id: UUID, attempt: int, adapter: Path, **beside: Path) -> Published:
    """In a folder."""
    return publish_to(FolderStore(root), run_id, attempt, adapter, **beside)


def folder_sha256(folder: Path) -> str:
    """The hash of a folder's files and names, see `tree_sha256`."""
    return tree_sha256({name: file.sha256 for name, file in measure_all(files_below(folder)).items()})
