"""`oncetune submit`: ask for a run once, however often the request has to be sent."""

import json
import random
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from oncetune.cli.client import Client, Document, Unreachable
from oncetune.cli.exits import Exit, Failure
from oncetune.cli.output import print_json, put, tell
from oncetune.cli.watch import follow, require_success

_KEEP_TRYING_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 8.0


@dataclass(frozen=True)
class Submission:
    """What the command line asks for, as it was typed."""

    file: str
    kb_id: str
    exp_name: str
    base_model: str
    hyperparameters: str | None
    settings: tuple[str, ...]
    idempotency_key: str | None

    def body(self) -> bytes:
        """The request's bytes; raises Failure when a file or an option cannot be read. The server judges the rows."""
        wanted: Document = {
            "kb_id": self.kb_id,
            "exp_name": self.exp_name,
            "base_model": self.base_model,
            "dataset_inline": read_rows(self.file),
        }
        if chosen := self._hyperparameters():
            wanted["hyperparameters"] = chosen
        return json.dumps(wanted).encode()  # ASCII: a lone surrogate is for the server to refuse

    def _hyperparameters(self) -> Document:
        try:
            chosen = json.loads(self.hyperparameters) if self.hyperparameters else {}
        except ValueError as error:
            raise Failure(f"--hyperparameters is not JSON: {error}", code=Exit.USAGE) from error
        if not isinstance(chosen, dict):
            raise Failure("--hyperparameters is not a JSON object.", code=Exit.USAGE)
        for setting in self.settings:
            name, separator, value = setting.partition("=")
            if not separator or not name:
                raise Failure(f"--set takes key=value, not {setting}", code=Exit.USAGE)
            chosen[name] = _value(value)
        return chosen


def read_rows(file: str) -> list[JsonValue]:
    """The rows of a JSON array or of JSON lines; `-` is standard input. Raises Failure."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Failure(f"{file} cannot be read: {reason}", code=Exit.USAGE) from error
    if text.lstrip().startswith("["):
        try:
            rows: list[JsonValue] = json.loads(text)
        except ValueError as error:
            raise Failure(f"{file} is not JSON: {error}", code=Exit.USAGE) from error
        return rows
    return [_row(file, number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _row(file: str, number: int, line: str) -> JsonValue:
    try:
        row: JsonValue = json.loads(line)
    except ValueError as error:
        raise Failure(f"{file}, line {number} is not JSON: {error}", code=Exit.USAGE) from error
    return row


def _value(text: str) -> JsonValue:
    """3 is a number, sigmoid a word."""
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value


def submit_and_follow(
    client: Client, submission: Submission, *, watch: bool, timeout: float | None, as_json: bool
) -> None:
    """Send the request, print the run's id, and follow the run if asked. Raises Failure."""
    key = str(uuid.uuid4()) if submission.idempotency_key is None else submission.idempotency_key
    if not (key.isascii() and key.isprintable() and 1 <= len(key) <= 255):
        raise Failure("--idempotency-key takes 1 to 255 visible ASCII characters.", code=Exit.USAGE)
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


def send(client: Client, body: bytes, key: str) -> tuple[Document, bool]:
    """Post the request until somebody answers, for a minute: one key, so one run. True: the answer was a replay."""
    until = time.monotonic() + _KEEP_TRYING_SECONDS
    pause = 0.5
    while True:
        try:
            answer, headers = client.post("/trigger-finetune", body, {"Idempotency-Key": key})
            return answer, headers.get("idempotent-replayed") == "true"
        except Unreachable as refused:
            wait = refused.retry_after or pause * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
            if time.monotonic() + wait > until:
                again = f"--idempotency-key {key} makes it safe to try again."
                raise Failure(refused.what, f"{refused.remedy} {again}".strip()) from refused
            tell(f"{refused.what}; trying again with the same key")
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
