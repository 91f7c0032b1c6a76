"""Registration in the real service: its state in `/health`, and that nothing of it stops the service."""

import threading

import pytest

from tests.deadline import eventually
from tests.gateway.small_gateway import FAILED, OK, SLOW, small_gateway
from tests.loglines import captured_lines
from tests.outage import database_away
from tests.serving import free_port, serving, signed

SECRET = "the-register-secret-of-the-tests"


@pytest.fixture
def service(monkeypatch, database_url):
    """`service(gateway)`: trigger on a port of its own, which is its public URL too, registering with `gateway`."""

    def start(url: str, **environment: str):
        port = free_port()
        given = {
            "DPO_REGISTER_URL": f"{url}/api/register",
            "DPO_REGISTER_SECRET": SECRET,
            "DPO_PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
        }
        return serving(
            monkeypatch, "trigger", "status", database_url=database_url, port=port, environment=given | environment
        )

    return start


def _told(client):
    return client.get("/health").json()["registration"]


def _serves(client):
    return client.get("/health").status_code == 200 and client.get("/runs", headers=signed()).status_code == 200


def test_without_a_register_url_registration_is_off_and_has_no_thread(monkeypatch, database_url):
    with serving(monkeypatch, "trigger", database_url=database_url) as client:
        off = {"state": "off", "last_error": None, "next_try_at": None, "registered_until": None}
        assert _told(client) == off
        assert "registration" not in [thread.name for thread in threading.enumerate()]


def test_the_service_finds_itself_by_its_public_url_and_registers(service):
    with captured_lines() as lines, small_gateway() as gateway, service(gateway.url) as client:
        assert _told(client)["state"] in ("waiting", "registered")
        eventually(lambda: _told(client)["state"] == "registered")
        told = _told(client)
        [received] = gateway.received
        assert received.document["base_url"] == str(client.base_url).rstrip("/")
        assert received.headers["x-dpo-register-secret"] == SECRET
        assert told["next_try_at"] < told["registered_until"]
        assert [line["event"] for line in lines.events() if line["event"].startswith("registration")] == [
            "registration.done"
        ], "the first look comes after the server listens"
    assert SECRET not in lines.getvalue()


def test_a_gateway_that_fails_leaves_the_service_serving_and_health_tells(service):
    with small_gateway(FAILED, OK) as gateway, service(gateway.url) as client:
        eventually(lambda: _told(client)["state"] == "failing")
        assert _told(client)["last_error"] == "the gateway answered 500 REGISTRATION_FAILED"
        assert isinstance(_told(client)["next_try_at"], int)
        assert _serves(client)
        eventually(lambda: _told(client)["state"] == "registered")


def test_a_gateway_that_hangs_holds_up_neither_the_start_nor_a_request_nor_the_end(service):
    with small_gateway(SLOW) as gateway, service(gateway.url) as client:
        eventually(lambda: gateway.received)
        assert _serves(client)
        assert _told(client)["state"] == "waiting"


@pytest.mark.parametrize(("wrong", "named"), [
    ({"DPO_PUBLIC_BASE_URL": "http://localhost:8080", "ONCETUNE_ENVIRONMENT": "production"}, "http://localhost:8080"),
    ({"DPO_REGISTER_SECRET": ""}, "DPO_REGISTER_SECRET is missing"),
    ({"DPO_REGISTER_SECRET": "ends-with-a-line-break\n"}, "DPO_REGISTER_SECRET cannot stand in a header"),
    ({"DPO_REGISTER_URL": "gateway.example"}, "DPO_REGISTER_URL is not a URL"),
    ({"DPO_SERVICE_TTL_SECONDS": "0"}, "DPO_SERVICE_TTL_SECONDS is 0"),
    ({"DPO_SERVICE_TTL_SECONDS": "soon", "DPO_REGISTER_SELF_CHECK": "maybe"}, "DPO_REGISTER_SELF_CHECK: Input should"),
    ({"DPO_SERVICE_TTL_SECONDS": "9" * 20}, f"DPO_SERVICE_TTL_SECONDS is {'9' * 20}"),
    ({"DPO_SERVICE_TTL_SECONDS": "-" + "9" * 20}, f"DPO_SERVICE_TTL_SECONDS is -{'9' * 20}"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused_by_name_and_the_service_serves(service, wrong, named):
    with captured_lines() as lines, small_gateway() as gateway, service(gateway.url, **wrong) as client:
        [line] = eventually(lambda: lines.events("registration.refused"))
        told = _told(client)
        assert (told["state"], told["next_try_at"], line["level"]) == ("refused", None, "error")
        assert named in told["last_error"] == line["reason"]
        assert _serves(client)
    assert gateway.received == []


def test_health_tells_the_registration_while_the_database_is_away(service, administer, database_url):
    with small_gateway() as gateway, service(gateway.url) as client:
        eventually(lambda: _told(client)["state"] == "registered")
        with database_away(administer, database_url):
            answer = client.get("/health")
        assert (answer.status_code, answer.json()["registration"]["state"]) == (503, "registered")


def test_the_port_that_serve_was_told_is_the_one_in_a_pods_url():
    from oncetune.gateway.registration import public_base_url
    from oncetune.serve import create_app
    from oncetune.trigger.main import registration_settings

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"APP_API_TOKEN": "x", "RUNPOD_POD_ID": "abc", "ONCETUNE_PORT": "9001"}.items():
            patch.setenv(name, value)
        told, untold = (create_app(("trigger",), port=port) for port in (8188, None))
        assert public_base_url(registration_settings(told)) == "https://abc-8188.proxy.runpod.net"
        assert public_base_url(registration_settings(untold)) == "https://abc-9001.proxy.runpod.net"
