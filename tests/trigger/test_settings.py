"""Settings that would break every request are refused when the service starts."""

import json

import pytest

from oncetune.trigger.settings import TriggerSettings


@pytest.mark.parametrize("models", [{"zephyr": ""}, {"": "a/b"}, {"zephyr": "a" * 501}, {"zephyr": "a\0"}])
def test_a_model_that_no_recipe_can_name_is_a_start_error(monkeypatch, models):
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/nothing")
    monkeypatch.setenv("ONCETUNE_TRIGGER_MODELS", json.dumps(models))
    with pytest.raises(ValueError, match="models"):
        TriggerSettings()


def test_requests_that_wait_leave_a_thread_for_probes_and_readers(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/nothing")
    monkeypatch.setenv("ONCETUNE_THREADS", "8")
    with pytest.raises(ValueError, match="WAITING_REQUESTS"):
        TriggerSettings()
    monkeypatch.setenv("ONCETUNE_TRIGGER_WAITING_REQUESTS", "7")
    assert TriggerSettings().threads == 8
