"""Where the sidecar (or the direct hand-over) posts deliveries. Each answer is one of Dapr's three words.

`run.requested` and the dead letters are subscribed here, in code, so that they are there wherever status is served;
`run.lifecycle` is declared in `components/subscriptions.yaml`, where an operator may make it a bulk subscription.
"""

from typing import Annotated

from dapr.ext.fastapi import DaprApp
from fastapi import Depends, FastAPI, Request

from oncetune.contracts.topics import DEAD_LETTER, DEAD_LETTER_ROUTE, PUBSUB, ROUTE, RUN_LIFECYCLE, RUN_REQUESTED
from oncetune.dapr import QUORUM, Reply, delivered, delivered_dead_letter
from oncetune.status.deliveries import read_bulk, read_dead_letter, read_one
from oncetune.status.intake import journal, store_dead_letter

Body = Annotated[bytes, Depends(delivered)]
DeadLetter = Annotated[bytes, Depends(delivered_dead_letter)]
Answer = dict[str, Reply]

_TOPIC_OF_DEAD = {route: topic for topic, route in DEAD_LETTER_ROUTE.items()}
# A dead letter may be anything, also bytes that a sidecar could not parse as an event: it hands them over as they are.
_RAW = {"rawPayload": "true", **QUORUM}


def subscribe(app: FastAPI, dapr: DaprApp) -> None:
    """Add the delivery routes and tell the sidecar of those that it learns from us."""
    dapr.subscribe(
        pubsub=PUBSUB,
        topic=RUN_REQUESTED,
        metadata=QUORUM,
        route=ROUTE[RUN_REQUESTED],
        dead_letter_topic=DEAD_LETTER[RUN_REQUESTED],
    )(receive_one)
    for topic, dead in DEAD_LETTER.items():
        dapr.subscribe(pubsub=PUBSUB, topic=dead, route=DEAD_LETTER_ROUTE[topic], metadata=_RAW)(receive_dead_letter)
    app.add_api_route(ROUTE[RUN_LIFECYCLE], receive_one_or_bulk, methods=["POST"], tags=["PubSub"])


def receive_one(body: Body, request: Request) -> Answer:
    """Journal one event."""
    return {"status": journal(request.app.state.status, RUN_REQUESTED, [read_one(body)])[0]}


def receive_one_or_bulk(body: Body, request: Request) -> Answer | dict[str, list[dict[str, str]]]:
    """Journal one event; or a bulk in one transaction, and answer each entry."""
    entries = read_bulk(body)
    if not entries:
        return {"status": journal(request.app.state.status, RUN_LIFECYCLE, [read_one(body)])[0]}
    replies = journal(request.app.state.status, RUN_LIFECYCLE, [entry.event for entry in entries])
    return {
        "statuses": [
            {"entryId": entry.entry_id, "status": reply} for entry, reply in zip(entries, replies, strict=True)
        ]
    }


def receive_dead_letter(body: DeadLetter, request: Request) -> Answer:
    """Keep a dead letter under the topic that it failed on."""
    topic = _TOPIC_OF_DEAD[request.scope["route"].path]
    return {"status": store_dead_letter(request.app.state.status, topic, read_dead_letter(body))}
