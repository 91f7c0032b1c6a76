"""Signed links: whoever has one may fetch one file of one attempt until it expires, without any header.

The path and the time are signed with HMAC-SHA256. The key is derived from the gateway's shared secret, so that no
signature of one kind is ever one of the other; while that secret rotates the previous one still opens links.
"""

import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass

_CONTEXT = b"oncetune artifact link 1"


class LinkRefused(Exception):
    """Not a link that was signed here, or not any more: `expired` tells which."""

    def __init__(self, *, expired: bool) -> None:
        super().__init__("expired" if expired else "not signed here")
        self.expired = expired


@dataclass(frozen=True)
class Links:
    """Signs with the first key, opens with each of them."""

    keys: tuple[bytes, ...]

    @classmethod
    def of_secrets(cls, secrets: Sequence[str]) -> "Links":
        """The current secret first."""
        return cls(tuple(hmac.digest(secret.encode(), _CONTEXT, "sha256") for secret in secrets))

    def signed(self, path: str, *, expires: int) -> str:
        """The path with its query; `expires` is in Unix seconds."""
        return f"{path}?expires={expires}&signature={_signature(self.keys[0], path, expires)}"

    def check(self, path: str, *, expires: str, signature: str) -> None:
        """Raises LinkRefused unless both are what `signed` made of this path, and it is not too late."""
        if not (expires.isascii() and expires.isdecimal() and len(expires) <= 12):
            raise LinkRefused(expired=False)
        given = signature.encode("utf-8", "replace")
        right = [hmac.compare_digest(given, _signature(key, path, int(expires)).encode()) for key in self.keys]
        if not any(right) or str(int(expires)) != expires:
            raise LinkRefused(expired=False)
        if int(expires) <= time.time():
            raise LinkRefused(expired=True)


def _signature(key: bytes, path: str, expires: int) -> str:
    return hmac.new(key, f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()
