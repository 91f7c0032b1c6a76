"""Topics, routes and application ids: the names that `components/`, the relay and the subscribers share."""

PUBSUB = "oncetune"  # the name of the pub/sub component in components/brokers/*/pubsub.yaml

RUN_REQUESTED = "run.requested"  # to trainers (a hint to claim) and to the journal
RUN_LIFECYCLE = "run.lifecycle"  # to the journal: everything that happens to a run after its request
DEAD_LETTER = {RUN_REQUESTED: "run.requested.dead", RUN_LIFECYCLE: "run.lifecycle.dead"}

# Where a sidecar (or the direct hand-over) posts a delivery.
ROUTE = {RUN_REQUESTED: "/events/run-requested", RUN_LIFECYCLE: "/events/run-lifecycle"}
DEAD_LETTER_ROUTE = {RUN_REQUESTED: "/events/dead/run-requested", RUN_LIFECYCLE: "/events/dead/run-lifecycle"}


def topic_of(event_type: str) -> str:
    """The topic that carries an event of this type."""
    return RUN_REQUESTED if event_type == "run.requested" else RUN_LIFECYCLE


def app_id(services: tuple[str, ...]) -> str:
    """The Dapr application id of a process that serves these services, in their fixed order."""
    order = ("trigger", "status", "trainer")
    return "oncetune-" + "-".join(sorted(services, key=order.index))
