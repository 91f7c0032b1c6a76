"""What a training prints is kept up to a size, and read to its end whatever becomes of the file."""

import os
import threading

import pytest

from oncetune.trainer.training_log import THE_REST_IS_MISSING, keep_output
from tests.deadline import in_time


def _keep(text: bytes, path, *, limit: int) -> None:
    """`text` printed into a pipe, to the end."""
    out, into = os.pipe()

    def say() -> None:
        with os.fdopen(into, "wb") as pipe:
            pipe.write(text)

    printing = threading.Thread(target=say, daemon=True)
    printing.start()
    in_time(lambda: keep_output(os.fdopen(out, "rb"), path.open("wb", buffering=0), limit=limit))
    in_time(printing.join)


@pytest.mark.parametrize("limit", [0, 1, 65_536, 99_999])
def test_what_is_beyond_the_limit_is_one_line(tmp_path, limit):
    text = b"0123456789" * 10_000
    _keep(text, tmp_path / "log", limit=limit)
    assert (tmp_path / "log").read_bytes() == text[:limit] + THE_REST_IS_MISSING


@pytest.mark.parametrize("limit", [100_000, 100_001])
def test_what_fits_is_kept_byte_for_byte(tmp_path, limit):
    text = b"0123456789" * 10_000
    _keep(text, tmp_path / "log", limit=limit)
    assert (tmp_path / "log").read_bytes() == text


def test_a_full_disk_holds_no_printer_up(tmp_path):
    (tmp_path / "log").symlink_to("/dev/full")
    _keep(b"x" * 500_000, tmp_path / "log", limit=400_000)
