"""A dataset that needs several chunks."""

import random

import pytest

from oncetune.contracts.preferences import PackedRows, PreferencePair
from oncetune.datasets.packing import pack_rows


@pytest.fixture(scope="session")
def big_rows() -> PackedRows:
    """2 to 3 MiB when compressed: words that zlib cannot shorten by much."""
    letters = random.Random(7)
    pairs = [
        PreferencePair(
            prompt=letters.randbytes(2048).hex(), chosen=letters.randbytes(2048).hex(), rejected=f"No {number}."
        )
        for number in range(600)
    ]
    return pack_rows(pairs)
