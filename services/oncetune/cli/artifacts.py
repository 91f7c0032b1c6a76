"""`oncetune runs artifacts`: where a run's results are, and how they come here whole."""

import hashlib
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import httpx

from oncetune.cli.client import Client, is_local, objects
from oncetune.cli.exits import Exit, Failure
from oncetune.cli.output import columns, moment, print_json, put, tell
from oncetune.cli.reading import resolve

_ARCHIVE, _ADAPTER = "adapter.tar", "adapter"
_LINKS = ("checkpoint_url", "report_url", "logs_url")
_TIMEOUT_SECONDS = 60.0  # between two pieces of a file, not for all of it
_AGAIN = "Ask again: links end after a time, and results may have been stored anew"


def show_artifacts(client: Client, given: str, *, download: Path | None, as_json: bool) -> None:
    """Print a run's links, or fetch every file into a folder; raises Failure when there are none, or one is damaged."""
    found = client.get(f"/runs/{resolve(client, given)}/artifacts")
    files = objects(found.get("files"))
    if download is not None:
        _download(files, download, say=tell if as_json else put)
    if as_json:
        print_json(found)
    elif download is None:
        for line in columns([(name, str(found[name])) for name in _LINKS if name in found] or [("none", "")]):
            put(line)
        if found:
            tell(f"They work for anybody who has them, until {moment(found.get('expires_at'))}.")
        else:
            tell("The run has no results (yet), they were removed, or the server was not told where they are.")


def _download(files: list[dict[str, Any]], folder: Path, *, say: Callable[[str], None]) -> None:
    if not files:
        raise Failure("There is nothing to download.", "Has the run ended? See `oncetune runs show`.")
    if (folder / _ADAPTER).exists() and not (folder / _ARCHIVE).exists():
        raise Failure(f"{folder / _ADAPTER} is there, and not from a download.", "Give another folder.", Exit.USAGE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            path = folder / _plain(file.get("name"))
            _fetch(file, path)
            say(str(path))
            if path.name == _ARCHIVE:
                unpack(path, folder)
                say(str(folder / _ADAPTER))
    except OSError as error:
        raise Failure(f"{folder}: {error.strerror or error}", "Give another folder, or make room.") from error


def _plain(name: object) -> str:
    """A file's own name: whatever a server says, nothing is written outside of the folder."""
    if not isinstance(name, str) or Path(name).name != name or name in ("", ".", "..") or not name.isprintable():
        raise Failure("The server names a file that has no plain name.", "", Exit.FAILURE)
    return name


def _fetch(file: dict[str, Any], path: Path) -> None:
    """Into its place once all of it is here and is what it should be."""
    arriving, digest = path.with_name(f".{path.name}.arriving"), hashlib.sha256()
    try:
        url = str(file.get("url"))
        with (
            httpx.stream("GET", url, timeout=_TIMEOUT_SECONDS, trust_env=not is_local(url)) as answer,
            arriving.open("wb") as kept,
        ):
            if answer.status_code != 200:
                raise Failure(f"{path.name} was not given: HTTP {answer.status_code}.", _AGAIN)
            for piece in answer.iter_bytes():
                digest.update(piece)
                kept.write(piece)
        if digest.hexdigest() != file.get("sha256"):
            raise Failure(f"{path.name} arrived damaged: its SHA-256 is not what it should be.", _AGAIN)
        arriving.replace(path)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Failure(f"{path.name} did not arrive: {str(error) or type(error).__name__}", _AGAIN) from error
    finally:
        arriving.unlink(missing_ok=True)


def unpack(archive: Path, folder: Path) -> None:
    """An adapter's archive into `folder`/adapter, in place of what is there; raises Failure for anything else."""
    arriving = folder / f".{_ADAPTER}.arriving"
    shutil.rmtree(arriving, ignore_errors=True)
    try:
        with tarfile.open(archive, "r:") as packed:
            for entry in packed:
                _take(packed, entry, arriving)
        if not (arriving / _ADAPTER).is_dir():
            raise tarfile.TarError("empty")
        shutil.rmtree(folder / _ADAPTER, ignore_errors=True)
        (arriving / _ADAPTER).rename(folder / _ADAPTER)
    except tarfile.TarError as error:
        raise Failure(f"{archive.name} is no archive of an adapter.", _AGAIN) from error
    finally:
        shutil.rmtree(arriving, ignore_errors=True)


def _take(packed: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> None:
    """One file below adapter/; anything else is refused. (`extractall` has its filter from Python 3.11.4 on.)"""
    name = PurePosixPath(entry.name)
    content = packed.extractfile(entry) if entry.isreg() else None
    if content is None or name.is_absolute() or ".." in name.parts or len(name.parts) < 2 or name.parts[0] != _ADAPTER:
        raise tarfile.TarError(entry.name)
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("wb") as kept:
        shutil.copyfileobj(content, kept)
