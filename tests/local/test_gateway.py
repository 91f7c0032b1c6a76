"""The development gateway before a real trigger and status: register, trigger through it, read through it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from oncetune.cli.gateway import gateway_guide
from oncetune.local.gateway import DevelopmentGateway, create_gateway
from oncetune.local.preflight import answers
from tests.cli.small_server import dripping_server
from tests.deadline import eventually
from tests.serving import SECRET, free_port, serving, serving_app
from tests.stack import program_environment
from tests.trigger.asked import document

REGISTER = {"X-DPO-Register-Secret": "a-register-secret"}


@pytest.fixture
def known() -> DevelopmentGateway:
    return DevelopmentGateway(SECRET, REGISTER["X-DPO-Register-Secret"], max_body_bytes=2**20)


@pytest.fixture
def gateway(known: DevelopmentGateway) -> Iterator[httpx.Client]:
    with serving_app(create_gateway(known)) as client:
        yield client


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[httpx.Client]:
    with serving(monkeypatch, "trigger", "status", database_url=database_url) as client:
        yield client


def register(gateway: httpx.Client, base_url: object, *, ttl: int = 60, headers: dict[str, str] = REGISTER) -> int:
    body = {"base_url": str(base_url), "version": "1.0.0", "ttl_seconds": ttl}
    return gateway.post("/register", json=body, headers=headers).status_code


def bearer(token: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **more}


def test_a_run_is_triggered_and_read_through_the_gateway_that_its_service_registered_with(gateway, service, known):
    assert register(gateway, service.base_url) == 200
    headers = bearer(known.admin_token, **{"Idempotency-Key": "first"})
    asked = gateway.post("/finetune/trigger-finetune", json=document(), headers=headers)
    assert asked.status_code == 200 and asked.json()["status"] == "queued"
    run = gateway.get(f"/finetune/runs/{asked.json()['run_id']}", headers=bearer(known.admin_token))
    assert run.status_code == 200 and run.json()["kb_id"] == "kb"
    found = gateway.get("/finetune/runs?kb_id=kb&limit=1", headers=bearer(known.admin_token)).json()["runs"]
    assert [one["run_id"] for one in found] == [asked.json()["run_id"]]
    assert gateway.get("/finetune/runs?kb_id=other", headers=bearer(known.admin_token)).json() == {"runs": []}


def test_an_idempotency_key_and_its_answer_pass_through(gateway, service, known):
    register(gateway, service.base_url)
    headers = bearer(known.admin_token, **{"Idempotency-Key": "first"})
    first, again = (gateway.post("/finetune/trigger-finetune", json=document(), headers=headers) for _ in range(2))
    assert first.json() == again.json()
    assert "Idempotent-Replayed" not in first.headers and again.headers["Idempotent-Replayed"] == "true"


def test_the_user_is_no_admin_and_sees_only_its_own_runs(gateway, service, known):
    register(gateway, service.base_url)
    run = gateway.post("/finetune/trigger-finetune", json=document(), headers=bearer(known.admin_token)).json()
    refused = gateway.post("/finetune/trigger-finetune", json=document("other"), headers=bearer(known.user_token))
    assert (refused.status_code, refused.json()["code"]) == (403, "admin_required")
    assert gateway.get(f"/finetune/runs/{run['run_id']}", headers=bearer(known.user_token)).status_code == 404
    assert gateway.get("/finetune/runs", headers=bearer(known.user_token)).json() == {"runs": []}


def test_a_caller_cannot_bring_claims_of_his_own(gateway, service, known):
    register(gateway, service.base_url)
    forged = known.signed(known.person(f"Bearer {known.admin_token}"))
    headers = bearer(known.user_token, **{name.lower(): value for name, value in forged.items()})
    assert gateway.post("/finetune/trigger-finetune", json=document(), headers=headers).status_code == 403


@pytest.mark.parametrize("token", ["", "Bearer wrong", "Basic abc", "Bearer \u00e9".encode("latin-1")])
def test_an_unknown_token_is_401_and_nothing_is_forwarded(gateway, token):
    answer = gateway.get("/finetune/runs", headers={"Authorization": token})
    assert (answer.status_code, answer.json()["code"]) == (401, "unknown_token")


@pytest.mark.parametrize("headers", [{}, {"X-DPO-Register-Secret": "wrong"}])
def test_a_wrong_register_secret_is_401_and_registers_nobody(gateway, known, headers):
    assert register(gateway, "http://127.0.0.1:1", headers=headers) == 401
    assert known.base_url() is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"base_url": "ftp://host", "version": "1", "ttl_seconds": 1},
        {"base_url": "http://host", "version": "1", "ttl_seconds": 0},
        {"base_url": "http://host/?a=b", "version": "1", "ttl_seconds": 1},
        {"base_url": "http://[::1", "version": "1", "ttl_seconds": 1},
        {"base_url": "http://host:port", "version": "1", "ttl_seconds": 1},
        {"base_url": "http://\u2603", "version": "1", "ttl_seconds": 1},
        {"base_url": "http://host/\x01", "version": "1", "ttl_seconds": 1},
        {"base_url": "http://xn--", "version": "1", "ttl_seconds": 1},
        {"base_url": "http://user:word@host", "version": "1", "ttl_seconds": 1},
    ],
)
def test_a_registration_that_cannot_be_used_is_400(gateway, body):
    answer = gateway.post("/register", json=body, headers=REGISTER)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


def test_before_a_registration_and_after_its_ttl_the_gateway_answers_503(gateway, known):
    def code() -> tuple[int, str]:
        answer = gateway.get("/finetune/runs", headers=bearer(known.user_token))
        return answer.status_code, answer.json()["code"]

    assert code() == (503, "nobody_registered")
    assert register(gateway, f"http://127.0.0.1:{free_port()}", ttl=1) == 200
    assert code() == (502, "service_unavailable")
    eventually(lambda: code() == (503, "nobody_registered"))


def test_a_body_beyond_the_bound_is_413_also_without_a_length(gateway, service, known):
    register(gateway, service.base_url)
    chunks = (b"x" * 65_536 for _ in range(17))
    answer = gateway.post("/finetune/trigger-finetune", content=chunks, headers=bearer(known.admin_token))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_the_guide_says_that_it_is_for_development_and_shows_no_kept_secret(known, tmp_path):
    guide = gateway_guide(known, tmp_path, 8090)
    assert "DEVELOPMENT" in guide and known.admin_token in guide and "DPO_REGISTER_URL=" in guide
    assert SECRET not in guide and known.register_secret not in guide


def test_ctrl_c_ends_the_gateway_while_a_call_is_under_way(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "oncetune.cli", "gateway", "--port", str(port)]
    with (
        dripping_server() as service,
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env=program_environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as program,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client,
        ThreadPoolExecutor(1) as caller,
    ):
        try:
            assert program.stdout is not None
            token = next(line for line in program.stdout if "export ADMIN=" in line).split("=")[1].split()[0]
            eventually(lambda: answers(str(client.base_url), "/health"))
            known = {"X-DPO-Register-Secret": (tmp_path / ".oncetune/secrets/register").read_text()}
            assert register(client, service, headers=known) == 200
            under_way = caller.submit(client.get, "/finetune/runs", headers=bearer(token))
            eventually(under_way.running)
            program.send_signal(signal.SIGINT)
            program.wait(10)
        finally:
            program.kill()
