"""Settings that would break every request are refused when the service starts."""

import json
from datetime import timedelta

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


@pytest.mark.parametrize(
    "name", [name for name, field in TriggerSettings.model_fields.items() if field.annotation is timedelta]
)
def test_a_duration_below_nothing_is_a_start_error_and_its_loop_never_spins(monkeypatch, name):
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/nothing")
    monkeypatch.setenv(f"ONCETUNE_TRIGGER_{name.upper()}", "-PT1S")
    with pytest.raises(ValueError, match="cannot be negative"):
        TriggerSettings()
