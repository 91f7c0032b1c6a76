"""What `/health` tells of the way out."""

from datetime import timedelta

import pytest

from oncetune.dapr import NotPublished
from oncetune.trigger.publishing import Publishing

SECOND = timedelta(seconds=1)


def test_a_refusal_is_told_by_its_code_until_an_event_is_taken_again() -> None:
    refusals = [NotPublished("StatusCode.INTERNAL: dial tcp redis.example.com: hunter2"), NotPublished("sidecar: away")]

    def publish(_topic: str, _document: object, _deadline: timedelta) -> None:
        if refusals:
            raise refusals.pop(0)

    publishing = Publishing(publish)
    assert publishing.report() == {"state": "ok"}
    reports = []
    for _ in range(2):
        with pytest.raises(NotPublished):
            publishing("run.requested", {}, SECOND)
        reports.append(publishing.report())
    assert [told["reason"] for told in reports] == ["StatusCode.INTERNAL", "sidecar"]
    assert reports[0]["since"] == reports[1]["since"]  # since the first of them
    publishing("run.requested", {}, SECOND)
    assert publishing.report() == {"state": "ok"}
