"""How each file of a result is handed out: its media type, and whether a browser shows it."""

_TYPES = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "log": "text/plain; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "tar": "application/x-tar",
}
_SHOWN = ("html",)


def content_type(name: str) -> str:
    """By the name's ending; bytes that nobody interprets where that says nothing."""
    return _TYPES.get(name.rpartition(".")[2], "application/octet-stream")


def disposition(name: str) -> str:
    """A report opens in the browser, all else is saved under its own name, which has only letters, digits, . _ -"""
    own = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._-") else "_" for sign in name.split("/")[-1])
    return f'{"inline" if name.rpartition(".")[2] in _SHOWN else "attachment"}; filename="{own}"'
