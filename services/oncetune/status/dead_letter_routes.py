"""HTTP for admins: look at dead letters, and decide about each: replay it, or discard it."""

import re
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from oncetune.contracts.envelope import Envelope, UnreadableEvent, read_event
from oncetune.gateway.callers import AdminCaller
from oncetune.gateway.errors import Refusal
from oncetune.postgres import transaction
from oncetune.status.answers import BAD_CURSOR
from oncetune.status.cursor import cursor_pattern, read_cursor, write_cursor
from oncetune.status.dead_letter_answers import (
    ID_PATTERN,
    NO_LETTER,
    NO_REPLAY,
    TOPIC,
    DeadEvent,
    DecisionAnswer,
    LetterAnswer,
    LettersAnswer,
    WholeLetterAnswer,
)
from oncetune.status.dead_letters import Decision, Letter, NoEvent, decide, find_letter, list_letters
from oncetune.status.journal import Outcome
from oncetune.status.tables import DeadLetterDecision

dead_letter_routes = APIRouter(tags=["dead letters"])

_CURSOR = cursor_pattern(f"[0-9a-f]{{64}}:{TOPIC}")
LetterId = Annotated[str, Path(json_schema_extra={"pattern": ID_PATTERN})]  # another word is no letter: 404
Cursor = Annotated[str, Field(json_schema_extra={"pattern": _CURSOR})]  # told, not checked by it: 400 has its own code


@dead_letter_routes.get("/dead-letters", response_model_exclude_none=True, responses=BAD_CURSOR)
def show_dead_letters(
    _caller: AdminCaller,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    status: Annotated[Literal["open", "all"], Query(description="open: not decided yet")] = "open",
    cursor: Cursor | SkipJsonSchema[None] = None,
) -> LettersAnswer:
    """The newest dead letters. `next_cursor` is there while there may be more: give it as `cursor`, same `status`."""
    before = None if cursor is None else _place(cursor)
    with transaction(request.app.state.status) as session:
        letters = list_letters(session, limit=limit, undecided=status == "open", before=before)
    more = write_cursor(letters[-1].received_at, _id(letters[-1])) if len(letters) == limit else None
    return LettersAnswer(dead_letters=[LetterAnswer(**_told(letter)) for letter in letters], next_cursor=more)


@dead_letter_routes.get("/dead-letters/{letter_id}", response_model_exclude_none=True, responses=NO_LETTER)
def show_dead_letter(letter_id: LetterId, _caller: AdminCaller, request: Request) -> WholeLetterAnswer:
    """Why it failed, when, and the event that it is; never its bytes."""
    with transaction(request.app.state.status) as session:
        found = find_letter(session, *_named(letter_id))
    if found is None:
        raise _unknown()
    letter, event = found
    return WholeLetterAnswer(**_told(letter), event=_event(event) if isinstance(event, Envelope) else None)


@dead_letter_routes.post("/dead-letters/{letter_id}/replay", response_model_exclude_none=True, responses=NO_REPLAY)
def replay_dead_letter(letter_id: LetterId, caller: AdminCaller, request: Request) -> DecisionAnswer:
    """Offer the event to the journal once. Asked again, or of a discarded letter, it answers what was decided."""
    try:
        return _decide(request, letter_id, Decision.REPLAYED, caller.user_id)
    except NoEvent as reason:
        detail = f"This dead letter is no event of a run ({reason}), so it can only be discarded"
        raise Refusal(422, "no_event", detail) from reason


@dead_letter_routes.post("/dead-letters/{letter_id}/discard", response_model_exclude_none=True, responses=NO_LETTER)
def discard_dead_letter(letter_id: LetterId, caller: AdminCaller, request: Request) -> DecisionAnswer:
    """Record that it was looked at; its bytes stay. Asked again, or after a replay, it answers what was decided."""
    return _decide(request, letter_id, Decision.DISCARDED, caller.user_id)


def _decide(request: Request, letter_id: str, decision: Decision, user_id: str) -> DecisionAnswer:
    decided = decide(request.app.state.status, *_named(letter_id), decision, decided_by=user_id)
    if decided is None:
        raise _unknown()
    return _answer(decided)


def _unknown() -> Refusal:
    return Refusal(404, "dead_letter_not_found", "There is no such dead letter")


def _id(letter: Letter) -> str:
    return f"{letter.sha256}:{letter.topic}"


def _named(letter_id: str) -> tuple[str, str]:
    """Topic and SHA-256; raises Refusal 404."""
    if re.fullmatch(ID_PATTERN, letter_id) is None:
        raise _unknown()
    sha256, _, topic = letter_id.partition(":")
    return topic, sha256


def _place(cursor: str) -> tuple[datetime, str, str]:
    received_at, letter_id = read_cursor(cursor, _CURSOR)
    topic, sha256 = _named(letter_id)
    return received_at, sha256, topic


def _told(letter: Letter) -> dict[str, object]:
    return {
        "id": _id(letter),
        "topic": letter.topic,
        "reason": letter.reason,
        "size": letter.size,
        "received_at": letter.received_at.isoformat(),
        "decision": _answer(letter.decision) if letter.decision else None,
    }


def _answer(decided: DeadLetterDecision) -> DecisionAnswer:
    return DecisionAnswer(
        decision=Decision(decided.decision),
        outcome=Outcome(decided.outcome) if decided.outcome else None,
        decided_by=decided.decided_by,
        decided_at=decided.decided_at.isoformat(),
    )


def _event(envelope: Envelope) -> DeadEvent:
    """Only the fields that events of its type have: what else the bytes hold might be anything."""
    try:
        known = read_event(envelope).model_dump(mode="json", exclude_none=True)
    except UnreadableEvent:
        known = {}
    beside = ("event_id", "run_id", "position", "type")
    return DeadEvent(
        event_id=envelope.event_id,
        run_id=envelope.run_id,
        position=envelope.position,
        type=envelope.type,
        source=str(envelope.document["source"]),
        data={name: value for name, value in known.items() if name not in beside} or None,
    )
