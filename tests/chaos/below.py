"""Faults of what the system stands on: its network, its deliveries, a clock, its disks. See tests/chaos/ground.py."""

import random
import threading
from contextlib import ExitStack, suppress

import psycopg

from tests.chaos.clocks import CACHE_SECONDS
from tests.chaos.deliveries import Mood
from tests.chaos.faults import Fault
from tests.chaos.ground import Part, missing_parts
from tests.chaos.quick import LEASE_SECONDS
from tests.chaos.world import World

CLOCK_OFF_SECONDS = 300
CUT_SECONDS = 12.0  # longer than a connection to the database lives unanswered (tcp_user_timeout, 8 s)


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def lost_packets(world: World, chance: random.Random) -> None:
    """Three in ten, both ways, on all lines of one service: to the database, to the broker, from its sidecar."""
    assert world.ground.network
    with ExitStack() as until:
        for port in world.ground.lines[_one_service(world, chance)].ports:
            until.enter_context(world.ground.network.dropping(port, share=0.3))
        _pause(3 * LEASE_SECONDS)


def one_way_packets(world: World, chance: random.Random) -> None:
    """All of one direction, on all lines of one service: questions without answers, or answers to nobody."""
    assert world.ground.network
    arriving = chance.random() < 0.5
    with ExitStack() as until:
        for port in world.ground.lines[_one_service(world, chance)].ports:
            one_way = world.ground.network.dropping(port, share=1, arriving=arriving, leaving=not arriving)
            until.enter_context(one_way)
        _pause(chance.uniform(LEASE_SECONDS, CUT_SECONDS))


def cut_lines(world: World, chance: random.Random) -> None:
    """All packets, on all lines of one service: no FIN, no RST, and each end finds out by itself or never."""
    assert world.ground.network
    with ExitStack() as until:
        for port in world.ground.lines[_one_service(world, chance)].ports:
            until.enter_context(world.ground.network.dropping(port, share=1))
        _pause(CUT_SECONDS)


def late_and_doubled_deliveries(world: World, chance: random.Random) -> None:
    """Each up to three seconds late, so in another order; half of them twice, and half of these at the same time."""
    with ExitStack() as until:
        for line in world.ground.lines.values():
            mood = Mood(late=3.0, twice=0.5, at_once=0.5, seed=chance.randrange(1 << 32))
            until.enter_context(line.deliveries.feeling(mood))
        _pause(6)


def jumping_clock(world: World, chance: random.Random) -> None:
    """A trainer's clock is five minutes off, jumps by ten to the other side, and is right again."""
    clock = world.ground.clocks[chance.choice(sorted(world.ground.clocks))]
    off = chance.choice((CLOCK_OFF_SECONDS, -CLOCK_OFF_SECONDS))
    try:
        for seconds in (off, -off):
            clock.set(seconds)
            _pause(CACHE_SECONDS + LEASE_SECONDS)
    finally:
        clock.set(0)


def full_artifacts(world: World, _chance: random.Random) -> None:
    """The disk of the adapters has no room, for longer than a lease."""
    with world.ground.disks["artifacts"].full():
        _pause(2 * LEASE_SECONDS)


def full_postgres(world: World, chance: random.Random) -> None:
    """The database's disk has no room: tables cannot grow; by chance its log cannot either, and the server dies."""
    with world.ground.disks["postgres"].full():
        if chance.random() < 0.5:
            with suppress(psycopg.Error):
                world.administer("SELECT pg_switch_wal()")
        _pause(2 * LEASE_SECONDS)
    world.await_database()


# Each fault, and the part of the ground that it breaks; None: it can be had everywhere.
BELOW: dict[Fault, Part | None] = {
    late_and_doubled_deliveries: None,
    jumping_clock: Part.CLOCKS,
    lost_packets: Part.NETWORK,
    one_way_packets: Part.NETWORK,
    cut_lines: Part.NETWORK,
    full_artifacts: Part.DISKS,
    full_postgres: Part.DISKS,
}


def offered() -> tuple[Fault, ...]:
    """Those that this machine can have."""
    missing = missing_parts()
    return tuple(fault for fault, part in BELOW.items() if part not in missing)


def _one_service(world: World, chance: random.Random) -> str:
    return chance.choice(sorted(world.ground.lines))
