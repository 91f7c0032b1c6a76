"""Wrong values are refused with a sentence, and the schema knows exactly the values that there are."""

import json
import subprocess
from typing import Any

import helm_python
import pytest

from tests.helm.chart import CHART, PROFILES, chart, over, profile, read, render

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
FREE = {"global", "resources", "podSecurityContext", "containerSecurityContext", "affinity"}

REFUSED_BY_THE_SCHEMA: list[tuple[dict[str, Any], str]] = [
    ({"replicas": 3}, "additional properties 'replicas' not allowed"),
    ({"trainer": {"gpu": {"enable": True}}}, "additional properties 'enable' not allowed"),
    ({"trigger": {"settings": {"ONCETUNE_TRIGER_RUNS": 1}}}, "'ONCETUNE_TRIGER_RUNS' not allowed"),
    ({"trigger": {"settings": {"DPO_MAX_DATASET_SIZE_MB": 100}}}, "maximum: got 100, want 64"),
    ({"trainer": {"settings": {"ONCETUNE_TRAINER_LEASE": "30s"}}}, "'30s' does not match pattern"),
    ({"broker": {"type": "sqs"}}, "at '/broker/type': value must be one of 'redis', 'rabbitmq', 'kafka', 'jetstream'"),
    ({"image": {"tag": "latest"}}, "at '/image/tag': 'not' failed"),
    ({"image": {"digest": "sha256:abc"}}, "at '/image/digest': 'sha256:abc' does not match pattern"),
    ({"trigger": {"replicas": "two"}}, "got string, want integer"),
    ({"dapr": {"logLevel": "verbose"}}, "at '/dapr/logLevel': value must be one of"),
    ({"environment": "staging"}, "at '/environment': value must be one of 'production', 'local'"),
    ({"artifacts": {"s3": {"bucket": "No_Bucket"}}}, "'No_Bucket' does not match pattern"),
    ({"trainer": {"artifacts": {"size": "20 GB"}}}, "'20 GB' does not match pattern"),
    # What would be taken, and end a container as often as it starts:
    ({"dapr": {"goMemLimit": "900MB"}}, "at '/dapr/goMemLimit': '900MB' does not match pattern"),
    ({"dapr": {"blockShutdownDuration": "5"}}, "at '/dapr/blockShutdownDuration': '5' does not match pattern"),
    ({"trigger": {"settings": {"ONCETUNE_TRIGGER_RELAY_EVERY": "PT"}}}, "'PT' does not match pattern"),
    ({"postgres": {"port": 70000}}, "at '/postgres/port': maximum: got 70,000, want 65,535"),
    ({"gateway": {"secretKeys": {"sharedSecret": ""}}}, "at '/gateway/secretKeys/sharedSecret': '' does not match"),
    ({"fullnameOverride": "1.oncetune"}, "at '/fullnameOverride': '1.oncetune' does not match pattern"),
]
THREADS = {"trigger": 20, "status": 30}
REFUSED_BY_A_CHECK: list[tuple[dict[str, Any], str]] = [
    ({"gateway": {"existingSecret": ""}}, "gateway.existingSecret: name the Secret with the key shared-secret"),
    ({"postgres": {"existingSecret": ""}}, "postgres.existingSecret: name the Secret with the key uri"),
    ({"dapr": {"apiTokenSecret": ""}}, "dapr.apiTokenSecret: name the Secret with the key token"),
    ({"dapr": {"appTokenSecret": "oncetune-dapr-api"}}, "dapr.appTokenSecret: use another Secret"),
    ({"broker": {"secretEnv": {"ONCETUNE_REDIS_PASSWORD": None}}}, "broker.type=redis needs ONCETUNE_REDIS_PASSWORD"),
    ({"broker": {"existingSecret": ""}}, "broker.existingSecret: name the Secret"),
    ({"broker": {"type": "kafka", "bundled": {"enabled": True}}}, "the bundled broker speaks the Redis API"),
    ({"gateway": {"ingress": {"enabled": True, "host": "a.example"}}}, "enable ingress or httpRoute, not both"),
    ({"gateway": {"httpRoute": {"parentRefs": []}}}, "gateway.httpRoute.parentRefs: name the Gateway"),
    ({"broker": {"env": {"ONCETUNE_REDIS_PASSWORD": "hunter2"}}}, "broker.env.ONCETUNE_REDIS_PASSWORD: a secret would"),
    (
        {"broker": {"env": {"ONCETUNE_NATS_URL": "nats://a:b@nats:4222"}}},
        "broker.env.ONCETUNE_NATS_URL: a secret would",
    ),
    (
        {"broker": {"metadata": [{"name": "redisPassword", "value": "hunter2"}]}},
        "broker.metadata redisPassword: a secret would be read in the open",
    ),
    ({"trigger": {"autoscaling": {"enabled": True, "minReplicas": 9}}}, "trigger.autoscaling: minReplicas is more"),
    ({"trainer": {"keda": {"enabled": True, "minReplicas": 2}}}, "trainer.keda: minReplicas is more than maxReplicas"),
    (
        {"postgres": {"parameters": "sslmode=verify-full", "database": "runs"}},
        "postgres: without postgres.host the Secret's uri is the whole address; database, parameters would be ignored",
    ),
    ({"postgres": {"mode": "bundled", "host": "db.data"}}, "postgres.host: would be ignored by postgres.mode=bundled"),
    (
        {"broker": {"bundled": {"enabled": True}}},
        "broker.env.ONCETUNE_REDIS_HOST: the sidecars would go there, and nobody to the bundled",
    ),
    (
        {"broker": {"metadata": [{"name": "clientKey", "value": "-----BEGIN"}]}},
        "broker.metadata clientKey: a secret would be read in the open",
    ),
    (
        {"broker": {"metadata": [{"name": "natsURL", "value": "nats://a:b@nats:4222"}]}},
        "broker.metadata natsURL: a secret would be read in the open",
    ),
    ({"tests": {"baseModel": "gpt-9"}}, "tests.baseModel: gpt-9 is none of"),
    ({"trigger": {"settings": {"DPO_MAX_DATASET_SIZE_MB": 64}}}, "1Gi has no room for ten requests"),
    ({"networkPolicy": {"enabled": True}}, "networkPolicy.metrics: name the pods of Prometheus"),
    ({"trainer": {"replicas": 2}}, "trainer.artifacts.accessModes: several trainers need ReadWriteMany"),
    ({"trainer": {"keda": {"enabled": True}}}, "trainer.keda.triggers: say what KEDA shall watch"),
    (
        {"trigger": {"terminationGracePeriodSeconds": 34}},
        "trigger.terminationGracePeriodSeconds: 34 is too short, 35 is the least (preStopSeconds 5, ",
    ),
    ({"status": {"preStopSeconds": 16}}, "status.terminationGracePeriodSeconds: 45 is too short, 46 is the least"),
    ({"dapr": {"blockShutdownDuration": "1m0.5s"}}, "trigger.terminationGracePeriodSeconds: 45 is too short, 91 is"),
    (
        {"together": True, "status": {"env": [{"name": "A", "value": "b"}], "databaseSecret": "status", "replicas": 7}},
        "together: the one Deployment takes trigger's values; status.databaseSecret, status.env, status.replicas would",
    ),
    (
        {"together": True} | {name: {"settings": {"ONCETUNE_THREADS": threads}} for name, threads in THREADS.items()},
        "status.settings.ONCETUNE_THREADS would be ignored: give the same below trigger",
    ),
    ({"artifacts": {"s3": {"bucket": ""}}}, "artifacts.s3.bucket: name the bucket that results go to"),
    ({"artifacts": {"inStatus": True}}, "artifacts.inStatus: nothing of a bucket is mounted"),
    ({"artifacts": {"store": "folder"}}, "artifacts.s3.bucket: would be ignored by artifacts.store=folder"),
    (
        {
            "artifacts": {"store": "folder", "inStatus": True, "s3": {"bucket": ""}},
            "trainer": {"artifacts": {"accessModes": ["ReadWriteOncePod"]}},
        },
        "artifacts.inStatus: a volume of ReadWriteOncePod is one pod's alone",
    ),
    ({"broker": {"metadata": [{"name": "redisDB", "envRef": "DB"}]}}, "broker.type=redis needs DB (a value there"),
]


