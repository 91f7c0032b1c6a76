"""What became of the last event that was handed on: `/health` tells it long before an event counts as stuck."""

import time
from datetime import timedelta

from oncetune.dapr import Document, NotPublished, Publish


class Publishing:
    """A Publish that remembers how its last call ended. One thread calls it, any may ask for its report."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._failing: dict[str, object] | None = None

    def __call__(self, topic: str, document: Document, deadline: timedelta) -> None:
        try:
            self._publish(topic, document, deadline)
        except NotPublished as reason:
            since = self._failing["since"] if self._failing else int(time.time())
            # Who refused and by which code; the rest, a broker's own words say, stays in the log.
            self._failing = {"state": "failing", "since": since, "reason": str(reason).partition(":")[0]}
            raise
        self._failing = None

    def report(self) -> object:
        """`state` is ok or failing; failing with `since` (seconds since 1970) and `reason`."""
        return self._failing or {"state": "ok"}
