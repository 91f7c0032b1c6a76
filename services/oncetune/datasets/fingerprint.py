"""One name for a set of rows, whatever their order."""

import hashlib

_SUM_BYTES = 512


class SetFingerprint:
    """A hash of a multiset of rows: the order does not matter, how often a row is there does. Constant memory.

    With r = SHA-256 of a row's canonical JSON (UTF-8, without its newline) and S = the sum over all rows of
    SHAKE-256(r, 512 bytes), read as a big-endian integer, modulo 2^4096: the fingerprint is the SHA-256 of S in 512
    bytes. The sum is AdHash (Bellare and Micciancio, "A New Paradigm for Collision-Free Hashing", EUROCRYPT 1997),
    which holds for multisets too (Clarke et al., "Incremental Multiset Hash Functions", ASIACRYPT 2003); Wagner's
    generalized birthday attack (CRYPTO 2002) takes some 2^(2√n) steps with n bits, 2^128 with these.
    """

    def __init__(self) -> None:
        self._sum = 0

    def add(self, row: bytes) -> None:
        """One row more, as its canonical JSON."""
        digest = hashlib.sha256(row).digest()
        self._sum += int.from_bytes(hashlib.shake_256(digest).digest(_SUM_BYTES))

    def hexdigest(self) -> str:
        """The fingerprint of the rows so far, 64 hex digits."""
        return hashlib.sha256((self._sum % 2 ** (8 * _SUM_BYTES)).to_bytes(_SUM_BYTES)).hexdigest()
