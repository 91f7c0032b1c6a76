"""A dataset by URL is recorded as it was given, and shown without what may be secret."""

from tests.ledger.given import rows_of
from tests.loglines import captured_lines
from tests.serving import serving
from tests.trigger.asked import ask, document, recorded

URL = "https://example.org/pairs.jsonl?signature=s3cr3t#part"
SHOWN = "https://example.org/pairs.jsonl"
OF_URL = {name: value for name, value in document().items() if name != "dataset_inline"} | {"dataset_url": URL}


def test_a_run_of_a_url_is_queued_without_a_dataset(client, engine):
    assert ask(client, OF_URL).json()["status"] == "queued"
    [run] = rows_of(engine(None), "SELECT * FROM ledger.run")
    assert (run.dataset_url, run.dataset_sha256, run.recipe["dataset_sha256"]) == (URL, None, None)
    assert (run.recipe_version, run.recipe["quality_gate"]) == (2, "warn")
    assert recorded(engine(None))["ledger.dataset"] == 0


def test_its_event_and_its_lines_tell_the_url_without_its_secret(client, engine):
    with captured_lines() as lines:
        assert ask(client, OF_URL).status_code == 200
        assert ask(client, OF_URL | {"kb_id": "other"}, dry_run="true").status_code == 200
    [event] = rows_of(engine(None), "SELECT payload FROM ledger.outbox")
    told = event.payload
    assert (told["dataset_url"], told["dataset_sha256"], told["dataset_rows"]) == (SHOWN, None, None)
    assert lines.events("run.requested")
    assert "s3cr3t" not in lines.getvalue()


def test_the_gate_of_the_setting_goes_into_the_recipe(monkeypatch, database_url, engine):
    monkeypatch.setenv("ONCETUNE_TRIGGER_QUALITY_GATE", "block")
    with serving(monkeypatch, "trigger", database_url=database_url) as client:
        assert ask(client).status_code == 200
    [run] = rows_of(engine(None), "SELECT recipe FROM ledger.run")
    assert run.recipe["quality_gate"] == "block"


def test_a_dry_run_of_a_url_says_what_would_be_fetched_and_fetches_nothing(client, engine):
    assert ask(client, OF_URL, dry_run="true").json() == {
        "status": "valid",
        "dataset_url": SHOWN,
        "base_model": "HuggingFaceH4/zephyr-7b-beta",
    }
    assert set(recorded(engine(None)).values()) == {0}


def test_a_refusal_never_repeats_the_secret_of_a_url(client):
    for url in ("https://ann:s3cr3t@example.org/a.json", "ftp://example.org/a.json?s3cr3t", "https://a b/?s3cr3t"):
        answer = ask(client, OF_URL | {"dataset_url": url})
        assert answer.json()["code"] == "invalid_dataset_url"
        assert "s3cr3t" not in answer.text


def test_an_inline_dataset_is_kept_with_its_format_and_the_fingerprint_of_its_set(client, engine):
    turns = [{"role": "user", "content": "Where?"}]
    rows = [document()["dataset_inline"][0], {"prompt": turns, "chosen": "Here.", "rejected": "There."}]
    for kb_id, inline in (("kb", rows), ("other", rows[::-1])):
        assert ask(client, document(kb_id, dataset_inline=inline)).status_code == 200
    kept = rows_of(engine(None), "SELECT set_sha256 FROM ledger.dataset")
    assert len(kept) == 2
    assert kept[0] == kept[1]
    runs = rows_of(engine(None), "SELECT dataset_format, dataset_notes FROM ledger.run")
    assert [run.dataset_format for run in runs] == ["mixed"] * 2
    one, other = "text (1 row)", "messages (1 row)"
    told = [f"Rows of several formats: {one}, {other}.", f"Rows of several formats: {other}, {one}."]
    assert sorted(run.dataset_notes for run in runs) == sorted([note] for note in told)
