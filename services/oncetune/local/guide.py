"""What a person reads when the stack is up: where things are, and commands to paste."""

import shlex
import shutil
import sys
from importlib.resources import files
from pathlib import Path

from oncetune.local.up import Stack

_BODY = (
    '{"kb_id": "curl", "exp_name": "first", "hyperparameters": {"max_steps": 2}, "dataset_inline": ['
    '{"prompt": "Where is the library?", "chosen": "Gladly: past the bridge, on the left.", '
    '"rejected": "Find it yourself."}, '
    '{"prompt": "Is it open today?", "chosen": "It is, until six. Enjoy your visit!", "rejected": "Who knows."}]}'
)


def guide(stack: Stack) -> str:
    """Ready to paste from any folder; no secret is shown, only where it is kept."""
    rows = files("oncetune.local.politeness") / "train.jsonl"
    data, folder = shlex.quote(str(stack.data)), _shown(stack.data)
    address = "" if stack.url.endswith(":8080") else f" --url {stack.url}"
    sent_by = "sidecars (daprd) and a valkey broker" if stack.sidecar else "direct hand-over (no daprd)"
    models = ", ".join(f"{name} is {model}" for name, model in stack.models.items())
    logs = _shown(stack.data / "logs")
    program = command()
    return f"""
oncetune is up at {stack.url}. Ctrl-C stops everything; the data stays.

  data      {folder}
  adapters  {_shown(stack.artifacts)}
  logs      {logs}
  events    {sent_by}
  models    here {models}

A first run, with the bundled dataset:

  {program} submit {shlex.quote(str(rows))} \\
    --kb-id first --exp-name polite --set epochs=1 --watch --data {data}{address}

The same door with curl, as a gateway would sign it:

  SECRET=$(cat {data}/secrets/gateway)
  CLAIMS='{{"user_id": "curl", "admin": true}}'
  SIGNATURE=$(printf %s "$CLAIMS" | openssl dgst -sha256 -hmac "$SECRET" -r | cut -d ' ' -f 1)
  curl -s {stack.url}/trigger-finetune -H "X-Novalto-User: $CLAIMS" -H "X-Novalto-Signature: $SIGNATURE" \\
    -H 'Idempotency-Key: first' -H 'content-type: application/json' \\
    -d '{_BODY}'

What became of it:

  {program} runs list --data {data}{address}
"""


def command() -> str:
    """How this very program is called from the current shell."""
    if shutil.which("oncetune"):
        return "oncetune"
    script = Path(sys.executable).with_name("oncetune")
    return shlex.quote(str(script)) if script.exists() else f"{shlex.quote(sys.executable)} -m oncetune.cli"


def _shown(path: Path) -> str:
    """Relative to the current folder where that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
