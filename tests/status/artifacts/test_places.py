"""Where links lead: to this service, its public URL or a bucket, as the settings say."""

import hashlib
import time

import httpx
import pytest

from oncetune.artifacts.bucket import BucketStore
from oncetune.artifacts.links import Links
from oncetune.artifacts.store import Bucket
from oncetune.serve import BadService, check_settings
from tests.serving import SECRET, free_port, serving, signed
from tests.status.artifacts.given import REPORT, completed, links


def test_links_begin_with_the_public_url_where_there_is_one(monkeypatch, database_url, engine, root, run_id):
    environment = {
        "ONCETUNE_ARTIFACTS": str(root),
        "DPO_PUBLIC_BASE_URL": "https://finetuning.example.com/base/",
        "ONCETUNE_STATUS_URL_LIFETIME": "P7D",
    }
    with serving(monkeypatch, "status", database_url=database_url, environment=environment) as status:
        told = links(status, run_id)
        assert told["logs_url"].startswith(f"https://finetuning.example.com/base/artifacts/{run_id}/1/training.log?")
        assert abs(told["expires_at"] - time.time() - 7 * 86_400) < 60
        here = told["logs_url"].removeprefix("https://finetuning.example.com/base")
        assert status.get(here).status_code == 200


def test_a_status_that_was_not_told_where_results_are_has_no_links_and_says_so(monkeypatch, database_url, run_id):
    with serving(monkeypatch, "status", database_url=database_url) as status:
        assert links(status, run_id) == {}
        assert status.get("/health").json()["artifacts"] == "not set"
        signed_here = Links.of_secrets([SECRET]).signed(f"/artifacts/{run_id}/1/training.log", expires=9_999_999_999)
        assert status.get(signed_here).status_code == 404


def test_links_into_a_bucket_are_its_own_and_give_its_objects(monkeypatch, database_url, engine, tmp_path, s3):
    environment = {"ONCETUNE_ARTIFACTS": "s3://results/of", "ONCETUNE_STATUS_URL_LIFETIME": "PT2M"}
    store = BucketStore(Bucket("results", "of"))
    with serving(monkeypatch, "status", database_url=database_url, environment=environment) as status:
        run_id = completed(engine, store, tmp_path / "staging")
        told = links(status, run_id)
        assert told["report_url"].startswith(f"http://127.0.0.1:{s3.port}/results/of/{run_id}/1/report.html?")
        assert "X-Amz-Expires=120&" in told["report_url"]
        report = httpx.get(told["report_url"], trust_env=False)
        assert (report.text, report.headers["content-type"]) == (REPORT, "text/html; charset=utf-8")
        for file in told["files"]:
            content = httpx.get(file["url"], trust_env=False).content
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
        assert status.get("/health").json()["artifacts"] == "s3"
        path = Links.of_secrets([SECRET]).signed(f"/artifacts/{run_id}/1/report.html", expires=9_999_999_999)
        assert status.get(path).status_code == 404, "status itself hands out nothing of a bucket"


def test_a_bucket_whose_links_cannot_be_signed_is_a_503_with_a_sentence(
    monkeypatch, database_url, engine, root, run_id
):
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with serving(
        monkeypatch, "status", database_url=database_url, environment={"ONCETUNE_ARTIFACTS": "s3://results"}
    ) as status:
        answer = status.get(f"/runs/{run_id}/artifacts", headers=signed())
    assert (answer.status_code, answer.json()["code"]) == (503, "artifacts_unavailable")
    assert answer.headers["retry-after"] == "5"


@pytest.mark.parametrize("lifetime", ["P8D", "PT0S", "-PT1H", "soon"])
def test_a_lifetime_that_nobody_would_sign_for_is_refused_at_the_start(monkeypatch, lifetime):
    monkeypatch.setenv("ONCETUNE_STATUS_URL_LIFETIME", lifetime)
    with pytest.raises(BadService, match="ONCETUNE_STATUS_URL_LIFETIME"):
        check_settings(("status",))


@pytest.mark.parametrize("place", ["s3://", "gs://results", "s3://results/../others"])
def test_an_address_of_results_that_means_nothing_is_refused_at_the_start(monkeypatch, place):
    monkeypatch.setenv("ONCETUNE_ARTIFACTS", place)
    for service in ("status", "trainer"):
        with pytest.raises(BadService, match=r"ONCETUNE_ARTIFACTS: .*s3://bucket/prefix"):
            check_settings((service,))
