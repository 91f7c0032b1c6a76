"""Trainers put results where status finds them, and a bucket's credentials are only ever references."""

from typing import Any

import pytest

from tests.helm.chart import Object, environment, named, objects, over, profile, render

PLACE = "/var/lib/oncetune/artifacts"
S3 = {"bucket": "results", "prefix": "of/oncetune", "endpoint": "http://minio.storage:9000", "existingSecret": "keys"}


def values(**artifacts: Any) -> Object:
    """The external profile with these results in place of its own."""
    own = {"store": "folder", "s3": {"bucket": "", "region": "", "existingSecret": ""}}
    return over(profile("external", artifacts=own), {"artifacts": artifacts})


def pod(found: list[Object], service: str) -> Object:
    return dict(named(found, "Deployment", f"oncetune-{service}")["spec"]["template"]["spec"])


def mounts(found: list[Object], service: str) -> dict[str, Any]:
    """The volumes of a pod's own container by the place where they are."""
    [container] = pod(found, service)["containers"]
    return {one["mountPath"]: one for one in container["volumeMounts"]}


def test_a_bucket_is_told_to_trainer_and_status_and_its_keys_are_references():
    found = objects(values(store="s3", s3={**S3, "publicEndpoint": "https://s3.example.com"}))
    for service, endpoint in (("trainer", S3["endpoint"]), ("status", "https://s3.example.com")):
        read = environment(found, service)
        assert read["ONCETUNE_ARTIFACTS"]["value"] == "s3://results/of/oncetune"
        assert read["AWS_ENDPOINT_URL"]["value"] == endpoint, "links are for those outside"
        for name, key in (("AWS_ACCESS_KEY_ID", "access-key-id"), ("AWS_SECRET_ACCESS_KEY", "secret-access-key")):
            assert read[name]["valueFrom"]["secretKeyRef"] == {"name": "keys", "key": key}
    assert not [name for name in environment(found, "trigger") if name.startswith("AWS_")]
    assert environment(found, "trainer")["ONCETUNE_TRAINER_CHECKPOINTS"]["value"] == PLACE
    assert PLACE in mounts(found, "trainer"), "checkpoints stay on a disk"
    assert PLACE not in mounts(found, "status")


def test_a_bucket_without_a_secret_leaves_credentials_to_the_cluster():
    read = environment(objects(values(store="s3", s3={"bucket": "results"})), "trainer")
    assert read["ONCETUNE_ARTIFACTS"]["value"] == "s3://results"
    assert not [name for name in read if name.startswith("AWS_")]


@pytest.mark.parametrize("claim", ["", "theirs"])
def test_a_folder_is_mounted_into_status_read_only_where_the_user_says_so(claim):
    more = {"trainer": {"artifacts": {"existingClaim": claim}}}
    found = objects({**values(inStatus=True), "trainer": {**values()["trainer"], **more["trainer"]}})
    assert environment(found, "status")["ONCETUNE_ARTIFACTS"]["value"] == PLACE
    assert mounts(found, "status")[PLACE]["readOnly"] is True
    claims = {
        service: next(one for one in pod(found, service)["volumes"] if one["name"] == "artifacts")
        for service in ("status", "trainer")
    }
    wanted = claim or "oncetune-artifacts"
    assert {one["persistentVolumeClaim"]["claimName"] for one in claims.values()} == {wanted}
    assert PLACE not in mounts(found, "trigger")


def test_without_a_word_status_mounts_nothing_and_the_notes_say_that_there_are_no_links():
    found = objects(values())
    assert "ONCETUNE_ARTIFACTS" not in environment(found, "status")
    assert PLACE not in mounts(found, "status")
    [notes] = [text for path, text in render(values()).items() if path.endswith("NOTES.txt")]
    assert "No run has links to its results" in notes
    [notes] = [text for path, text in render(values(inStatus=True)).items() if path.endswith("NOTES.txt")]
    assert "No run has links" not in notes


def test_links_begin_with_the_address_that_the_gateway_was_told():
    read = environment(objects(profile("external")), "status")
    assert read["DPO_PUBLIC_BASE_URL"]["value"] == "https://oncetune.example.com"


@pytest.mark.parametrize(("tls", "told"), [("", None), ("oncetune-tls", {"value": "https://tune.example.com"})])
@pytest.mark.parametrize("together", [False, True])
def test_links_begin_with_https_where_the_ingress_has_a_certificate(tls, told, together):
    ingress = {"enabled": True, "host": "tune.example.com", "tlsSecret": tls}
    chosen = profile("external", gateway={"ingress": ingress, "httpRoute": {"enabled": False}}, together=together)
    assert chosen["trigger"]["settings"].pop("DPO_PUBLIC_BASE_URL")
    for component in ("api",) if together else ("trigger", "status"):
        read = environment(objects(chosen), component)
        assert read.get("DPO_PUBLIC_BASE_URL") == (told and {"name": "DPO_PUBLIC_BASE_URL", **told})


def test_the_notes_tell_where_nobody_says_what_links_begin_with():
    without = profile("external")
    without["trigger"]["settings"].pop("DPO_PUBLIC_BASE_URL")
    for chosen, told in ((without, True), (profile("external"), False)):
        [notes] = [text for path, text in render(chosen).items() if path.endswith("NOTES.txt")]
        assert ("Links to results and datasets begin with http" in notes) == told
