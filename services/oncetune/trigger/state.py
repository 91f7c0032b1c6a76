"""What trigger's routes and loops share; made once in `main.py`."""

import asyncio
import threading
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import timedelta
from weakref import WeakValueDictionary

from sqlalchemy import Engine

from oncetune.trigger.settings import TriggerSettings

LOCK_TIMEOUT = timedelta(seconds=5)  # as long as the contract lets a request wait for its twin


@dataclass
class TriggerState:
    """`engine` serves the routes; the loops have a small one of their own, so that no rush of requests starves them."""

    settings: TriggerSettings
    engine: Engine
    seats: asyncio.Semaphore
    readers: asyncio.Semaphore  # bodies that are parsed at once
    download_seats: asyncio.Semaphore
    public_url: str | None = None  # without a slash at its end
    turns: MutableMapping[tuple[str, str], asyncio.Lock] = field(default_factory=WeakValueDictionary)  # by user and key
    wake_relay: threading.Event = field(default_factory=threading.Event)
