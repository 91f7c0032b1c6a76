"""Trigger and status at two addresses, as in a cluster without a way in from outside."""

import uuid

from tests.cli.small_server import HEALTHY, OPENAPI, SmallServer, small_server

SECRET = "of-the-test-and-long-enough"


def test_each_request_goes_to_the_service_that_knows_it(oncetune, rows):
    run = str(uuid.uuid4())
    ended = {"run_id": run, "status": "completed"}
    trigger = SmallServer(
        {
            "/health": (200, HEALTHY),
            "/openapi.json": (200, OPENAPI),
            "/trigger-finetune": (200, {"run_id": run, "status": "queued"}),
        }
    )
    status = SmallServer({"/runs": (200, {"runs": [ended]}), f"/runs/{run}": (200, ended), "/dead-letters": (200, {})})
    with small_server(trigger), small_server(status):
        known = {"ONCETUNE_URL": f"{trigger.url},{status.url}", "DPO_GATEWAY_SHARED_SECRET": SECRET}
        submitted = oncetune("submit", str(rows), "--kb-id", "kb", "--exp-name", "first", "--watch", **known)
        oncetune("dead-letters", "list", **known)
        oncetune("doctor", **known)
    assert (submitted.returncode, submitted.stdout.split()[0]) == (0, run)
    assert {"POST /trigger-finetune", "GET /health"} <= set(trigger.asked)
    assert {f"GET /runs/{run}", "GET /runs", "GET /dead-letters"} <= set(status.asked)
    assert not [asked for asked in trigger.asked if asked.startswith(("GET /runs", "GET /dead"))]
    assert not [asked for asked in status.asked if asked.startswith("POST")]
