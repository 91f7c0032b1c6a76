"""The client: posts datasets as a gateway would, journals what it sends and what it is told, and often repeats."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import httpx

from tests.chaos.client_journal import Answer, ClientJournal, Exchange
from tests.chaos.dataset_server import DatasetServer
from tests.serving import signed

TIMEOUT_SECONDS = 10
STEPS = 6  # of the real training; the stand-in has its own


@dataclass(frozen=True)
class Wish:
    """What the training of one run shall be like, see tests/chaos/stand_in.py."""

    seconds: float = 0.1
    end: str = "finish"
    by_url: bool = False


class Client:
    """One user of one system. Any number of threads may ask.

    `datasets`: where the rows come from of a wish that is `by_url`.
    """

    def __init__(
        self,
        url: str,
        secret: str,
        journal: ClientJournal,
        *,
        steps: int = STEPS,
        datasets: DatasetServer | None = None,
    ) -> None:
        self._steps = steps
        self._datasets = datasets
        self._journal = journal
        self._secret = secret
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def ask(self, name: str, wish: Wish) -> Answer:
        """Send one request once. Its key and its kb_id are made of `name`."""
        exchange = self._journal.sends(f"key-{name}", name, end=wish.end, by_url=wish.by_url)
        return self._send(exchange, "/trigger-finetune", self._body(name, wish))

    def rerun(self, name: str, parent: str) -> Answer:
        """Ask once for the run `parent` of this name once more, always under the same key."""
        exchange = self._journal.sends(f"again-{parent}", name, end="finish", parent=parent)
        return self._send(exchange, f"/runs/{parent}/rerun", {})

    def _send(self, exchange: Exchange, path: str, body: dict[str, object]) -> Answer:
        headers = {**signed(secret=self._secret), "Idempotency-Key": exchange.key}
        try:
            answer = self._http.post(path, json=body, headers=headers)
        except httpx.TransportError:
            return Answer.UNKNOWN
        retry_after = answer.headers.get("Retry-After")
        return self._journal.was_told(exchange, answer.status_code, _run_id(answer), retry_after=retry_after).answer

    def _body(self, name: str, wish: Wish) -> dict[str, object]:
        prompt = json.dumps({"seconds": wish.seconds, "end": wish.end})
        asked = {"kb_id": name, "exp_name": wish.end, "hyperparameters": {"max_steps": self._steps}}
        if wish.by_url:
            assert self._datasets
            return asked | {"dataset_url": self._datasets.url(name, prompt)}
        return asked | {"dataset_inline": [{"prompt": prompt, "chosen": "Gladly.", "rejected": f"No. {name}"}]}

    def ask_until_known(self, name: str, wish: Wish, *, tries: int, pause: float = 0.3) -> Answer:
        """As a gateway does: the same key and body again while the answer is unknown, up to `tries` times."""
        return until_known(partial(self.ask, name, wish), tries=tries, pause=pause)


def until_known(ask: Callable[[], Answer], *, tries: int, pause: float = 0.3) -> Answer:
    """Ask again while the answer is unknown, up to `tries` times, with so many seconds between two."""
    for number in range(tries):
        if number:
            threading.Event().wait(pause)
        if (answer := ask()) is not Answer.UNKNOWN:
            return answer
    return Answer.UNKNOWN


def _run_id(answer: httpx.Response) -> str | None:
    """None when it names none: of an answer that accepts, the oracle will say so."""
    try:
        told = answer.json()
    except ValueError:
        return None
    return told.get("run_id") if isinstance(told, dict) else None


@contextmanager
def client_of(
    url: str, secret: str, journal: ClientJournal, *, steps: int = STEPS, datasets: DatasetServer | None = None
) -> Iterator[Client]:
    client = Client(url, secret, journal, steps=steps, datasets=datasets)
    try:
        yield client
    finally:
        client.close()


class Load(threading.Thread):
    """Asks at a steady rate until told to stop; some keys are repeated although answered, and some are given up early
    unless the client is `patient`. `again`: the share of requests beside which a run that `completed` tells, with its
    kb_id, is asked for once more, twice under one key."""

    def __init__(
        self,
        client: Client,
        *,
        prefix: str,
        per_second: float,
        seed: int,
        wishes: Sequence[Wish],
        patient: bool = False,
        again: float = 0.0,
        completed: Callable[[], Sequence[tuple[str, str]]] = tuple,
    ) -> None:
        super().__init__(name="load")
        self._again, self._completed = again, completed
        self._tries = (60,) if patient else (1, 3, 30)
        self._client = client
        self._prefix = prefix
        self._pause = 1 / per_second
        self._random = random.Random(seed)
        self._wishes = wishes
        self._stop_asking = threading.Event()
        self.answers: list[Answer] = []

    def run(self) -> None:
        with ThreadPoolExecutor(32) as pool:
            number, due = 0, time.monotonic()
            while not self._stop_asking.wait(max(0.0, due - time.monotonic())):
                number, due = number + 1, due + self._pause
                wish = self._random.choice(self._wishes)
                pool.submit(
                    self._one, f"{self._prefix}-{number}", wish, self._random.choice(self._tries), self._random.random()
                )
                if self._random.random() < self._again and (parents := self._completed()):
                    rerun = partial(self._client.rerun, *self._random.choice(parents))
                    for _ in range(2):  # by chance at once, by the pool's load one after the other
                        pool.submit(until_known, rerun, tries=30)

    def _one(self, name: str, wish: Wish, tries: int, chance: float) -> None:
        self.answers.append(self._client.ask_until_known(name, wish, tries=tries))
        if chance < 0.2:  # a gateway whose own memory failed
            self._client.ask(name, wish)

    def stop(self) -> None:
        """Ask nothing new; returns when every answer is there or given up."""
        self._stop_asking.set()
        self.join()
