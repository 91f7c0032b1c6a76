"""python -m oncetune.trainer.rows_program fetch|examine FOLDER: rows from outside are for a child of the trainer.

Whatever is in them can then neither end the trainer nor hold up its heartbeat, and a cancel ends the child at once.
The protocol is that of contracts/progress.py. FOLDER/fetch.json (a FetchOrder, deleted when it was read) becomes
FOLDER/dataset.jsonl and FOLDER/packed, and the metrics of Finished are a FetchedRows; FOLDER/dataset.jsonl, with
FOLDER/recipe.json, becomes FOLDER/quality.json (a QualityReport).
"""

import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, JsonValue

from oncetune.child_program import die_with_parent, take_stdout
from oncetune.contracts.progress import RECIPE, REFUSED_EXIT, ROWS, Finished, Progress, Refused
from oncetune.contracts.recipe import TrainingRecipe
from oncetune.datasets.fetch import fetch_dataset
from oncetune.datasets.fetch_rules import FetchRules
from oncetune.datasets.packing import pack_file
from oncetune.datasets.quality import count_left_out, examine
from oncetune.datasets.refusal import DatasetRefused
from oncetune.trainer.rows_order import ORDER, PACKED, QUALITY, FetchedRows, FetchOrder

_MOST_BYTES = 2 * 1024**3  # of writable memory: beyond it the child ends, and not its neighbours


Say = Callable[[Progress], None]


def fetch(folder: Path, say: Say) -> Mapping[str, JsonValue]:
    """Raises DatasetRefused."""
    say(Progress(phase="fetching"))
    path = folder / ORDER
    order = FetchOrder.model_validate_json(path.read_bytes())
    path.unlink()
    rules = FetchRules(
        max_bytes=order.max_bytes,
        deadline=order.deadline,
        ports=frozenset(order.ports),
        allow=order.allow,
        ca_file=order.ca_file,
    )
    fetched = folder / "fetched"
    fetch_dataset(order.url, fetched, rules, stop=lambda: False)  # who wants an end ends this process
    packed = pack_file(fetched, folder / ROWS, folder / PACKED)
    fetched.unlink()
    rows = FetchedRows(
        sha256=packed.sha256,
        set_sha256=packed.set_sha256,
        rows=packed.row_count,
        bytes=packed.byte_count,
        format=packed.format,
        notes=packed.notes,
    )
    return rows.model_dump(mode="json")


def examine_rows(folder: Path, say: Say) -> Mapping[str, JsonValue]:
    """Raises whatever the rows bring about: the trainer decides what that means."""
    say(Progress(phase="checking"))
    recipe = TrainingRecipe.model_validate_json((folder / RECIPE).read_bytes())
    look = count_left_out if recipe.quality_gate == "off" else examine
    report = look(folder / ROWS, hyperparameters=recipe.hyperparameters)
    (folder / QUALITY).write_text(report.model_dump_json(), encoding="utf-8")
    return {}


_TASKS = {"fetch": fetch, "examine": examine_rows}


def main() -> int:
    """The exit status; anything but a DatasetRefused ends in a traceback and another status."""
    if len(sys.argv) != 3 or sys.argv[1] not in _TASKS:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    protocol = take_stdout()
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_BYTES, _MOST_BYTES))

    def say(line: BaseModel) -> None:
        print(line.model_dump_json(), file=protocol, flush=True)

    try:
        facts = _TASKS[sys.argv[1]](Path(sys.argv[2]), say)
    except DatasetRefused as refusal:
        say(Refused(code=refusal.code, message=refusal.message))
        return REFUSED_EXIT
    say(Finished(metrics=dict(facts)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
