"""python -m oncetune.training FOLDER: train one adapter as FOLDER/recipe.json says (contracts/progress.py).

Environment: ONCETUNE_MODEL_CACHE is the folder for converted models (default: oncetune/models in the user's cache).
"""

import os
import sys
from pathlib import Path

from pydantic import BaseModel

from oncetune.child_program import die_with_parent, take_stdout
from oncetune.contracts.progress import RECIPE, REFUSED_EXIT, STOPPED_EXIT, Finished, Refused
from oncetune.training.phases import Phases
from oncetune.training.plan import beginning, read_plan, read_recipe
from oncetune.training.process import model_cache, share_cores
from oncetune.training.refusal import Refusal


def main() -> int:
    """Train, and return the exit status; anything but a Refusal ends in a traceback and another status."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    protocol = take_stdout()
    die_with_parent()
    share_cores()

    def send(line: BaseModel) -> None:
        print(line.model_dump_json(), file=protocol, flush=True)

    plan = read_plan(folder)
    send(beginning(plan))
    phases = Phases()
    try:
        with phases.timed("loading"):
            recipe = read_recipe(folder / RECIPE)
            from oncetune.training.run import train_adapter  # takes seconds: the trainer has heard from us before

            metrics = train_adapter(recipe, folder, model_cache(os.environ), send, phases, plan)
    except Refusal as refusal:
        send(Refused(code=refusal.code, message=refusal.message))
        return REFUSED_EXIT
    if metrics is None:
        return STOPPED_EXIT
    send(Finished(metrics=metrics))
    return 0


if __name__ == "__main__":
    sys.exit(main())