@pytest.mark.parametrize(("wrong", "sentence"), REFUSED_BY_THE_SCHEMA, ids=lambda one: str(one)[:60])
def test_a_value_that_the_chart_does_not_know_is_refused_by_its_name(wrong, sentence):
    with pytest.raises(helm_python.HelmValuesError) as refusal:
        render(profile("external", **wrong))
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(("wrong", "sentence"), REFUSED_BY_A_CHECK, ids=lambda one: str(one)[:60])
def test_values_that_do_not_fit_together_are_one_sentence_each(wrong, sentence):
    with pytest.raises(helm_python.HelmRenderError) as refusal:
        render(profile("external", **wrong))
    assert sentence in str(refusal.value)


def test_together_takes_of_status_what_it_has_as_trigger_has_it_or_nobody_gave():
    both = {"replicas": 5, "env": [{"name": "A", "value": "b"}], "resources": {"limits": {"memory": "1Gi"}}}
    render(profile("external", together=True, trigger=both, status=both))
    render(profile("minikube", together=True, trigger=both, status={"service": {"port": 8081}}))


def test_what_the_values_take_out_of_the_component_need_not_be_given():
    address = [{"name": "redisHost", "value": "redis:6379"}, {"name": "redisPassword", "envRef": "OTHER"}]
    broker = {"env": {"ONCETUNE_REDIS_HOST": None}, "secretEnv": {"ONCETUNE_REDIS_PASSWORD": None, "OTHER": "key"}}
    render(profile("external", broker={**broker, "metadata": address}))


