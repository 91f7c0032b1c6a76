"""Pack a file and unpack it again in a process of its own: how many MiB that took, and how long.

python -m tests.datasets.memory_of FILE FOLDER
"""

import json
import os
import sys
import time
from pathlib import Path

from oncetune.datasets.packing import pack_file
from oncetune.datasets.unpacking import unpack_to
from tests.bench.memory import memory, peak


def main() -> None:
    source, folder = map(Path, sys.argv[1:])
    before, began = memory(os.getpid()), time.monotonic()
    with peak(os.getpid()) as highest:
        packed = pack_file(source, folder / "canonical", folder / "packed")
        packing = time.monotonic() - began
        unpack_to(packed.chunks(), folder / "again", sha256=packed.sha256)
        seconds = {"packing": round(packing, 1), "unpacking": round(time.monotonic() - began - packing, 1)}
        print(json.dumps({"rows": packed.row_count, "mib": round(highest() - before, 1), "seconds": seconds}))


if __name__ == "__main__":
    main()
