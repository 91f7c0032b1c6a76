"""`oncetune gateway`: the development gateway, and how to use it."""

import shlex
from pathlib import Path

import uvicorn

from oncetune.cli.exits import Failure
from oncetune.cli.output import put
from oncetune.local.credentials import credentials
from oncetune.local.gateway import DevelopmentGateway, create_gateway
from oncetune.local.guide import command
from oncetune.local.preflight import CannotStart, prepare_folder, require_port
from oncetune.local.sidecar import HOST
from oncetune.logs import configure_logs

_LAST_SECONDS = 2  # of calls under way after Ctrl-C: a stream would hold it for ever
_ROW = '{"prompt": "Where is the library?", "chosen": "Past the bridge.", "rejected": "Find it yourself."}'


def serve_gateway(data: Path, port: int) -> None:
    """Serve on 127.0.0.1 until Ctrl-C, with the gateway secret of this data folder, which is made where missing."""
    folder = data.absolute()
    try:
        prepare_folder(folder)
        known = credentials(folder)
        require_port(port)
    except CannotStart as error:
        raise Failure(error.what, error.remedy) from error
    configure_logs("gateway")
    gateway = DevelopmentGateway(known.gateway_secret, known.register_secret)
    put(gateway_guide(gateway, folder, port))
    uvicorn.run(
        create_gateway(gateway),
        host=HOST,
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_LAST_SECONDS,
    )


def gateway_guide(gateway: DevelopmentGateway, data: Path, port: int) -> str:
    """What a service needs to register, and lines to paste. Secrets are named by their file, not shown."""
    url, folder = f"http://{HOST}:{port}", shlex.quote(str(data))
    return f"""
A DEVELOPMENT gateway at {url}: one registration, two callers, no TLS. Ctrl-C stops it.

A service that starts with this environment registers, and again every half minute, also when this gateway was away:

  export DPO_REGISTER_URL={url}/register
  export DPO_REGISTER_SECRET=$(cat {folder}/secrets/register)
  export DPO_GATEWAY_SHARED_SECRET=$(cat {folder}/secrets/gateway)
  export DPO_PUBLIC_BASE_URL=http://{HOST}:8080
  export DPO_SERVICE_TTL_SECONDS=60
  {command()} up --data {folder}

Or register one by hand:

  curl -s $DPO_REGISTER_URL -H "X-DPO-Register-Secret: $DPO_REGISTER_SECRET" -H 'content-type: application/json' \\
    -d '{{"base_url": "'$DPO_PUBLIC_BASE_URL'", "version": "1.0.0", "ttl_seconds": 21600}}'

The callers of this gateway, until it ends (the calls below need ADMIN in their shell):

  export ADMIN={gateway.admin_token}   # may trigger and cancel, sees every run
  export READER={gateway.user_token}  # reads its own runs

The whole way:

  curl -s {url}/finetune/trigger-finetune -H "Authorization: Bearer $ADMIN" -H 'Idempotency-Key: first' \\
    -H 'content-type: application/json' -d '{{"kb_id": "gateway", "exp_name": "first", "dataset_inline": [{_ROW}]}}'
  curl -s {url}/finetune/runs -H "Authorization: Bearer $ADMIN"
"""
