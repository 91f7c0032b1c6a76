"""Where the gateway finds this service, and which settings of the registration are refused by name."""

import pytest
from pydantic import SecretStr, ValidationError

from oncetune.gateway.registration import (
    RegistrationSettings,
    public_base_url,
    public_url_problem,
    registration_problems,
)

GOOD = {
    "register_url": "https://gateway.example/api/register",
    "register_secret": SecretStr("the-register-secret"),
    "public_base_url": "https://tuning.example",
}


def _problem(**fields) -> str:
    [problem] = registration_problems(RegistrationSettings(**{**GOOD, **fields}))
    return problem


def test_settings_that_make_sense_have_no_problem_and_registration_off_neither():
    assert registration_problems(RegistrationSettings(**GOOD)) == ()
    assert registration_problems(RegistrationSettings()) == ()


def test_a_pods_proxy_url_is_derived_from_its_id_and_the_port():
    pod = RegistrationSettings(runpod_pod_id="abc123xyz", port=8188)
    assert public_base_url(pod) == "https://abc123xyz-8188.proxy.runpod.net"
    assert public_url_problem(pod) is None


def test_a_public_url_that_is_set_goes_before_the_pods_and_loses_its_last_slash():
    settings = RegistrationSettings(runpod_pod_id="abc", public_base_url=" https://tuning.example/v1/ ")
    assert public_base_url(settings) == "https://tuning.example/v1"


def test_without_a_public_url_and_a_pod_there_is_none_and_that_is_refused_by_name():
    assert public_base_url(RegistrationSettings()) is None
    assert _problem(public_base_url=None).startswith("DPO_PUBLIC_BASE_URL is missing")


def test_an_address_of_a_pod_is_refused_because_it_is_never_reached_directly():
    problem = _problem(runpod_pod_id="abc", public_base_url="http://203.0.113.7:40123", port=8188)
    assert "https://abc-8188.proxy.runpod.net" in problem
    assert registration_problems(RegistrationSettings(**GOOD, runpod_pod_id="abc")) == ()


NEAR = [
    "localhost", "LOCALHOST", "localhost.", "api.localhost", "localhost.localdomain", "127.0.0.1", "127.9.9.9", "127.1",
    "2130706433", "0x7f000001", "0.0.0.0", "0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "169.254.1.1", "[fe80::1]",
    "laptop", "laptop.local", "printer.lan", "nas.home.arpa", "host.docker.internal",
]  # fmt: skip


@pytest.mark.parametrize("host", NEAR)
def test_a_url_that_means_another_machine_everywhere_is_refused_by_name_in_production_only(host):
    url = f"http://{host}:8080"
    problem = _problem(public_base_url=url, environment="production")
    assert problem.startswith(f"DPO_PUBLIC_BASE_URL is {url}")
    local = RegistrationSettings(**{**GOOD, "public_base_url": url}, environment="local")
    assert registration_problems(local) == ()


@pytest.mark.parametrize("host", [
    "tuning.example", "localhost.example", "203.0.113.7", "10.0.0.7", "[2001:db8::1]", "tuning.ns.svc.cluster.local",
    "mylocal.example", "127.0.0.1.nip.example",
])  # fmt: skip
def test_a_url_that_the_gateway_may_reach_is_good_in_production(host):
    settings = RegistrationSettings(**{**GOOD, "public_base_url": f"http://{host}:8080"}, environment="production")
    assert registration_problems(settings) == ()


NOT_URLS = [
    "tuning.example", "ftp://tuning.example", "https://", "https://:443", "https://a b", "https://tuning.example:x",
    "https://tuning.example:0", "https://tuning.example:99999", "https://user:pass@tuning.example", "https://[::1",
    "https://a\\@localhost", "https://tuning\n.example", "https://exämple.de", "https://" + "a" * 3000,
    "//tuning.example",
]  # fmt: skip


@pytest.mark.parametrize("url", [*NOT_URLS, "https://tuning.example?x=1", "https://tuning.example#x"])
def test_a_public_url_that_is_none_is_refused_by_name(url):
    assert _problem(public_base_url=url).startswith("DPO_PUBLIC_BASE_URL is not a URL")


@pytest.mark.parametrize("url", NOT_URLS)
def test_a_register_url_that_is_none_is_refused_by_name_and_not_shown(url):
    assert _problem(register_url=url) == "DPO_REGISTER_URL is not a URL of the form https://host[:port]/path"


@pytest.mark.parametrize(
    "secret", ["the-secret\n", " the-secret", "the\r\nsecret", "the-sécret", "\x00", "the\x7fsecret"]
)
def test_a_secret_that_cannot_stand_in_a_header_is_refused_by_name_and_not_shown(secret):
    problem = _problem(register_secret=SecretStr(secret))
    assert problem.startswith("DPO_REGISTER_SECRET cannot")
    assert secret not in problem


def test_every_other_wrong_setting_is_refused_by_name_and_all_are_told_at_once():
    assert _problem(register_secret=None).startswith("DPO_REGISTER_SECRET is missing")
    for seconds in (-1, 0, 59, 10**9):
        assert _problem(service_ttl_seconds=seconds).startswith("DPO_SERVICE_TTL_SECONDS is")
    assert _problem(public_base_url=None, runpod_pod_id="a.b/").startswith("RUNPOD_POD_ID is not")
    wrong = RegistrationSettings(register_url="x", service_ttl_seconds=1)
    assert len(registration_problems(wrong)) == 4


def test_the_names_of_the_settings_are_the_contracts_and_an_empty_variable_is_unset(monkeypatch):
    for name, value in {
        "DPO_REGISTER_URL": "https://gateway.example/register", "DPO_REGISTER_SECRET": "s3cret-of-ours",
        "DPO_PUBLIC_BASE_URL": "", "DPO_SERVICE_TTL_SECONDS": "3600", "RUNPOD_POD_ID": "abc", "ONCETUNE_PORT": "9001",
        "ONCETUNE_ENVIRONMENT": "local",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    settings = RegistrationSettings()
    assert registration_problems(settings) == ()
    assert public_base_url(settings) == "https://abc-9001.proxy.runpod.net"
    assert (settings.service_ttl_seconds, settings.environment) == (3600, "local")
    assert "s3cret" not in repr(settings)
    monkeypatch.setenv("DPO_REGISTER_URL", "")
    assert RegistrationSettings().register_url is None


def test_a_value_of_the_wrong_type_is_no_start_error(monkeypatch):
    from oncetune.serve import check_settings

    monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere")
    monkeypatch.setenv("DPO_GATEWAY_SHARED_SECRET", "a-secret-of-the-tests-only")
    monkeypatch.setenv("DPO_SERVICE_TTL_SECONDS", "soon")
    check_settings(("trigger",))
    with pytest.raises(ValidationError):
        RegistrationSettings()
