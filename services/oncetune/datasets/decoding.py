"""A body that may be gzip: told by its first two bytes, decoded while it comes, never larger than allowed."""

import zlib
from collections.abc import Iterator

from oncetune.datasets.refusal import DatasetRefused

PIECE_BYTES = 64 * 1024
RATIO_FROM_BYTES = 1024 * 1024  # decoded; a short text may well repeat itself
MAX_RATIO = 500  # decoded bytes for each of the gzip: rows that share a long system prompt reach 120, bombs 1,030

_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS


def too_large(max_bytes: int) -> DatasetRefused:
    return DatasetRefused(
        "dataset_too_large",
        f"The dataset is larger than {max_bytes} bytes, decoded (DPO_MAX_DATASET_SIZE_MB; for a URL "
        "ONCETUNE_TRAINER_FETCH_MAX_SIZE_MB, where it is set)",
    )


class Decoder:
    """One body. Not to be shared between threads.

    taken: bytes of the body that were read. decoded: bytes that were given out, at most `max_bytes`.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._beginning: bytes | None = b""  # None once two bytes were seen
        self._member: zlib._Decompress | None = None
        self.is_gzip = False
        self.taken = self.decoded = 0

    def decode(self, piece: bytes) -> Iterator[bytes]:
        """What the next bytes of the body say, in pieces of at most 64 KiB (or the piece itself, where it is no gzip).

        Raises DatasetRefused: dataset_too_large, dataset_bomb, dataset_corrupt, dataset_compressed_twice.
        """
        if self._beginning is not None:
            piece = self._beginning + piece
            if len(piece) < len(_MAGIC):
                self._beginning = piece
                return
            self._beginning = None
            self.is_gzip = piece.startswith(_MAGIC)
        if self.is_gzip:
            yield from self._inflate(piece)
        elif piece:
            self.taken += len(piece)
            yield self._counted(piece)

    def finish(self) -> bytes:
        """What is left at the body's end. Raises DatasetRefused (dataset_truncated) for a gzip that was cut."""
        if self._member is not None:
            raise DatasetRefused("dataset_truncated", "The dataset's gzip ends in its middle; upload the whole file")
        rest = self._beginning or b""
        self.taken += len(rest)
        return self._counted(rest)

    def _inflate(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            if self._member is None and not (piece := self._next_member(piece)):
                return
            before = len(piece)
            piece, text, ended = self._inflate_once(piece)
            self.taken += before - len(piece)
            if text:
                yield self._counted(text)
            if ended:
                self._member = None

    def _next_member(self, piece: bytes) -> bytes:
        """The zeros between members are padding (of tapes and blocks)."""
        rest = piece.lstrip(b"\0")
        self.taken += len(piece) - len(rest)
        if rest:
            self._member = zlib.decompressobj(_GZIP)
        return rest

    def _inflate_once(self, piece: bytes) -> tuple[bytes, bytes, bool]:
        """What is left of the piece, at most 64 KiB of text, and whether the member ended."""
        assert self._member is not None
        try:
            text = self._member.decompress(piece, PIECE_BYTES)
        except zlib.error as error:
            raise DatasetRefused("dataset_corrupt", "The dataset's gzip is damaged; compress it again") from error
        ended = self._member.eof
        return self._member.unused_data if ended else self._member.unconsumed_tail, text, ended

    def _counted(self, text: bytes) -> bytes:
        if self.is_gzip and self.decoded == 0 and text.startswith(_MAGIC[:1]):
            raise DatasetRefused("dataset_compressed_twice", "The dataset is a gzip in a gzip; compress it once")
        decoded = self.decoded + len(text)
        if decoded > self._max_bytes:
            raise too_large(self._max_bytes)
        if decoded > RATIO_FROM_BYTES and decoded > MAX_RATIO * self.taken:
            raise DatasetRefused(
                "dataset_bomb",
                f"The dataset's gzip becomes more than {MAX_RATIO} times its size when it is decoded; "
                "serve it uncompressed",
            )
        self.decoded = decoded
        return text
