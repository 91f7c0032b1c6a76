"""python -m tests.cluster: the chart on a real API server, from install to uninstall, and a table of what was seen.

For a cluster whose node is this machine, with Dapr installed as k8s/dapr.sh does; kubectl, helm and docker are on the
PATH, KUBECONFIG says where the cluster is, both images are built (`make images`). k8s/README.md has the commands.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from oncetune.migrations.upgrade import head
from tests.chaos.client_journal import ClientJournal
from tests.cluster.gateway import gateway, serves
from tests.cluster.images import load, make_next_version
from tests.cluster.kube import Kube, Object, Release, run
from tests.cluster.steps import STEPS
from tests.cluster.trial import Trial
from tests.training.toy import make_toy_model

ROOT = Path(__file__).parents[2]
VALUES = ("helm/oncetune/profiles/minikube.yaml", "tests/cluster/values.yaml")


def main() -> int:
    """Run every step, or those that were asked for; the exit code."""
    asked = _asked()
    folder = Path(tempfile.mkdtemp(prefix="oncetune-cluster-"))
    print(f"logs in {folder}", flush=True)
    kube = Kube("oncetune")
    release = Release(kube, "oncetune", str(ROOT / "helm/oncetune"), [str(ROOT / file) for file in VALUES])
    if asked.load:
        _tell("both images, and a next version of each, are given to the node", lambda: _images(folder, asked.load))
    kept = True
    with _trial(kube, release, folder) as trial:
        for step in STEPS:
            if not asked.steps or step.__name__ in asked.steps:
                kept = _tell(step.__name__.replace("_", " "), lambda: step(trial)) and kept  # noqa: B023
                if not kept and not asked.go_on:
                    break
    return 0 if kept else 1


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument(
        "--load", metavar="COMMAND", help="gives images to the node, by their names; they are there otherwise"
    )
    parser.add_argument("--go-on", action="store_true", help="after a step that failed")
    parser.add_argument("steps", nargs="*", metavar="STEP", help="a function of tests/cluster/steps.py; all by default")
    return parser.parse_args()


def _tell(what: str, step: Callable[[], str]) -> bool:
    """Print one line of the table."""
    began = time.monotonic()
    try:
        seen, kept = step(), True
    except AssertionError as error:
        seen, kept = f"BROKEN: {error}", False
    print(f"{what:<58}{time.monotonic() - began:>6.0f} s   {seen}", flush=True)
    return kept


def _images(folder: Path, command: str) -> str:
    make_next_version(folder, head())
    load(command)
    return ""


@contextmanager
def _trial(kube: Kube, release: Release, folder: Path) -> Iterator[Trial]:
    """The chart installed, a toy among its models, and the gateway in front."""
    run("kubectl", "apply", "--filename", str(ROOT / "k8s/namespace.yaml"))
    if kube.get("pvc")["items"]:
        sys.exit(f"The oracle wants to know of every run, and there is data: kubectl delete namespace {kube.namespace}")
    run(str(ROOT / "k8s/secrets.sh"), kube.namespace)
    with gateway(kube, folder / "traefik.log") as url, ClientJournal(folder / "client.jsonl") as journal:
        before = kube.everything()
        _tell("installed, every pod is ready", lambda: _installed(release))
        serves(url)
        toy = make_toy_model(folder / "toy")
        (models, artifacts) = (_volume(kube, f"oncetune-{name}") for name in ("models", "artifacts"))
        run("cp", "--recursive", str(toy), str(models))
        run("chmod", "--recursive", "a+rX", str(models / toy.name))  # the pod's user is another
        password = kube.secret("oncetune-postgres", "password")
        yield Trial(
            kube=kube,
            release=release,
            url=url,
            secret=kube.secret("oncetune-gateway", "shared-secret"),
            database_url=f"postgresql://oncetune:{password}@{kube.address('oncetune-postgres')}/oncetune",
            artifacts=artifacts,
            journal=journal,
            log=folder / "client.jsonl",
            before=before,
        )


def _installed(release: Release) -> str:
    release.upgrade()
    return ""


def _volume(kube: Kube, claim: str) -> Path:
    """Its folder on this machine."""
    volume: Object = kube.get("pv", kube.get("pvc", claim)["spec"]["volumeName"])
    return Path(volume["spec"]["hostPath"]["path"])


if __name__ == "__main__":
    sys.exit(main())
