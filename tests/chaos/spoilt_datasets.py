"""The same of datasets and reruns: see spoilt.py."""

from tests.chaos.spoilt import COMPLETED, LEARNED, spoilt

_OF_URL = "(SELECT id FROM ledger.run WHERE kb_id = 'of-url' AND parent_run_id IS NULL)"
_RERUN = "(SELECT id FROM ledger.run WHERE parent_run_id IS NOT NULL)"
_ITS_DATASET = f"(SELECT dataset_sha256 FROM ledger.run WHERE id = {_OF_URL})"

SPOILT_DATASETS = [
    *(
        spoilt(what, "every_run_has_the_dataset_that_was_told", sql)
        for what, sql in {
            "another dataset": "UPDATE ledger.run SET dataset_sha256 = repeat('0', 64) WHERE kb_id = 'completed'",
            "another dataset of a URL": "UPDATE audit.journal SET event = jsonb_set(event, '{data,dataset_sha256}',"
            " '\"x\"') WHERE type = 'run.dataset_stored'",
            "a dataset that the recipe does not name": "UPDATE ledger.run SET recipe = jsonb_set(recipe,"
            f" '{{dataset_sha256}}', 'null') WHERE id = {_OF_URL}",
            "a dataset that was told twice": "UPDATE audit.journal SET event = jsonb_set(event,"
            f" '{{data,dataset_sha256}}', '\"x\"') WHERE type = 'run.requested' AND run_id = {_OF_URL}",
        }.items()
    ),
    *(
        spoilt(what, "every_dataset_of_a_url_is_one_answer_of_its_server", sql)
        for what, sql in {
            "a dataset that was stored twice": "INSERT INTO audit.journal SELECT (jsonb_populate_record(journal,"
            " jsonb_build_object('event_id', gen_random_uuid()))).* FROM audit.journal"
            " WHERE type = 'run.dataset_stored'",
            "a dataset that was never told": "DELETE FROM audit.journal WHERE type = 'run.dataset_stored'",
            "a dataset that came inline and was told as fetched": "UPDATE audit.journal SET run_id = "
            f"{COMPLETED} WHERE type = 'run.dataset_stored'",
            "a dataset that no server gave": "UPDATE ledger.run SET dataset_sha256 = repeat('0', 64)"
            f" WHERE id = {_OF_URL}",
        }.items()
    ),
    *(
        spoilt(what, "every_run_has_its_whole_dataset_stored", sql)
        for what, sql in {
            "a lost dataset": f"DELETE FROM ledger.dataset WHERE sha256 = {_ITS_DATASET}",
            "a lost piece of a dataset": f"DELETE FROM ledger.dataset_chunk WHERE sha256 = {_ITS_DATASET}",
            "another byte of a dataset": "UPDATE ledger.dataset_chunk SET content = set_byte(content, 20, 0)"
            f" WHERE sha256 = {_ITS_DATASET}",
            "half a dataset": "UPDATE ledger.dataset_chunk SET content = substr(content, 1, length(content) / 2)",
            "a dataset with other numbers": "UPDATE ledger.dataset SET row_count = row_count + 1",
            "a dataset that no run has": "INSERT INTO ledger.dataset SELECT (jsonb_populate_record(dataset,"
            " jsonb_build_object('sha256', repeat('0', 64)))).* FROM ledger.dataset LIMIT 1",
        }.items()
    ),
    spoilt(
        "a manifest of other rows",
        LEARNED,
        """UPDATE ledger.run SET manifest = '{"dataset_sha256": "x"}' WHERE kb_id = 'completed'""",
    ),
    *(
        spoilt(what, "every_rerun_repeats_its_parent", sql)
        for what, sql in {
            "a rerun with another recipe": "UPDATE ledger.run SET recipe = jsonb_set(recipe, '{hyperparameters,seed}',"
            f" '7') WHERE id = {_RERUN}",
            "a rerun with other rows": f"UPDATE ledger.run SET dataset_sha256 = repeat('0', 64) WHERE id = {_RERUN}",
            "a rerun of nothing": f"UPDATE ledger.run SET parent_run_id = gen_random_uuid() WHERE id = {_RERUN}",
            "a rerun that the journal does not tell": "UPDATE audit.journal SET event = jsonb_set(event,"
            f" '{{data,parent_run_id}}', 'null') WHERE type = 'run.requested' AND run_id = {_RERUN}",
        }.items()
    ),
    spoilt(
        "a rerun that one key made twice",
        "every_answer_is_its_run",
        "INSERT INTO ledger.run SELECT (jsonb_populate_record(run, jsonb_build_object('id', gen_random_uuid()))).*"
        f" FROM ledger.run WHERE id = {_RERUN}",
    ),
]
