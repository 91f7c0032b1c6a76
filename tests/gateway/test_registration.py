"""Registration with a gateway that fails in all the ways: it goes on, renews in time, and its secret stays one."""

import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr

from oncetune.gateway.calls import MAX_ANSWER_BYTES
from oncetune.gateway.registration import Registration, RegistrationPace, RegistrationSettings
from tests.deadline import eventually
from tests.gateway.small_gateway import DRIPPING, FAILED, HEALTHY, HTML, OK, PAGE, SLOW, Says, small_gateway
from tests.loglines import captured_lines
from tests.serving import free_port

SECRET = "the-register-secret-of-the-tests"
QUICK = RegistrationPace(
    settle=timedelta(milliseconds=10),
    deadline=timedelta(milliseconds=300),
    backoff=timedelta(milliseconds=10),
    max_backoff=timedelta(milliseconds=50),
)
RENEWING = replace(QUICK, renew_at=0.2 / 21_600)  # 0.2 s after each success
HOURS = 21_600


def _registration(url, pace=QUICK, **fields):
    given = {"register_url": f"{url}/api/register", "public_base_url": url, "environment": "local", **fields}
    return Registration(RegistrationSettings(register_secret=SecretStr(SECRET), **given), pace)


@contextmanager
def _kept(registration):
    """Its loop runs while inside; it ends at once, whatever it is doing, and no line of it holds the secret."""
    stop = threading.Event()
    with captured_lines() as lines:
        thread = threading.Thread(target=registration.keep, args=(stop,))
        thread.start()
        try:
            yield lines
        finally:
            stop.set()
            thread.join(1)
            assert not thread.is_alive(), "the loop did not end at once"
    assert SECRET not in lines.getvalue()


def _registered(registration):
    return registration.report()["state"] == "registered"


def test_a_registration_says_what_the_contract_says_with_the_secret_in_its_header():
    before = int(time.time())
    with small_gateway() as gateway:
        registration = _registration(gateway.url)
        assert registration.report()["state"] == "waiting"
        with _kept(registration) as lines:
            eventually(lambda: _registered(registration) and registration.report()["next_try_at"])
            report = registration.report()
    [received] = gateway.received
    assert (received.path, received.headers["x-dpo-register-secret"]) == ("/api/register", SECRET)
    assert received.document == {"base_url": gateway.url, "version": "1.0.0", "ttl_seconds": HOURS}
    assert gateway.asked == ["/health"], "the service looked at itself first"
    assert before + HOURS <= report["registered_until"] <= time.time() + HOURS
    assert before + 0.4 * HOURS - 1 <= report["next_try_at"] <= time.time() + 0.5 * HOURS + 1
    assert report["last_error"] is None
    assert [line["event"] for line in lines.events()] == ["registration.done"]


FAILURES = {
    "slow": (SLOW, "no answer within 0.3 s"),
    "dripping": (DRIPPING, "no answer within 0.3 s"),
    "failed": (FAILED, "answered 500 REGISTRATION_FAILED"),
    "page": (PAGE, "no JSON object"),
    "list": (Says(200, b"[]"), "no JSON object"),
    "empty": (Says(200, b""), "no JSON object"),
    "broken": (Says(200, b'{"a": '), "no JSON object"),
    "deep": (Says(200, b"[" * 50_000), "no JSON object"),
    "large": (Says(200, b"{" + b" " * MAX_ANSWER_BYTES + b"}"), "more than 65536 bytes"),
    "created": (Says(201), "answered 201"),
    "unknown secret": (Says(401, b"{}"), "answered 401; is DPO_REGISTER_SECRET the gateway's?"),
    "prose": (Says(502, b'{"code": "words of a proxy"}', HTML), "the gateway answered 502"),
    "echo": (Says(400, f'{{"code": "{SECRET}"}}'.encode()), "answered 400 ***"),
}


@pytest.mark.parametrize("way", FAILURES)
def test_a_gateway_that_fails_is_told_of_and_tried_again_until_it_works(way):
    says, reason = FAILURES[way]
    with small_gateway(says, says, OK) as gateway:
        registration = _registration(gateway.url)
        with _kept(registration) as lines:
            eventually(lambda: registration.report()["state"] == "failing")
            report = registration.report()
            eventually(lambda: _registered(registration))
    assert reason in report["last_error"]
    assert report["registered_until"] is None
    assert abs(report["next_try_at"] - time.time()) < 3
    assert SECRET not in str(report)
    tries = [(line["event"], line.get("failures")) for line in lines.events()]
    assert tries == [("registration.failed", 1), ("registration.failed", 2), ("registration.done", None)], (
        "a line a try"
    )
    assert reason in lines.events("registration.failed")[0]["reason"]
    assert registration.report()["last_error"] is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_its_target_never_sees_the_secret(status):
    with small_gateway() as thief, small_gateway(Says(status, b"{}", location=f"{thief.url}/take")) as gateway:
        registration = _registration(gateway.url)
        with _kept(registration):
            eventually(lambda: len(gateway.received) >= 3)
            report = registration.report()
    assert (thief.received, thief.asked) == ([], [])
    assert (report["state"], f"answered {status}, a redirect" in report["last_error"]) == ("failing", True)


def test_a_gateway_that_refuses_connections_is_found_when_it_comes():
    port = free_port()
    with small_gateway() as ourselves:
        registration = _registration(f"http://127.0.0.1:{port}", public_base_url=ourselves.url)
        with _kept(registration) as lines:
            eventually(lambda: len(lines.events("registration.failed")) >= 3)
            assert "no connection: [Errno" in registration.report()["last_error"]
            with small_gateway(port=port) as gateway:
                eventually(lambda: _registered(registration))
    assert gateway.received[0].document["base_url"] == ourselves.url


