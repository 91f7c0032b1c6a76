"""What may happen to a running system. Each fault begins, lasts, and is over when its function returns; one that needs
somebody at work waits for it, so that what is counted has happened.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import valkey

from oncetune.contracts.topics import DEAD_LETTER, RUN_LIFECYCLE, RUN_REQUESTED
from tests.chaos.quick import LEASE_SECONDS
from tests.chaos.world import World
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
    """Everything in it is gone: streams, groups, what was pending, what nobody had read yet."""
    with _backlog(world) as broker:
        broker.flushall()


def delete_the_groups(world: World, _chance: random.Random) -> None:
    """The consumer groups are gone, and with them how far each had read and what it had not acknowledged."""
    with _backlog(world) as broker:
        for stream, group in _groups(broker):
            broker.xgroup_destroy(stream, group["name"])


def trim_the_streams(world: World, _chance: random.Random) -> None:
    """What nobody had read yet is gone."""
    with _backlog(world) as broker:
        for stream in STREAMS:
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


def broker_of(world: World) -> "valkey.Valkey":
    """For one `with`."""
    return valkey.Valkey(port=world.broker.port, password=world.broker.password, socket_timeout=5)


@contextmanager
def _backlog(world: World) -> "Iterator[valkey.Valkey]":
    """Inside, the sidecars of all consumers stand still, and at least one event was read by none of a group.

    AssertionError when nobody publishes one within a minute.
    """
    consumers = [world.named(name).sidecar for name in world.serving("status") + world.serving("trainer")]
    with broker_of(world) as broker:
        eventually(lambda: _subscribed(broker), seconds=60, every=0.1)
        stopped = [pid for name in consumers if (pid := world.pid(name)) and _signal(pid, signal.SIGSTOP)]
        try:
            eventually(lambda: _unread(broker), seconds=60, every=0.1)
            yield broker
        finally:
            for pid in stopped:
                _signal(pid, signal.SIGCONT)


def _subscribed(broker: "valkey.Valkey") -> bool:
    """Has each topic its groups again, which a fault before this one may have taken?"""
    try:
        return {stream for stream, _ in _groups(broker)} >= {RUN_REQUESTED, RUN_LIFECYCLE}
    except valkey.ConnectionError:
        return False  # it is being started again


def _unread(broker: "valkey.Valkey") -> bool:
    """What a sidecar was sent while it stands still counts as read: it has that, whatever becomes of the broker."""
    return any(
        broker.xrange(stream, min=b"(" + group["last-delivered-id"], count=1) for stream, group in _groups(broker)
    )


def _groups(broker: "valkey.Valkey") -> list[tuple[str, dict[str, Any]]]:
    """Every consumer group, with its stream."""
    return [(stream, group) for stream in STREAMS if broker.exists(stream) for group in broker.xinfo_groups(stream)]


def _at_work(world: World) -> list[tuple[int, int]]:
    """Each trainer with the child that trains: one that looks at the rows or makes a report costs no attempt."""
    trainers = [pid for name in world.serving("trainer") if (pid := world.pid(name))]
    return [(trainer, child) for trainer in trainers for child in _children(trainer) if alive(child) and _trains(child)]


def _trains(child: int) -> bool:
    try:
        command = Path(f"/proc/{child}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"tests.chaos.rows_launcher" not in command and b"oncetune.report" not in command


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
