"""An adapter as one file: a plain tar (safetensors do not compress), byte for byte the same for the same files."""

import tarfile
from pathlib import Path

from oncetune.artifacts.store import ADAPTER


def write_archive(adapter: Path, archive: Path) -> None:
    """Pack the regular files of a folder below `adapter/`, sorted, without times, owners or modes of this machine."""
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as packed:
        for name in sorted(path.relative_to(adapter).as_posix() for path in adapter.rglob("*") if path.is_file()):
            entry = tarfile.TarInfo(ADAPTER + name)  # its mode is 0644, all else is 0 or empty
            entry.size = (adapter / name).stat().st_size
            with (adapter / name).open("rb") as content:
                packed.addfile(entry, content)