def test_no_refusal_repeats_a_secret():
    with pytest.raises(helm_python.HelmRenderError) as refusal:
        render(profile("external", broker={"env": {"ONCETUNE_REDIS_PASSWORD": "hunter2"}}))
    assert "hunter2" not in str(refusal.value)


def test_without_any_value_everything_that_is_missing_is_told_at_once():
    with pytest.raises(helm_python.HelmRenderError) as refusal:
        render({})
    told = [line.strip().partition(":")[0] for line in str(refusal.value).splitlines() if line.startswith("  ")]
    required = ["gateway.existingSecret", "postgres.existingSecret", "dapr.apiTokenSecret", "dapr.appTokenSecret"]
    assert [one for one in told if one != "broker.env"] == required
    assert "broker.env" in told


def notes(**more: Any) -> str:
    return render(profile("external", **more))["templates/NOTES.txt"]


def test_the_notes_warn_of_what_the_values_ask_of_the_operator():
    nats = {"ONCETUNE_REDIS_PASSWORD": None, "ONCETUNE_NATS_URL": "url", "ONCETUNE_NATS_TOKEN": "token"}
    assert "JetStream makes no stream by itself" in notes(broker={"type": "jetstream", "secretEnv": nats})
    assert "JetStream" not in notes()
    assert "--logs --timeout 420s" in notes(tests={"timeoutSeconds": 300})


WARNINGS: list[tuple[str, dict[str, Any]]] = [
    ("The bundled Postgres is for trying", {"postgres": {"mode": "bundled"}}),
    (
        "The bundled broker is for trying",
        {"broker": {"bundled": {"enabled": True}, "env": {"ONCETUNE_REDIS_HOST": None}}},
    ),
    ("Nothing leads in from outside", {"gateway": {"httpRoute": {"enabled": False}}}),
    (
        "The ingress speaks plain HTTP",
        {"gateway": {"httpRoute": {"enabled": False}, "ingress": {"enabled": True, "host": "a.example"}}},
    ),
    ("The trainer has no GPU", {"trainer": {"gpu": {"enabled": False}}}),
    ("migrations.mode is none", {"migrations": {"mode": "none"}}),
]


@pytest.mark.parametrize(("warning", "more"), WARNINGS, ids=lambda one: str(one)[:40])
def test_a_warning_stands_in_the_notes_where_it_applies_and_only_there(warning, more):
    assert warning in notes(**more)
    assert warning not in notes()
    commands = [line for line in notes(**more).splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in commands][0::2] == ["helm", "kubectl"] and len(commands) == 3


def test_every_command_of_the_notes_is_one_for_a_shell():
    ways: list[dict[str, Any]] = [{}, {"gateway": {"httpRoute": {"enabled": False}}}]
    for way in ways:
        commands = "\n".join(line for line in notes(**way).splitlines() if line.startswith("  "))
        subprocess.run(["sh", "-n"], input=commands, text=True, check=True, timeout=10)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return SCHEMA["$defs"][reference.rpartition("/")[2]] if reference else schema


def closed_objects(schema: dict[str, Any], path: str = "") -> list[str]:
    """The paths of objects with names of ours that would take another name, too."""
    schema = resolved(schema)
    inner = schema.get("properties", {})
    open_here = [path] if inner and schema.get("additionalProperties") is not False else []
    return open_here + [found for name, one in inner.items() for found in closed_objects(one, f"{path}.{name}")]


def test_no_level_of_ours_takes_a_name_that_it_does_not_know():
    assert closed_objects(SCHEMA) == [".global"]  # parents of this chart put their own there


def names(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> set[str]:
    """The differences between the names in values.yaml and in the schema; an empty map's names are free."""
    inner = resolved(schema).get("properties")
    if inner is None or path.endswith(".settings"):
        return set()
    differ = {f"{path}.{name}" for name in set(values) ^ set(inner) if name != "initialDelaySeconds"}
    if path.endswith("metadata"):
        return set()
    for name in set(values) & set(inner):
        if isinstance(values[name], dict) and name not in FREE:
            differ |= names(values[name], inner[name], f"{path}.{name}")
    return differ


def test_the_schema_and_the_defaults_have_the_same_names():
    assert names(read(CHART / "values.yaml"), SCHEMA) == set()


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_is_accepted_and_the_defaults_are_a_part_of_it(name):
    values = profile(name)
    chart().validate_schema(values)
    assert set(over(read(CHART / "values.yaml"), values)) == set(read(CHART / "values.yaml"))
