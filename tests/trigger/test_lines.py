"""What trigger writes about a request: enough to find it by, and never a secret or a row."""

import pytest

from tests.ledger.given import change
from tests.loglines import captured_lines
from tests.serving import APP_TOKEN, SECRET, serving, signed
from tests.trigger.asked import ask, document

TELL_TALE = "the-text-of-a-preference-row"
ROW = {"prompt": TELL_TALE, "chosen": TELL_TALE + "!", "rejected": TELL_TALE + "?"}


@pytest.fixture(params=["json", "terminal"])
def lines(request):
    with captured_lines(json=request.param == "json") as lines:
        yield lines


def test_no_line_holds_a_secret_a_signature_or_a_row_not_even_of_a_bug(lines, monkeypatch, database_url, engine):
    owner = engine(None)
    headers = signed(email="ann@example.com")
    wanted = document(dataset_inline=[ROW])
    with serving(monkeypatch, "trigger", "status", database_url=database_url) as client:
        assert ask(client, wanted, key="k", headers=headers).status_code == 200
        assert ask(client, wanted, key="k", headers=headers).status_code == 200
        assert ask(client, wanted, headers=headers).status_code == 429
        assert ask(client, document(dataset_inline=[ROW, ROW | {TELL_TALE: 1}]), headers=headers).status_code == 400
        assert ask(client, wanted, headers=headers | {"X-Novalto-Signature": SECRET}).status_code == 401
        change(owner, "ALTER TABLE ledger.dataset_chunk ADD CONSTRAINT broken CHECK (number > 7) NOT VALID")
        broken = ask(client, document("b", dataset_inline=[ROW, ROW]), headers=headers)
        assert (broken.status_code, broken.headers["connection"]) == (500, "close")
        change(owner, "ALTER TABLE ledger.outbox RENAME COLUMN payload TO gone")
        assert ask(client, document("c", dataset_inline=[ROW, ROW]), headers=headers).status_code == 500
    written = lines.getvalue()
    assert "CheckViolation" in written, "the bug itself is told"
    assert "UndefinedColumn" in written
    for secret in (TELL_TALE, SECRET, APP_TOKEN, headers["X-Novalto-Signature"], "ann@example.com"):
        assert secret not in written
    assert "[parameters:" not in written, "a chunk of the dataset, compressed but whole, is one of them"


def test_an_accepted_request_and_its_replay_have_a_line_with_the_run_and_their_outcome(monkeypatch, database_url):
    with captured_lines() as lines, serving(monkeypatch, "trigger", "status", database_url=database_url) as client:
        run_id = ask(client, key="k").json()["run_id"]
        ask(client, key="k")
    [asked] = lines.events("run.requested", run_id=run_id)
    assert (asked["outcome"], asked["user_id"], asked["kb_id"], asked["rows"]) == ("ok", "ann", "kb", 1)
    [again] = lines.events("run.replayed", run_id=run_id)
    assert again["outcome"] == "duplicate"
    assert all({"ts", "level", "event", "svc"} <= set(line) for line in lines.events())


def test_a_field_whose_name_speaks_of_a_secret_is_masked():
    from oncetune.logs import log

    with captured_lines() as lines:
        log.info("x", token="a", Signature="b", shared_secret="c", tokens_per_second=3.5)
    [line] = lines.events("x")
    assert (line["token"], line["Signature"], line["shared_secret"], line["tokens_per_second"]) == ("***",) * 3 + (3.5,)
