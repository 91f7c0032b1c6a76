"""`python -m tests.chaos.launcher ARMED NAME serve SERVICE …`: the real command, with the crash points in it."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from weakref import WeakSet

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ANSWERS = ("/trigger-finetune", "/events/")  # of the gateway's requests, and of the deliveries


def answer_starts(_path: str) -> None:
    """An answer is decided, and no byte of it has left."""


def answer_ended(_path: str) -> None:
    """The last byte of an answer was given to the kernel."""


def publishes(publish: Any, *args: Any) -> None:
    """One event goes to the sidecar."""
    publish(*args)


def publishes_the_middle_one(*args: Any) -> None:
    """The same, in the middle of a batch of at least four."""
    publishes(*args)


def publishes_a_dataset(*args: Any) -> None:
    """The same, of the event that a dataset is stored."""
    publishes(*args)


def beats_first(renew: Any, *args: Any) -> Any:
    """The first statement of an attempt's heartbeat, and its commit."""
    return renew(*args)


class Answers:
    """Tells when an answer starts and when it has ended."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer_starts(path)
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                answer_ended(path)

        await self._app(scope, receive, told if path.startswith(_ANSWERS) else send)


def _count_publishes() -> None:
    """The relay's publisher, counted from each take: the middle of a batch is a place of its own."""
    import oncetune.trigger.main as trigger
    import oncetune.trigger.relay as relay

    batch = {"taken": 0, "published": 0}
    take, make = relay.take_events, trigger.sidecar_publisher

    def taking(*args: Any) -> Any:
        taken = take(*args)
        batch.update(taken=len(taken), published=0)
        return taken

    def making() -> Any:
        publish = make()

        def counted(topic: str, document: Any, deadline: timedelta) -> None:
            batch["published"] += 1
            middle = batch["taken"] >= 4 and batch["published"] == batch["taken"] // 2
            stored = document["type"] == "run.dataset_stored"
            hands_on = publishes_a_dataset if stored else publishes_the_middle_one if middle else publishes
            hands_on(publish, topic, document, deadline)

        return counted

    relay.take_events, trigger.sidecar_publisher = taking, making


def _launch_rows(armed: str) -> None:
    """The trainer's program for rows has crash points of its own."""
    import oncetune.trainer.preparation as preparation

    preparation._PROGRAM = (sys.executable, "-P", "-m", "tests.chaos.rows_launcher", armed)


def _tell_first_beats() -> None:
    """Apart from those that follow: an attempt has one heartbeat, and many beats."""
    from oncetune.trainer.heartbeat import Heartbeat

    renew, begun = Heartbeat._renew, WeakSet[Heartbeat]()

    def renewing(heartbeat: Heartbeat) -> None:
        if heartbeat in begun:
            renew(heartbeat)
        else:
            begun.add(heartbeat)
            beats_first(renew, heartbeat)

    Heartbeat._renew = renewing  # type: ignore[method-assign]


def main() -> None:
    """Wrap, then run the ordinary command line in this very process."""
    armed, name, *words = sys.argv[1:]
    service = words[1]
    import oncetune.serve
    from oncetune.cli.main import app
    from tests.chaos.crash_points import install
    from tests.chaos.sleeping import sleep_below_libfaketime

    sleep_below_libfaketime()
    if service == "trigger":
        _count_publishes()
    elif service == "trainer":
        _tell_first_beats()
        _launch_rows(armed)
    install(Path(armed), name, service)
    create = oncetune.serve.create_app
    oncetune.serve.create_app = lambda *args, **kwargs: Answers(create(*args, **kwargs))
    sys.argv = ["oncetune", *words]
    app()


if __name__ == "__main__":
    sys.modules["tests.chaos.launcher"] = sys.modules["__main__"]  # the points wrap the functions that run
    main()
