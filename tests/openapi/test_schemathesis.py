"""Every check of schemathesis on every route of a served app with a real database, with signed calls."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.generation import GenerationMode

from tests.serving import serving, signed
from tests.trigger.asked import ask, document

BOUNDED = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_probe(client):
    schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    for result in schema.get_all_operations():
        operation = result.ok()
        print(operation.label)
        from collections import Counter
        seen = Counter(); fails = {}
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                strategy = operation.as_strategy(generation_mode=mode)
            except Exception as e:
                print(mode, repr(e)); continue
            from hypothesis import given
            @settings(BOUNDED)
            @given(case=strategy)
            def go(case):
                case.headers.update(signed())
                r = case.call()
                seen[mode.value, r.status_code] += 1
                try:
                    case.validate_response(r)
                except BaseException as e:
                    fails.setdefault(str(e)[:1500], 0)
            try:
                go()
            except Exception as e:
                print("!!", mode, repr(e)[:300])
        print(dict(seen))
        for f in list(fails)[:4]: print("   FAIL", f)
    assert 0
