"""Ways to spoil a faultless history in its database, each with the rule that has to notice: for test_oracle.py."""

from typing import Any

import pytest

LEFT = "nothing_is_left_of_the_work_on_an_ended_run"
LEARNED = "every_adapter_learned_from_the_dataset_of_its_run"
STAGED = "nothing_is_staged"
CONTRACT = "every_answer_is_in_the_contract"
DELIVERED = "nothing_was_delivered_that_nobody_sent"
COMPLETED = "(SELECT id FROM ledger.run WHERE kb_id = 'completed')"
_JOURNALLED_AS = "UPDATE audit.journal SET {} WHERE type = 'run.failed'"
DEAD = (
    "INSERT INTO audit.dead_letter SELECT hash, 'run.lifecycle', 'x', {} FROM audit.journal WHERE type = 'run.failed'"
)


def spoilt(name: str, rule: str, sql: str) -> Any:
    return pytest.param(rule, sql, id=name)


SPOILT = [
    spoilt("a lost run", "every_answer_is_its_run", "DELETE FROM ledger.run WHERE kb_id = 'failed'"),
    spoilt(
        "a doubled run",
        "every_answer_is_its_run",
        "INSERT INTO ledger.run SELECT (jsonb_populate_record(run, jsonb_build_object('id', gen_random_uuid()))).*"
        " FROM ledger.run WHERE kb_id = 'failed'",
    ),
    spoilt(
        "a run that hangs",
        "every_run_ended",
        "UPDATE ledger.run SET state = 'queued', finished_at = NULL, error = NULL, ended_by = NULL"
        " WHERE kb_id = 'failed'",
    ),
    spoilt(
        "an audit row in the middle, deleted",
        "positions_have_no_gap",
        f"DELETE FROM audit.journal WHERE run_id = {COMPLETED} AND position = 3",
    ),
    spoilt(
        "the last audit row, deleted",
        "each_run_ends_once_and_nothing_follows",
        f"DELETE FROM audit.journal WHERE run_id = {COMPLETED} AND type = 'run.completed'",
    ),
    spoilt(
        "a doubled audit row",
        "outbox_and_journal_are_equal",
        "INSERT INTO audit.journal SELECT (jsonb_populate_record(journal, jsonb_build_object("
        "'event_id', gen_random_uuid()))).* FROM audit.journal WHERE type = 'run.failed'",
    ),
    spoilt(
        "a second end",
        "each_run_ends_once_and_nothing_follows",
        "INSERT INTO audit.journal SELECT (jsonb_populate_record(journal, jsonb_build_object("
        "'event_id', gen_random_uuid(), 'position', position + 1))).* FROM audit.journal WHERE type = 'run.failed'",
    ),
    spoilt(
        "swapped attempts",
        "attempts_only_rise",
        "UPDATE audit.journal SET event = jsonb_set(event, '{data,attempt}',"
        " to_jsonb(3 - (event->'data'->>'attempt')::int))"
        f" WHERE run_id = {COMPLETED} AND type = 'run.started'",
    ),
    spoilt(
        "an event of an attempt that was over",
        "attempts_only_rise",
        "UPDATE audit.journal SET event = jsonb_set(event, '{data,attempt}', '1')"
        f" WHERE run_id = {COMPLETED} AND type = 'run.progress'",
    ),
    spoilt(
        "an event of an attempt that never began",
        "attempts_only_rise",
        "UPDATE audit.journal SET event = jsonb_set(event, '{data,attempt}', '3') WHERE type = 'run.completed'",
    ),
    spoilt(
        "a run at an attempt that never began",
        "attempts_only_rise",
        "UPDATE ledger.run SET attempt = 3 WHERE kb_id = 'failed'",
    ),
    spoilt(
        "a changed byte",
        "the_journal_never_changed",
        "UPDATE audit.journal SET event = jsonb_set(event, '{source}', '\"/oncetune/forged\"')"
        " WHERE type = 'run.failed'",
    ),
    spoilt(
        "a changed time of arrival",
        "the_journal_never_changed",
        "UPDATE audit.journal SET received_at = received_at + interval '1 microsecond' WHERE type = 'run.failed'",
    ),
    spoilt(
        "other content under the same id",
        "outbox_and_journal_are_equal",
        "UPDATE audit.journal SET hash = repeat('0', 64) WHERE type = 'run.failed'",
    ),
    spoilt(
        "other content under the same hash",
        "every_journal_row_is_its_event",
        "UPDATE audit.journal SET event = jsonb_set(event, '{data,message}', '\"It was asked to.\"')"
        " WHERE type = 'run.failed'",
    ),
    spoilt(
        "no event at all",
        "every_journal_row_is_its_event",
        "UPDATE audit.journal SET event = event - 'source' WHERE type = 'run.failed'",
    ),
    *(
        spoilt(f"a {column} that its event does not have", "every_journal_row_is_its_event", _JOURNALLED_AS.format(of))
        for column, of in {
            "position": "position = 7",
            "type": "type = 'run.requeued'",
            "run": "run_id = gen_random_uuid()",
            "id": "event_id = gen_random_uuid()",
        }.items()
    ),
    spoilt(
        "a run that was well and failed",
        "every_run_ended_as_it_was_asked_to",
        "UPDATE ledger.run SET state = 'failed', error = '{}', artifact_uri = NULL, adapter_sha256 = NULL"
        " WHERE kb_id = 'completed'",
    ),
    spoilt(
        "a run that was well and cancelled, its request unanswered",
        "every_run_ended_as_it_was_asked_to",
        "UPDATE ledger.run SET state = 'cancelled', artifact_uri = NULL, adapter_sha256 = NULL WHERE kb_id = 'unknown'",
    ),
    spoilt(
        "a run that cannot succeed and did",
        "every_run_ended_as_it_was_asked_to",
        "UPDATE ledger.run SET state = 'completed', error = NULL, artifact_uri = '', adapter_sha256 = repeat('0', 64)"
        " WHERE kb_id = 'failed'",
    ),
    spoilt(
        "an event that came again with other content",
        DELIVERED,
        "INSERT INTO audit.conflict SELECT event_id, repeat('0', 64), event FROM audit.journal"
        " WHERE type = 'run.failed'",
    ),
    *(
        spoilt(
            f"a delivery that was {outcome}",
            DELIVERED,
            f"INSERT INTO audit.delivery VALUES (gen_random_uuid(), '{outcome}')",
        )
        for outcome in ("conflict", "invalid")
    ),
    spoilt("a dead letter that is no event", DELIVERED, DEAD.format("'{}'")),
    spoilt(
        "a dead letter that nobody sent", DELIVERED, DEAD.format("convert_to(replace(event::text, 'It', 'I'), 'UTF8')")
    ),
    spoilt(
        "an event that is still on its way",
        "every_event_was_confirmed",
        "UPDATE ledger.outbox SET confirmed_at = NULL WHERE type = 'run.failed'",
    ),
    spoilt(
        "a result that the journal does not tell",
        "each_run_ends_once_and_nothing_follows",
        "UPDATE ledger.run SET state = 'cancelled', error = NULL WHERE kb_id = 'failed'",
    ),
    spoilt(
        "an adapter of another attempt",
        "every_completed_run_has_its_one_adapter",
        "UPDATE ledger.run SET artifact_uri = replace(artifact_uri, '/2/', '/1/') WHERE kb_id = 'completed'",
    ),
    *(
        spoilt(
            f"a last event with another {name}",
            "every_completed_run_has_its_one_adapter",
            f"UPDATE audit.journal SET event = jsonb_set(event, '{{data,{name}}}', '\"x\"')"
            " WHERE type = 'run.completed'",
        )
        for name in ("artifact_uri", "adapter_sha256")
    ),
    spoilt(
        "another adapter's hash",
        "every_completed_run_has_its_one_adapter",
        "UPDATE ledger.run SET adapter_sha256 = repeat('0', 64) WHERE kb_id = 'completed'",
    ),
    *(
        spoilt(f"{what} of a result", "every_file_of_a_result_is_as_recorded", f"UPDATE ledger.run SET files = {files}")
        for what, files in {
            "another hash": "jsonb_set(files, '{adapter.tar,sha256}', '\"x\"') WHERE kb_id = 'completed'",
            "another length": "jsonb_set(files, '{adapter.tar,bytes}', '1') WHERE kb_id = 'completed'",
            "a file that is not there": "files || '{\"report.html\": {}}' WHERE kb_id = 'completed'",
            "no file": "NULL WHERE kb_id = 'completed'",
        }.items()
    ),
]
