"""Which sources are running: the same digest in a checkout and in an image that is made of it."""

import hashlib
from functools import cache
from pathlib import Path

_KINDS = {".py", ".sql", ".html", ".css", ".md", ".mako", ".jsonl"}  # other files come and go beside them


@cache
def source_sha256() -> str:
    """SHA-256 over every file of this package with its name, as they were when this process first asked."""
    folder = Path(__file__).parent
    files = sorted(file for file in folder.rglob("*") if file.suffix in _KINDS)
    whole = hashlib.sha256()
    for file in files:
        whole.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()
