"""The client: posts datasets as a gateway would, journals what it sends and what it is told, and often repeats."""

import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from tests.chaos.client_journal import Answer, ClientJournal
from tests.serving import signed

TIMEOUT_SECONDS = 10
STEPS = 6  # of the real training; the stand-in has its own


@dataclass(frozen=True)
class Wish:
    """What the training of one run shall be like, see tests/chaos/stand_in.py."""

    seconds: float = 0.1
    end: str = "finish"


class Client:
    """One user of one system. Any number of threads may ask."""

    def __init__(self, url: str, secret: str, journal: ClientJournal, *, steps: int = STEPS) -> None:
        self._steps = steps
        self._journal = journal
        self._secret = secret
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def ask(self, name: str, wish: Wish) -> Answer:
        """Send one request once. Its key and its kb_id are made of `name`."""
        exchange = self._journal.sends(f"key-{name}", name, end=wish.end)
        try:
            answer = self._http.post(
                "/trigger-finetune",
                json=_body(name, wish, self._steps),
                headers={**signed(secret=self._secret), "Idempotency-Key": exchange.key},
            )
        except httpx.TransportError:
            return Answer.UNKNOWN
        retry_after = answer.headers.get("Retry-After")
        return self._journal.was_told(exchange, answer.status_code, _run_id(answer), retry_after=retry_after).answer

    def ask_until_known(self, name: str, wish: Wish, *, tries: int, pause: float = 0.3) -> Answer:
        """As a gateway does: the same key and body again while the answer is unknown, up to `tries` times."""
        for number in range(tries):
            if number:
                threading.Event().wait(pause)
            if (answer := self.ask(name, wish)) is not Answer.UNKNOWN:
                return answer
        return Answer.UNKNOWN


def _run_id(answer: httpx.Response) -> str | None:
    """None when it names none: of an answer that accepts, the oracle will say so."""
    try:
        told = answer.json()
    except ValueError:
        return None
    return told.get("run_id") if isinstance(told, dict) else None


def _body(name: str, wish: Wish, steps: int) -> dict[str, object]:
    row = {"prompt": json.dumps(vars(wish)), "chosen": "Gladly.", "rejected": f"No. {name}"}
    knobs = {"max_steps": steps}
    return {"kb_id": name, "exp_name": wish.end, "dataset_inline": [row], "hyperparameters": knobs}


@contextmanager
def client_of(url: str, secret: str, journal: ClientJournal, *, steps: int = STEPS) -> Iterator[Client]:
    client = Client(url, secret, journal, steps=steps)
    try:
        yield client
    finally:
        client.close()


class Load(threading.Thread):
    """Asks at a steady rate until told to stop; some keys are repeated although answered, and some are given up early
    unless the client is `patient`."""

    def __init__(
        self,
        client: Client,
        *,
        prefix: str,
        per_second: float,
        seed: int,
        wishes: Sequence[Wish],
        patient: bool = False,
    ) -> None:
        super().__init__(name="load")
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

    def _one(self, name: str, wish: Wish, tries: int, chance: float) -> None:
        self.answers.append(self._client.ask_until_known(name, wish, tries=tries))
        if chance < 0.2:  # a gateway whose own memory failed
            self._client.ask(name, wish)

    def stop(self) -> None:
        """Ask nothing new; returns when every answer is there or given up."""
        self._stop_asking.set()
        self.join()
