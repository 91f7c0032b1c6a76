"""What must be true of the datasets of all runs, and of the runs that were asked for once more: see oracle.py."""

from collections import Counter
from collections.abc import Iterator

from tests.chaos.case import Case

STORED = "run.dataset_stored"
TELL_A_DATASET = ("run.requested", STORED)
LEARNED_FROM = "adapter/rows.jsonl"  # of the stand-in's adapters
_OF_THE_PARENT = ("dataset_sha256", "dataset_format", "dataset_url", "recipe", "base_model")


def every_run_has_the_dataset_that_was_told(case: Case) -> Iterator[str]:
    """Once: with its request, or by the event that a URL's rows were stored; the recipe of every attempt names it."""
    trails = case.by_run(case.evidence.journal)
    for run in case.evidence.runs:
        data = [entry["event"]["data"] for entry in trails[run["id"]] if entry["type"] in TELL_A_DATASET]
        told = [one["dataset_sha256"] for one in data if one.get("dataset_sha256") is not None]
        if told != [run["dataset_sha256"]] * (run["dataset_sha256"] is not None):
            yield f"run {run['id']} has the dataset {run['dataset_sha256']}, its journal tells {told}"
        if run["recipe"]["dataset_sha256"] != run["dataset_sha256"]:
            yield f"run {run['id']} has another dataset than its recipe"
        if run["state"] == "completed" and run["dataset_sha256"] is None:
            yield f"run {run['id']} is completed without a dataset"


def every_dataset_of_a_url_is_one_answer_of_its_server(case: Case) -> Iterator[str]:
    """However often it was fetched: pinned and told once. Rows that come inline, or with a parent, never are."""
    by_url = {one.kb_id for one in case.asked if one.by_url}
    stored = Counter(entry["run_id"] for entry in case.evidence.journal if entry["type"] == STORED)
    for run in case.evidence.runs:
        fetched = run["kb_id"] in by_url and run["parent_run_id"] is None
        pins = int(fetched and run["dataset_sha256"] is not None)
        if stored[run["id"]] != pins:
            yield f"run {run['id']} has {pins} datasets of a URL, and its journal tells of {stored[run['id']]}"
        if pins and run["dataset_sha256"] not in case.evidence.served.get(run["kb_id"], ()):
            yield f"run {run['id']} has the dataset {run['dataset_sha256']}, which its server never gave"


def every_run_has_its_whole_dataset_stored(case: Case) -> Iterator[str]:
    """And nothing else is stored: rows come with a run or a pin, or not at all, and no sweep takes a dataset away."""
    wanted = {run["dataset_sha256"] for run in case.evidence.runs} - {None}
    stored = {one["sha256"] for one in case.evidence.datasets}
    yield from (f"the dataset {sha256} of a run is not stored" for sha256 in wanted - stored)
    yield from (f"the dataset {sha256} is stored, and no run has it" for sha256 in stored - wanted)
    for one in case.evidence.datasets:
        if one["found"] != {name: one[name] for name in one["found"]}:
            yield f"the dataset {one['sha256']} is not whole: {one['found']}"


def every_adapter_learned_from_the_dataset_of_its_run(case: Case) -> Iterator[str]:
    """As its manifest says; the stand-in's adapters hold their rows."""
    for run in case.evidence.runs:
        learned = case.evidence.files.get(f"{run['id']}/{run['attempt']}/{LEARNED_FROM}", {}).get("sha256")
        told = (run["manifest"] or {}).get("dataset_sha256")
        for sha256 in (learned, told):
            if sha256 not in (None, run["dataset_sha256"]):
                yield f"the adapter of run {run['id']} learned from {sha256}"


def every_rerun_repeats_its_parent(case: Case) -> Iterator[str]:
    """That of the request, on the same rows, and the journal says so."""
    runs = {run["id"]: run for run in case.evidence.runs}
    told = {
        entry["run_id"]: entry["event"]["data"].get("parent_run_id")
        for entry in case.evidence.journal
        if entry["type"] == "run.requested"
    }
    for run in case.evidence.runs:
        parent = run["parent_run_id"]
        if told.get(run["id"]) != (parent and str(parent)):
            yield f"run {run['id']} has the parent {parent}, its journal tells {told.get(run['id'])}"
        if parent and any(run[name] != runs.get(parent, {}).get(name) for name in _OF_THE_PARENT):
            yield f"run {run['id']} differs from its parent {parent}"


def nothing_is_staged(case: Case) -> Iterator[str]:
    """No folder of an attempt, and so no half of a dataset, and nothing among the temporary files."""
    yield from (f"{path} is still there" for path in case.evidence.staged)


RULES = (
    every_run_has_the_dataset_that_was_told,
    every_dataset_of_a_url_is_one_answer_of_its_server,
    every_run_has_its_whole_dataset_stored,
    every_adapter_learned_from_the_dataset_of_its_run,
    every_rerun_repeats_its_parent,
    nothing_is_staged,
)
