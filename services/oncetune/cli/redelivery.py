"""Deliver an event again, by the very way that this stack delivers: what a broker does on a bad day."""

import json
import time
from typing import Any

import httpx
import psycopg

from oncetune.cli.exits import Failure
from oncetune.contracts.envelope import CONTENT_TYPE
from oncetune.contracts.topics import PUBSUB, ROUTE, RUN_REQUESTED
from oncetune.local.signals import Signals
from oncetune.local.up import Stack

_TOKEN_HEADER = "dapr-api-token"
_JOURNALLED_WITHIN_SECONDS = 60.0


class Redelivery:
    """Copies of one run's `run.requested`, taken word for word from the journal once it holds the event."""

    def __init__(self, stack: Stack, run_id: str, signals: Signals) -> None:
        self._stack = stack
        self._event = self._journalled(run_id, signals)

    def send(self, copies: int) -> None:
        """Publish the event so many more times; raises Failure when the stack does not take it."""
        for _ in range(copies):
            for url, headers in self._ways():
                try:
                    answer = httpx.post(url, content=json.dumps(self._event), headers=headers, trust_env=False)
                    answer.raise_for_status()
                except httpx.HTTPError as error:
                    raise Failure(f"The event could not be delivered again: {error}") from error

    def runs_in_ledger(self) -> int:
        """How many runs this database holds."""
        return int(self._read("SELECT count(*) FROM ledger.run")[0])

    def _ways(self) -> list[tuple[str, dict[str, str]]]:
        """To the sidecar, which hands it to the broker; or straight to both subscribers."""
        typed = {"content-type": CONTENT_TYPE}
        sidecar = self._stack.sidecar
        if sidecar is not None:
            return [(f"{sidecar.url}/v1.0/publish/{PUBSUB}/{RUN_REQUESTED}", {_TOKEN_HEADER: sidecar.token, **typed})]
        proven = {_TOKEN_HEADER: self._stack.app_token, **typed}
        return [(url + ROUTE[RUN_REQUESTED], proven) for url in (self._stack.url, self._stack.trainer_url)]

    def _journalled(self, run_id: str, signals: Signals) -> Any:
        until = time.monotonic() + _JOURNALLED_WITHIN_SECONDS
        while time.monotonic() < until:
            signals.check()
            row = self._read("SELECT event FROM audit.journal WHERE run_id = %s AND position = 1", run_id)
            if row is not None:
                return row[0]
            time.sleep(0.1)
        raise Failure("The journal did not get the run's first event within a minute.", f"See {self._stack.data}/logs.")

    def _read(self, sql: str, *values: str) -> Any:
        with psycopg.connect(self._stack.database_url, connect_timeout=10) as connection:
            return connection.execute(sql, values).fetchone()