def test_a_registration_is_renewed_well_before_the_ttl_ends_and_a_failure_between_costs_nothing():
    with small_gateway(OK, FAILED, OK, FAILED, OK) as gateway:
        registration = _registration(gateway.url, RENEWING)
        with _kept(registration) as lines:
            eventually(lambda: len(lines.events("registration.failed")) == 2)
            first = lines.events("registration.done")[0]["registered_until"]
            eventually(lambda: _registered(registration) and registration.report()["registered_until"] > first)
    assert [line["failures"] for line in lines.events("registration.failed")] == [1, 1], "a success forgets them"
    assert gateway.asked == ["/health"], "the look at itself comes before the first try"


def test_a_failed_renewal_tells_how_long_the_last_registration_lasts():
    with small_gateway(OK, FAILED) as gateway:
        registration = _registration(gateway.url, RENEWING)
        with _kept(registration):
            until = eventually(lambda: registration.report()["registered_until"])
            eventually(lambda: registration.report()["state"] == "failing")
            assert registration.report()["registered_until"] == until


def test_against_a_gateway_that_fails_for_days_the_tries_become_rare_and_never_end():
    pace, ttl = RegistrationPace(), timedelta(seconds=HOURS)
    for failures in range(1, 2000):
        pause = pace.after_failures(failures, ttl).total_seconds()
        middle = min(2 * 2 ** (failures - 1), 300)
        assert middle * 2 / 3 <= pause <= middle * 4 / 3
    assert len({pace.after_failures(99, ttl) for _ in range(20)}) > 10, "no two services come together"
    assert pace.after_failures(99, timedelta(seconds=60)) <= timedelta(seconds=8), "a short TTL leaves time for tries"


@pytest.mark.parametrize(("health", "reason"), [
    (Says(404, b"{}"), "answers 404, and not as this service does"),
    (Says(200, b"<html>", HTML), "answers 200, and not as this service does"),
    (Says(200, b'{"status": "up"}'), "answers 200, and not as this service does"),
    (Says(502, b"bad gateway", HTML), "answers 502, and not as this service does"),
    (Says(301, b"", location="https://elsewhere.example/health"), "answers 301, a redirect"),
    (SLOW, "does not answer: no answer within 0.3 s"),
])  # fmt: skip
def test_a_public_url_that_does_not_lead_here_is_told_clearly_and_not_given_to_the_gateway(health, reason):
    with small_gateway(health=health) as gateway:
        registration = _registration(gateway.url)
        with _kept(registration) as lines:
            eventually(lambda: len(lines.events("registration.unreachable")) >= 2)
            report = registration.report()
            assert (report["state"], gateway.received) == ("failing", [])
            assert report["last_error"].startswith(f"{gateway.url}/health")
            assert reason in report["last_error"]
            gateway.health = HEALTHY
            gateway.gone.set()
            eventually(lambda: _registered(registration))


def test_a_public_url_where_nobody_listens_is_told_clearly():
    with small_gateway() as gateway:
        registration = _registration(gateway.url, public_base_url=f"http://127.0.0.1:{free_port()}")
        with _kept(registration) as lines:
            [line, *_] = eventually(lambda: lines.events("registration.unreachable"))
    assert "does not answer: no connection" in line["reason"]
    assert gateway.received == []


def test_a_service_whose_database_is_away_has_a_public_url_all_the_same():
    with small_gateway(health=Says(503, b'{"status": "unhealthy"}')) as gateway:
        registration = _registration(gateway.url)
        with _kept(registration):
            eventually(lambda: _registered(registration))


def test_the_look_at_itself_can_be_turned_off():
    with small_gateway(health=Says(404)) as gateway:
        registration = _registration(gateway.url, register_self_check=False)
        with _kept(registration):
            eventually(lambda: _registered(registration))
    assert gateway.asked == []


def test_localhost_in_production_is_one_error_in_the_log_and_no_try():
    with small_gateway() as gateway:
        registration = _registration(gateway.url, environment="production")
        with captured_lines() as lines:
            registration.keep(threading.Event())  # returns by itself
    [line] = lines.events()
    assert (line["event"], line["level"], line["outcome"]) == ("registration.refused", "error", "refused")
    report = registration.report()
    assert (report["state"], report["next_try_at"]) == ("refused", None)
    assert gateway.url in report["last_error"] == line["reason"]
    assert (gateway.asked, gateway.received) == ([], [])


@pytest.mark.parametrize("says", [SLOW, FAILED, OK], ids=["during a call", "between tries", "before a renewal"])
def test_the_loop_ends_at_once_whatever_it_waits_for(says):
    patient = RegistrationPace(settle=timedelta(0), deadline=timedelta(minutes=1), backoff=timedelta(minutes=1))
    with small_gateway(says) as gateway:
        with _kept(_registration(gateway.url, patient)) as lines:
            eventually(lambda: gateway.received)
            eventually(lambda: says is SLOW or lines.events())
        assert says is not SLOW or lines.events() == [], "an end is no failure"


def test_a_bug_is_shouted_about_and_the_loop_goes_on(monkeypatch):
    with small_gateway() as gateway:
        registration = _registration(gateway.url)
        monkeypatch.setattr("oncetune.gateway.registration.CONTRACT_VERSION", {1, 2})  # no JSON can be made of it
        with _kept(registration) as lines:
            [line, *_] = eventually(lambda: lines.events("registration.broken"))
            assert registration.report()["state"] == "failing"
            monkeypatch.undo()
            eventually(lambda: _registered(registration))
    assert line["level"] == "error"
