"""What the chart has to stand on a real API server, step by step. Each returns what was seen, or raises."""

import re
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from tests.cluster.gateway import serves
from tests.cluster.images import NEXT, REVISION
from tests.cluster.kube import Object
from tests.cluster.trial import LONG, SERVICES, Trial
from tests.deadline import eventually

READY_SECONDS = 10.0
MOST_MIB = 150.0
Step = Callable[[Trial], str]


def sidecars_are_injected(trial: Trial) -> str:
    """By Dapr's webhook, in a namespace where Pod Security `restricted` is enforced."""
    for component in SERVICES:
        for pod in trial.kube.pods(component):
            names = [one["name"] for part in ("initContainers", "containers") for one in pod["spec"].get(part, [])]
            assert "daprd" in names, f"{component} has {names}"
    enforced = trial.kube.get("namespace", trial.kube.namespace)["metadata"]["labels"]
    assert enforced["pod-security.kubernetes.io/enforce"] == "restricted"
    return f"{len(SERVICES)} of {len(SERVICES)} services, Pod Security restricted"


def pods_are_small_and_soon_ready(trial: Trial) -> str:
    """A fresh pod of trigger and of status, its schema being there."""
    told = []
    for component in ("trigger", "status"):
        trial.kube("rollout", "restart", f"deployment/oncetune-{component}")
        trial.kube("rollout", "status", f"deployment/oncetune-{component}", "--timeout=120s")
        pod = trial.kube.pods(component)[-1]
        seconds, mib = _seconds_to_ready(pod), _resident_mib(trial, pod, component)
        assert seconds <= READY_SECONDS, f"{component} was ready after {seconds} s"
        assert mib <= MOST_MIB, f"{component} takes {mib} MiB"
        told.append(f"{component} {seconds:.0f} s, {mib:.0f} MiB")
    return "; ".join(told)


def _seconds_to_ready(pod: Object) -> float:
    """From the node's taking it to Ready, in whole seconds as the API server tells them."""
    [became] = [one["lastTransitionTime"] for one in pod["status"]["conditions"] if one["type"] == "Ready"]
    return (datetime.fromisoformat(became) - datetime.fromisoformat(pod["status"]["startTime"])).total_seconds()


def _resident_mib(trial: Trial, pod: Object, container: str) -> float:
    shown = trial.kube("exec", pod["metadata"]["name"], "-c", container, "--", "cat", "/proc/1/status")
    [kib] = [line.split()[1] for line in shown.splitlines() if line.startswith("VmRSS")]
    return int(kib) / 1024


def a_run_comes_in_by_the_ingress(trial: Trial) -> str:
    """A signed trigger to its end, a status read and a cancel, all by Traefik and the rendered Ingress."""
    return _comes_in(trial, "ingress")


def a_run_comes_in_by_the_httproute(trial: Trial) -> str:
    trial.release.upgrade(
        {
            "gateway.ingress.enabled": False,
            "gateway.httpRoute.enabled": True,
            "gateway.httpRoute.parentRefs": [{"name": "traefik"}],
            "gateway.httpRoute.hostnames": ["localhost"],
        }
    )
    assert not trial.kube.get("ingress")["items"]
    serves(trial.url)
    told = _comes_in(trial, "httproute")
    trial.release.upgrade()
    serves(trial.url)
    return told


def _comes_in(trial: Trial, way: str) -> str:
    began = time.monotonic()
    run = trial.completes(trial.ask(f"{way}-run"))
    seconds = time.monotonic() - began
    other = trial.ask(f"{way}-cancel", steps=LONG, end="cancel")
    trial.cancel(other)
    assert trial.ends(other)["status"] == "cancelled"
    trial.at_rest()
    return f"run {run['run_id']} completed in {seconds:.0f} s, another cancelled"


def the_logs_tell_the_story_of_a_run(trial: Trial) -> str:
    """`kubectl logs -l app.kubernetes.io/part-of=oncetune --prefix | grep RUN_ID`"""
    run_id = trial.ask("story")
    trial.completes(run_id)
    lines = [line for line in trial.kube.logs("app.kubernetes.io/part-of=oncetune") if run_id in line]
    told = {component: sum(f"-{component}-" in line.split()[0] for line in lines) for component in SERVICES}
    assert all(told.values()), told
    return ", ".join(f"{count} lines of {component}" for component, count in told.items())


def an_upgrade_migrates_under_load_while_a_run_trains(trial: Trial) -> str:
    """The trainer is replaced: the run goes on from its checkpoint, and nobody who asks notices."""
    images: Mapping[str, object] = {"image.tag": NEXT, "trainer.image.tag": NEXT}
    told = _changes_under_load(trial, "upgrade", lambda: trial.release.upgrade(images))
    assert trial.revision() == REVISION
    return told


