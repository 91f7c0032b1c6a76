"""What may happen to a running system. Each fault begins, lasts, and is over when its function returns; one that needs
somebody at work waits for it, so that what is counted has happened.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import valkey

from oncetune.contracts.topics import DEAD_LETTER, RUN_LIFECYCLE, RUN_REQUESTED
from tests.chaos.world import LEASE_SECONDS, World
from tests.deadline import eventually
from tests.trainer.working import alive

Fault = Callable[[World, random.Random], None]
STREAMS = (RUN_REQUESTED, RUN_LIFECYCLE, *DEAD_LETTER.values())


def pause(seconds: float) -> None:
    """For so long, whatever happens."""
    threading.Event().wait(seconds)


def kill_a_process(world: World, chance: random.Random) -> None:
    """SIGKILL, to any program but Postgres; it is started again at once."""
    eventually(lambda: world.kill(chance.choice(sorted(set(world.processes.pids()) - {"postgres"}))))


def kill_a_child(world: World, chance: random.Random) -> None:
    """SIGKILL to a training child that is at work."""
    eventually(lambda: (at_work := _at_work(world)) and _signal(chance.choice(at_work)[1], signal.SIGKILL), seconds=60)


def stop_a_trainer(world: World, chance: random.Random) -> None:
    """SIGSTOP for twice the lease, then SIGCONT: a zombie that believes in its lease."""
    trainer, _ = chance.choice(eventually(lambda: _at_work(world), seconds=60))
    try:
        _signal(trainer, signal.SIGSTOP)
        pause(2 * LEASE_SECONDS)
    finally:
        _signal(trainer, signal.SIGCONT)


def restart_postgres(world: World, _chance: random.Random) -> None:
    """An immediate shutdown: no checkpoint, recovery at the next start."""
    before = world.pid("postgres")
    world.kill("postgres", signal.SIGQUIT)
    eventually(lambda: world.pid("postgres") not in (None, before), seconds=30)
    world.await_database()


def terminate_backends(world: World, _chance: random.Random) -> None:
    """Every connection is cut, in the middle of whatever it does."""
    world.administer("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")


def wipe_the_broker(world: World, _chance: random.Random) -> None:
    """Everything in it is gone: streams, groups, what was pending."""
    with _broker(world) as broker:
        broker.flushall()


def delete_the_groups(world: World, _chance: random.Random) -> None:
    """The consumer groups are gone, and with them what was read and not acknowledged."""
    with _broker(world) as broker:
        for stream in STREAMS:
            if broker.exists(stream):
                for group in broker.xinfo_groups(stream):
                    broker.xgroup_destroy(stream, group["name"])


def trim_the_streams(world: World, _chance: random.Random) -> None:
    """What nobody has read yet is gone."""
    with _broker(world) as broker:
        for stream in STREAMS:
            if broker.exists(stream):
                broker.xtrim(stream, maxlen=0, approximate=False)


def away(program: str, seconds: float) -> Fault:
    """The program is down for so long: whenever it comes up, it is killed again."""

    def fault(world: World, _chance: random.Random) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            world.kill(program)
            pause(0.05)

    fault.__name__ = f"{program} away for {seconds:.0f} s"
    return fault


def _broker(world: World) -> "valkey.Valkey":
    return valkey.Valkey(port=world.broker.port, password=world.broker.password, socket_timeout=5)


def _at_work(world: World) -> list[tuple[int, int]]:
    """Each trainer with its child."""
    trainers = [pid for name in world.serving("trainer") if (pid := world.pid(name))]
    return [(trainer, child) for trainer in trainers for child in _children(trainer) if alive(child)]


def _children(pid: int) -> list[int]:
    """Of every thread: the one that started a child is its parent as far as the kernel tells."""
    found: list[int] = []
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has just ended
    return found


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


FAULTS: tuple[Fault, ...] = (
    kill_a_process,
    kill_a_child,
    stop_a_trainer,
    restart_postgres,
    terminate_backends,
    wipe_the_broker,
    delete_the_groups,
    trim_the_streams,
    away("status", 5),
    away("daprd-status", 5),
    away("daprd-trigger", 5),
)
