"""`oncetune submit`: ask for a run once, however often the request has to be sent."""

import json
import random
import time
import uuid
from dataclasses import dataclass

from oncetune.cli.client import Client, Document, Unreachable
from oncetune.cli.dataset_files import inline_rows
from oncetune.cli.exits import Exit, Failure
from oncetune.cli.hyperparameters import read_hyperparameters
from oncetune.cli.output import print_json, put, tell
from oncetune.cli.watch import follow, require_success

_KEEP_TRYING_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 8.0


@dataclass(frozen=True)
class Submission:
    """What the command line asks for, as it was typed."""

    file: str | None
    dataset_url: str | None
    kb_id: str
    exp_name: str
    base_model: str
    hyperparameters: str | None
    settings: tuple[str, ...]
    idempotency_key: str | None

    def body(self) -> bytes:
        """The request's bytes; raises Failure when a file, a row or an option cannot be read."""
        wanted: Document = {"kb_id": self.kb_id, "exp_name": self.exp_name, "base_model": self.base_model}
        if chosen := read_hyperparameters(self.hyperparameters, self.settings):
            wanted["hyperparameters"] = chosen
        if self.file is not None:
            wanted["dataset_inline"], notes = inline_rows(self.file)
            for note in notes:
                tell(note)
        else:
            wanted["dataset_url"] = self.dataset_url
        return json.dumps(wanted, ensure_ascii=False).encode(errors="surrogatepass")  # for the server to refuse


def submit_and_follow(
    client: Client, submission: Submission, *, watch: bool, timeout: float | None, as_json: bool
) -> None:
    """Send the request, print the run's id, and follow the run if asked. Raises Failure."""
    if (submission.file is None) == (submission.dataset_url is None):
        raise Failure("Give exactly one of FILE and --dataset-url.", code=Exit.USAGE)
    key = chosen_key(submission.idempotency_key)
    answer, replayed = send(client, submission.body(), key)
    run_id = str(answer.get("run_id"))
    result: Document = {**answer, "idempotency_key": key, "replayed": replayed}
    if not as_json:
        put(run_id)
        tell(f"The run is {'known already' if replayed else answer.get('status')}. Its Idempotency-Key is {key}")
        tell(f"Follow it with: oncetune runs watch {run_id}")
    if not watch:
        if as_json:
            print_json(result)
        return
    run: Document = {}
    try:
        run = follow(client, run_id, timeout=timeout)
    finally:  # who stops looking early still learns which run it is
        if as_json:
            print_json({**result, "status": run.get("status", answer.get("status")), "run": run or None})
    require_success(run)


def chosen_key(given: str | None) -> str:
    """The Idempotency-Key that was given, or a new one; raises Failure for one that no header can hold."""
    key = str(uuid.uuid4()) if given is None else given
    if not (key.isascii() and key.isprintable() and 1 <= len(key) <= 255):
        raise Failure("--idempotency-key takes 1 to 255 visible ASCII characters.", code=Exit.USAGE)
    return key


def send(client: Client, body: bytes, key: str, *, path: str = "/trigger-finetune") -> tuple[Document, bool]:
    """Post the request until somebody answers, for a minute: one key, so one run. True: the answer was a replay."""
    until = time.monotonic() + _KEEP_TRYING_SECONDS
    pause = 0.5
    while True:
        try:
            answer, headers = client.post(path, body, {"Idempotency-Key": key})
            return answer, headers.get("idempotent-replayed") == "true"
        except Unreachable as refused:
            wait = refused.retry_after or pause * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
            if time.monotonic() + wait > until:
                again = f"--idempotency-key {key} makes it safe to try again."
                raise Failure(refused.what, f"{refused.remedy} {again}".strip()) from refused
            tell(f"{refused.what}; trying again with the same key")
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
