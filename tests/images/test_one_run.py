"""Migration, trigger, status, trainer and their sidecars, all of them containers: one signed run to its end."""

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from docker.types import Mount
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from oncetune.cli.client import Client
from oncetune.local.sidecar import find_components, find_daprd
from tests.brokers.containers import IMAGES as BROKERS
from tests.containers import find_image
from tests.deadline import eventually
from tests.images.pods import Ended, Process, ended, served, sidecar
from tests.postgres import IMAGE as POSTGRES
from tests.serving import SECRET
from tests.stack import QUICK, ROWS, shared_toy_model, state_of, whole_trail
from tests.telemetry.scraped import Scraped, scrape

STEPS = 3
DATA = "/var/lib/oncetune"  # as the chart mounts its volumes
TOKENS = {"APP_API_TOKEN": "an-app-token-of-the-tests", "DAPR_API_TOKEN": "a-dapr-token-of-the-tests"}
PASSWORD = "a-password-of-the-tests"
COMMON = {
    "DATABASE_URL": f"postgresql://postgres:{PASSWORD}@postgres/postgres",
    "DPO_GATEWAY_SHARED_SECRET": SECRET,
    "ONCETUNE_ENVIRONMENT": "local",
    **TOKENS,
    **QUICK,
}
OF = {
    "trigger": {"ONCETUNE_TRIGGER_MODELS": json.dumps({"toy": "/models/toy"})},
    "status": {},
    "trainer": {
        "ONCETUNE_ARTIFACTS": f"{DATA}/artifacts",
        "ONCETUNE_MODEL_CACHE": f"{DATA}/models/converted",
        "ONCETUNE_TRAINER_STAGING": f"{DATA}/staging/attempts",
        "HF_HOME": f"{DATA}/models/hub",
    },
}
ADAPTERS = f"find {DATA}/artifacts -name adapter_model.safetensors"
BODY = {"kb_id": "images", "exp_name": "one", "base_model": "toy", "hyperparameters": {"max_steps": STEPS}}


@dataclass(frozen=True)
class Deployment:
    """Everything up; `migrated` is how the migration ended."""

    network: Network
    migrated: Ended
    processes: Mapping[str, Process]

    @property
    def url(self) -> str:
        return f"{self.processes['trigger'].url},{self.processes['status'].url}"


