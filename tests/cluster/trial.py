"""The chart on a running cluster, asked from outside through the gateway."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.chaos.client_journal import Answer, ClientJournal, read_client_journal
from tests.chaos.evidence import Places
from tests.chaos.load import Load, Wish, client_of
from tests.chaos.quiescence import Judge, settle
from tests.cluster.kube import Kube, Object, Release, ready
from tests.deadline import eventually
from tests.serving import signed

LONG = 600  # steps of a toy's training that something shall happen to
SETTLED_SECONDS = 300.0
DRY_RUN = {
    "kb_id": "dry",
    "exp_name": "dry",
    "dataset_inline": [{"prompt": "Are you there?", "chosen": "Gladly.", "rejected": "No."}],
}
SERVICES = ("trigger", "status", "trainer")


@dataclass(frozen=True)
class Trial:
    """`url`: where the gateway comes in. `before`: what the namespace had before the install.

    Everything that is asked for is written to `log` by `journal`.
    """

    kube: Kube
    release: Release
    url: str
    secret: str
    database_url: str
    artifacts: Path
    journal: ClientJournal
    log: Path
    before: frozenset[tuple[str, str]]

    def client(self, **how: Any) -> Any:
        return client_of(self.url, self.secret, self.journal, **how)

    def get(self, path: str) -> Any:
        answer = self._call("GET", path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return answer.json()

    def _call(self, method: str, path: str, body: object = None) -> httpx.Response:
        headers = signed(secret=self.secret)
        return httpx.request(method, self.url + path, json=body, headers=headers, timeout=10, trust_env=False)

    def ask(self, name: str, *, steps: int = 6, end: str = "finish") -> str:
        """The id of a new run of the toy."""
        with self.client(steps=steps) as client:
            answer = client.ask_until_known(name, Wish(end=end), tries=60)
        assert answer is Answer.ACCEPTED, answer
        [run] = self.get(f"/runs?kb_id={name}")["runs"]
        return str(run["run_id"])

    def cancel(self, run_id: str) -> None:
        answer = self._call("POST", f"/runs/{run_id}/cancel")
        assert answer.status_code == 200, (answer.status_code, answer.text)

    def trains(self, run_id: str, *, beyond: int = 0) -> Object:
        """The run, as soon as its training has a checkpoint of more than `beyond` steps."""
        run: Object = eventually(lambda: self._further(run_id, beyond), seconds=240, every=0.2)
        assert run["status"] == "running", f"it ended too soon: {run}"
        return run

    def _further(self, run_id: str, beyond: int) -> Object | None:
        run = self._seen(run_id)
        if run and run["status"] == "queued":  # released, with the checkpoint of its end: it has not gone on yet
            return None
        return run if run and (run.get("checkpoint", {}).get("step", 0) > beyond or "finished_at" in run) else None

    def completes(self, run_id: str) -> Object:
        run = self.ends(run_id)
        assert run["status"] == "completed", run
        return run

    def ends(self, run_id: str) -> Object:
        """The run at its end, with a trail that has each of its events once."""
        run: Object = eventually(lambda: self._ended(run_id), seconds=SETTLED_SECONDS, every=0.5)
        trail = eventually(lambda: self._whole_trail(run_id), seconds=30, every=0.2)
        assert trail["gapless"], trail
        return run

    def _ended(self, run_id: str) -> Object | None:
        run = self._seen(run_id)
        return run if run and "finished_at" in run else None

    def _seen(self, run_id: str) -> Object | None:
        """None while the way in, or what is behind it, is away."""
        try:
            run: Object = self.get(f"/runs/{run_id}")
        except (httpx.TransportError, AssertionError):
            return None
        return run

    def _whole_trail(self, run_id: str) -> Any:
        trail = self.get(f"/runs/{run_id}/events")
        return trail if not trail["pending"] else None

    def revision(self) -> str:
        """Of the schema."""
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        assert row
        return str(row[0])

    def at_rest(self) -> float:
        """Wait for it, then ask the oracle about all that was ever asked here; the seconds that it took to settle."""
        seconds = settle(self.database_url, seconds=SETTLED_SECONDS)
        broken = Judge(self.database_url, Places(self.artifacts), self.log).judge(seconds=30)
        assert not broken, "\n".join(map(str, broken))
        return seconds

    def all_ready(self) -> None:
        eventually(lambda: all(self._ready(one) for one in SERVICES), seconds=300, every=0.5)

    def _ready(self, component: str) -> bool:
        pods = self.kube.pods(component)
        return bool(pods) and all(ready(pod) for pod in pods)

    @contextmanager
    def load(self, name: str, *, per_second: float) -> Iterator[None]:
        """Runs asked for all the while; some requests are repeated although they were answered."""
        with self.client() as client:
            load = Load(client, prefix=name, per_second=per_second, seed=1, wishes=(Wish(),), patient=True)
            load.start()
            try:
                yield
            finally:
                load.stop()

    @contextmanager
    def questions(self) -> Iterator[Counter[str]]:
        """Status and trigger are asked for something that changes nothing, five times a second; the counter has the
        answers."""
        answers: Counter[str] = Counter()
        over = threading.Event()
        threads = [
            threading.Thread(target=self._ask_on, args=(over, answers, *question))
            for question in (("GET", "/runs?limit=1"), ("POST", "/trigger-finetune?dry_run=true", DRY_RUN))
        ]
        for thread in threads:
            thread.start()
        try:
            yield answers
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _ask_on(self, over: threading.Event, answers: Counter[str], *question: Any) -> None:
        method, path = question[:2]
        while not over.wait(0.2):
            try:
                told: object = self._call(*question).status_code
            except httpx.TransportError as error:
                told = type(error).__name__
            answers[f"{method} {path}: {told}"] += 1

    def posted(self, prefix: str) -> Counter[str]:
        """Every answer to the requests whose kb_id begins so, the repeated ones included."""
        asked = (one for one in read_client_journal(self.log) if one.kb_id.startswith(prefix))
        return Counter(f"POST /trigger-finetune: {exchange.status}" for one in asked for exchange in one.exchanges)
