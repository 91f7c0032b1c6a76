"""`oncetune runs artifacts`: where a run's results are, and how they come here whole."""

import hashlib
import shutil
import tarfile
from pathlib import Path
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
        _download(files, download)
    if as_json:
        print_json(found)
    elif download is None:
        for line in columns([(name, str(found[name])) for name in _LINKS if name in found] or [("none", "")]):
            put(line)
        if found:
            tell(f"They work for anybody who has them, until {moment(found.get('expires_at'))}.")
        else:
            tell("The run has no results (yet), they were removed, or the server was not told where they are.")


def _download(files: list[dict[str, Any]], folder: Path) -> None:
    if not files:
        raise Failure("There is nothing to download.", "Has the run ended? See `oncetune runs show`.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            _fetch(file, folder / _plain(file.get("name")))
        if (folder / _ARCHIVE).exists():
            unpack(folder / _ARCHIVE, folder)
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
    put(str(path))


def unpack(archive: Path, folder: Path) -> None:
    """An adapter's archive into `folder`/adapter, in place of what is there; raises Failure for anything else."""
    arriving = folder / f".{_ADAPTER}.arriving"
    shutil.rmtree(arriving, ignore_errors=True)
    try:
        with tarfile.open(archive, "r:") as packed:
            packed.extractall(arriving, filter="data")
        shutil.rmtree(folder / _ADAPTER, ignore_errors=True)
        (arriving / _ADAPTER).rename(folder / _ADAPTER)
    except (tarfile.TarError, FileNotFoundError) as error:
        raise Failure(f"{archive.name} is no archive of an adapter.", _AGAIN) from error
    finally:
        shutil.rmtree(arriving, ignore_errors=True)
    put(str(folder / _ADAPTER))