def a_rollback_leaves_the_schema_and_goes_on_under_load(trial: Trial) -> str:
    told = _changes_under_load(trial, "rollback", trial.release.rollback)
    assert trial.revision() == REVISION
    return told


def _changes_under_load(trial: Trial, name: str, change: Callable[[], None]) -> str:
    run_id = trial.ask(f"{name}-long", steps=LONG)
    step = trial.trains(run_id)["checkpoint"]["step"]
    began = time.monotonic()
    with trial.questions() as answers, trial.load(f"{name}-load", per_second=0.2):
        change()
        trial.all_ready()
        took = time.monotonic() - began
    run = trial.completes(run_id)
    assert run["attempt"] > 1, f"it was not interrupted at step {step}: {run}"
    healed = trial.at_rest()
    told = ", ".join(f"{count} {answer}" for answer, count in sorted((trial.posted(name) + answers).items()))
    assert all(answer.endswith(": 200") for answer in trial.posted(name) + answers), told
    return (
        f"{took:.0f} s; {told}; the run went on from step {step}, attempt {run['attempt']}; at rest in {healed:.0f} s"
    )


def a_trainer_that_is_killed_loses_no_run(trial: Trial) -> str:
    """Its pod is taken away at once: SIGKILL comes a moment after SIGTERM, before a release or just after one."""
    run_id = trial.ask("killed", steps=LONG)
    step = trial.trains(run_id)["checkpoint"]["step"]
    began = time.monotonic()
    trial.kube("delete", "pod", trial.kube.pod("trainer"), "--grace-period=0", "--force")
    trial.trains(run_id, beyond=step)
    seconds = time.monotonic() - began
    run = trial.completes(run_id)
    assert run["attempt"] == 2, run
    trial.at_rest()
    return f"killed at step {step}, trained on after {seconds:.0f} s, completed in attempt 2"


def a_node_that_is_drained_loses_no_run(trial: Trial) -> str:
    """The only one: everything is evicted, Postgres and the broker too, and comes again when it is uncordoned."""
    run_id = trial.ask("drained", steps=LONG)
    step = trial.trains(run_id)["checkpoint"]["step"]
    node = trial.kube.pods("trainer")[0]["spec"]["nodeName"]
    chosen = "--pod-selector=app.kubernetes.io/part-of=oncetune"
    began = time.monotonic()
    trial.kube("drain", node, "--delete-emptydir-data", "--ignore-daemonsets", chosen, "--timeout=180s")
    drained = time.monotonic() - began
    left = trial.kube.get("pods", "--field-selector=status.phase=Running")["items"]
    assert not left, [pod["metadata"]["name"] for pod in left]
    trial.kube("uncordon", node)
    trial.trains(run_id, beyond=step)
    went_on = time.monotonic() - began - drained
    run = trial.completes(run_id)
    trial.all_ready()
    trial.at_rest()
    return f"drained in {drained:.0f} s at step {step}; went on {went_on:.0f} s after; attempt {run['attempt']}"


def helm_test_passes(trial: Trial) -> str:
    """`oncetune doctor` from inside, and one tiny run of the small model to its end."""
    shown = trial.release.test()
    succeeded = len(re.findall(r"Phase:\s+Succeeded", shown))
    assert succeeded == 2, shown  # the doctor and the run
    return f"{succeeded} pods succeeded"


def an_uninstall_leaves_nothing_but_the_data(trial: Trial) -> str:
    """Nor what was there before; an install on top of it knows every run."""
    runs = len(trial.get("/runs?limit=100")["runs"])
    trial.release.uninstall()
    trial.kube("delete", "pod", "--selector", "app.kubernetes.io/component=test")  # Helm never takes a test away
    left = eventually(lambda: _claims_left(trial), seconds=120, every=1)
    trial.release.upgrade()
    serves(trial.url)
    assert len(trial.get("/runs?limit=100")["runs"]) == runs
    trial.release.uninstall()
    return f"{len(left)} claims left and nothing else; installed again, {runs} runs are there"


def _claims_left(trial: Trial) -> Collection[str] | None:
    """The claims that were not there before the install; None as long as anything else is there that was not."""
    left = trial.kube.everything() - trial.before
    return [name for _, name in left] if {kind for kind, _ in left} == {"PersistentVolumeClaim"} else None


STEPS: tuple[Step, ...] = (
    sidecars_are_injected,
    a_run_comes_in_by_the_ingress,
    a_run_comes_in_by_the_httproute,
    the_logs_tell_the_story_of_a_run,
    pods_are_small_and_soon_ready,
    a_trainer_that_is_killed_loses_no_run,
    an_upgrade_migrates_under_load_while_a_run_trains,
    a_rollback_leaves_the_schema_and_goes_on_under_load,
    a_node_that_is_drained_loses_no_run,
    helm_test_passes,
    an_uninstall_leaves_nothing_but_the_data,
)