@pytest.fixture(scope="module")
def deployment(
    services_image: str, trainer_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    daprd, components = find_daprd(os.environ), find_components()
    assert daprd and components
    model = shared_toy_model(tmp_path_factory)
    for file in model.iterdir():
        file.chmod(0o644)  # its weights were for their owner only, who is nobody in the container
    toy = Mount("/models/toy", str(model), type="bind", read_only=True)
    of_sidecars = {**TOKENS, "ONCETUNE_REDIS_HOST": "redis:6379", "ONCETUNE_REDIS_PASSWORD": PASSWORD}
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        _start_ground(stack, network)
        migrated = ended(services_image, "migrate", network=network, environment=COMMON)
        processes: dict[str, Process] = {}
        for service, environment in OF.items():
            image, mounts = services_image, []
            if service == "trainer":
                # The volume takes its owner from the image: our user writes there, and nobody made that so.
                image, mounts = trainer_image, [toy, Mount(DATA, None, type="volume")]
            one = served(image, service, network=network, environment={**COMMON, **environment}, mounts=mounts)
            processes[service] = process = stack.enter_context(one)
            beside = sidecar(
                services_image, process, service, daprd=daprd, components=components, environment=of_sidecars
            )
            stack.enter_context(beside)
        yield Deployment(network, migrated, processes)


def _start_ground(stack: ExitStack, network: Network) -> None:
    """Postgres and the broker, as `postgres` and `redis` in the network."""
    postgres, redis = find_image(*POSTGRES), find_image(*BROKERS["redis"])
    assert postgres and redis
    one = PostgresContainer(postgres, username="postgres", password=PASSWORD, dbname="postgres", driver=None)
    stack.enter_context(one.with_network(network).with_network_aliases("postgres"))
    other = DockerContainer(redis, network=network, network_aliases=["redis"])
    other.with_command(f"redis-server --requirepass {PASSWORD}")
    stack.enter_context(other.waiting_for(LogMessageWaitStrategy("Ready to accept connections")))


@dataclass(frozen=True)
class Run:
    """It has ended, and the journal holds all of its trail."""

    run_id: str
    again: str  # the answer to the same request, sent once more
    status: str
    trail: dict[str, Any]


@pytest.fixture(scope="module")
def run(deployment: Deployment) -> Run:
    body, key = json.dumps({**BODY, "dataset_inline": ROWS}).encode(), {"idempotency-key": str(uuid.uuid4())}
    with Client(deployment.url, user="ann", secret=SECRET) as client:
        first, again = (str(client.post("/trigger-finetune", body, key)[0]["run_id"]) for _ in range(2))
        status = state_of(client, first, "completed", "failed", "cancelled", seconds=180)["status"]
        return Run(first, again, status, whole_trail(client, first))


def test_the_migration_ends_well_and_whoever_waits_for_it_too(deployment, services_image):
    assert deployment.migrated.code == 0, deployment.migrated.err
    waited = ended(services_image, "migrate", "--wait", network=deployment.network, environment=COMMON)
    assert waited.code == 0, waited.err


def test_a_signed_request_that_is_repeated_becomes_one_run_and_one_adapter(deployment, run):
    assert (run.status, run.again) == ("completed", run.run_id), str(run.trail["events"][-1])
    found = deployment.processes["trainer"].container.exec(["sh", "-c", ADAPTERS]).output.decode().split()
    assert found == [f"{DATA}/artifacts/{run.run_id}/1/adapter/adapter_model.safetensors"]


def test_its_trail_has_no_gap(run):
    events = run.trail["events"]
    assert [event["position"] for event in events] == list(range(1, len(events) + 1))
    assert [events[place]["type"] for place in (0, 1, -1)] == ["run.requested", "run.started", "run.completed"]


def scraped(process: Process) -> Scraped:
    with httpx.Client(base_url=process.url, trust_env=False) as client:
        return scrape(client)


def test_its_events_came_through_the_sidecars_and_each_service_counted_what_it_did(deployment, run):
    told = {service: scraped(process) for service, process in deployment.processes.items()}
    assert told["status"].value("oncetune_runs_total", state="completed") == 1
    eventually(lambda: scraped(deployment.processes["status"]).value("oncetune_outbox_pending") == 0)
    heard = {"service": "trainer", "topic": "run.requested"}
    assert sum(value for (name, labels), value in told["trainer"].items() if heard.items() <= dict(labels).items()) > 0
    assert told["trainer"].value("oncetune_training_steps_total") == STEPS


def test_the_logs_of_all_containers_tell_its_story(deployment, run):
    story = [
        (service, line["event"])
        for service, process in deployment.processes.items()
        for line in process.lines()
        if run.run_id in json.dumps(line)
    ]
    assert {service for service, _ in story} == {"trigger", "status", "trainer"}


def test_the_doctor_of_the_image_finds_nothing_wrong(deployment, services_image):
    environment = {"ONCETUNE_URL": "http://trigger:8080,http://status:8080", "DPO_GATEWAY_SHARED_SECRET": SECRET}
    said = ended(services_image, "doctor", "--base-model", "toy", network=deployment.network, environment=environment)
    assert said.code == 0, said.out + said.err


@pytest.mark.parametrize("service", OF)
def test_sigterm_ends_it_within_ten_seconds_and_with_success(deployment, run, service):
    assert deployment.processes[service].stop() == 0
    assert deployment.processes[service].lines()[-1]["event"] == "service.stopping"
