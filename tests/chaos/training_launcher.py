"""`python -m tests.chaos.training_launcher ARMED FOLDER`: the real training, with crash points in it."""

import sys
from pathlib import Path

from oncetune.training.__main__ import main
from tests.chaos.crash_points import TRAINING, install
from tests.chaos.sleeping import sleep_below_libfaketime

if __name__ == "__main__":
    sleep_below_libfaketime()
    install(Path(sys.argv.pop(1)), TRAINING, TRAINING)
    sys.exit(main())
