"""report.html by its bytes: complete, bounded, the same each time, and nothing in it that is not in report.json."""

import itertools
import re
from html.parser import HTMLParser

import pytest

from oncetune.contracts.training_record import Sample
from oncetune.report.page import render_page
from oncetune.report.words import NOT_MEASURED, change, duration, number, percent
from tests.report import extremes, reports
from tests.report.reports import cached_page


class Parsed(HTMLParser):
    """The text of each element of a kind, and all attributes."""

    VOID = ("meta", "link", "br", "path", "use")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element, at {self.getpos()}"

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


ALL = [reports.report, extremes.minimal, extremes.hostile, extremes.largest]


@pytest.mark.parametrize("made", ALL, ids=lambda made: made.__name__)
def test_the_page_is_well_formed_and_has_ids_once(made):
    parsed = Parsed(cached_page(made))
    assert parsed.open == []
    ids = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    referred = {value for _, name, value in parsed.attributes if name in ("aria-labelledby", "aria-describedby")}
    assert referred <= set(ids)


@pytest.mark.parametrize("made", ALL, ids=lambda made: made.__name__)
def test_the_page_refers_to_nothing_outside_of_it_and_has_no_script(made):
    html = cached_page(made)
    parsed = Parsed(html)
    assert not {"script", "img", "iframe", "object", "embed", "base", "form", "a"} & set(parsed.tags)
    named = [
        value
        for _, name, value in parsed.attributes
        if name in ("src", "href", "srcset", "action", "data", "xlink:href")
    ]
    assert all(value == "data:," or value.startswith("#") for value in named)
    styles = [value for _, name, value in parsed.attributes if name == "style"]
    assert not any("url(" in style for style in styles)
    sheet = html.partition("<style>")[2].partition("</style>")[0]
    assert "--held-out" in sheet
    assert not re.search(r"@import|url\(", sheet)
    assert not any(name.startswith("on") for _, name, _ in parsed.attributes)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in html


def test_a_page_of_twenty_thousand_steps_and_long_samples_is_at_most_two_megabytes():
    assert len(cached_page(extremes.largest).encode()) <= 2_000_000


def test_a_page_of_long_samples_in_another_script_is_at_most_two_megabytes():
    text = "\U0001f642" * 20_000
    training = reports.record(samples=[Sample(prompt=text, before=text, after=text, held_out=True)] * 32)
    assert len(render_page(reports.report(training)).encode()) <= 2_000_000


def test_equal_reports_make_equal_bytes():
    assert cached_page(reports.report) == render_page(reports.report())
    assert cached_page(reports.report) != render_page(reports.report(kb_id="another"))


def test_the_key_numbers_are_those_of_the_report():
    report = reports.report()
    html = cached_page(reports.report)
    end, steps = report.training.evaluations[-1], report.training.steps
    for said in (
        percent(end.reward_accuracy), change(end.reward_margin), number(end.logps_chosen_per_token),
        number(steps[-1].loss), number(steps[-1].tokens), duration(steps[-1].seconds), number(report.dataset.rows),
        report.run_id, report.manifest.weights_sha256, report.manifest.code_sha256, report.dataset.sha256,
    ):  # fmt: skip
        assert said in html, said


def test_every_number_in_a_table_is_one_of_the_report():
    """As it is written there, or worked out here once more."""
    report = reports.report()
    said = number, change, percent, duration, str
    known = {NOT_MEASURED, "none", "true"} | {say(value) for value in _numbers(report.model_dump()) for say in said}
    known |= {", ".join(losses) for name, losses in report.manifest.hyperparameters.items() if name == "loss_type"}
    known |= {*report.manifest.packages.values(), report.manifest.hyperparameters["lr_scheduler"]}
    known |= {duration((attempt.ended_at - attempt.started_at).total_seconds()) for attempt in report.attempts}
    whole = sum(phase.seconds for phase in report.phases)
    known |= {f"{100 * phase.seconds / whole:.1f}\u202f%" for phase in report.phases}
    steps = (reports.StepRecord(step=1, tokens=0), *report.training.steps)
    known |= {number((b.tokens - a.tokens) / (b.seconds - a.seconds)) for a, b in itertools.pairwise(steps)}
    cells = re.findall(r'<td class="n">([^<]+)</td>', cached_page(reports.report))
    assert len(cells) > 300
    assert set(cells) <= known


def _numbers(document):
    if isinstance(document, dict):
        return [number for member in document.values() for number in _numbers(member)]
    if isinstance(document, list | tuple):
        return [number for member in document for number in _numbers(member)]
    return [document] if isinstance(document, int | float) and not isinstance(document, bool) else []


def test_every_plot_says_in_words_and_numbers_what_it_shows():
    html = cached_page(reports.report)
    figures = re.findall(r"<figure>.*?</figure>", html, re.DOTALL)
    assert len(figures) == 6
    for figure in figures:
        assert re.search(r'role="img" aria-label="[^"]+ from [^"]+ to [^"]+"', figure)
        assert figure.count("<tr>") > 10


def test_what_is_missing_is_said_and_never_drawn():
    html = cached_page(extremes.minimal)
    for said in ("nothing was held out", "None were asked for", "the quality gate was off", "No event of this run"):
        assert said in html
    assert html.count("<figure>") == 2


def test_hostile_text_is_escaped_everywhere_and_no_template():
    html = cached_page(extremes.hostile)
    assert html.count("&lt;script&gt;") > 20
    assert "<script" not in html
    assert "49" not in html.partition("Hyperparameters")[2][:2000]
    assert "{{ 7*7 }}" in html
    assert not re.search(r"[\x00\x1b\u202e]", html)


def test_a_long_text_is_cut_and_says_by_how_much():
    html = cached_page(extremes.largest)
    assert "18,400 more characters in report.json" in html
    assert "260 more findings are in report.json" in html


def test_a_peak_of_one_step_among_twenty_thousand_is_drawn():
    steps = list(reports.steps_of(20_000))
    calm = render_page(reports.report(reports.record(steps=steps)))
    steps[9_980] = steps[9_980].model_copy(update={"loss": 50.0})
    peaked = render_page(reports.report(reports.record(steps=steps)))
    ticks = re.compile(r'id="loss-ytick.*?>([^<>]+)</text>', re.DOTALL)
    highest = [max(float(tick.replace("\u2212", "-")) for tick in ticks.findall(html)) for html in (calm, peaked)]
    assert highest[0] < 4
    assert highest[1] >= 40


def section(html: str, name: str) -> str:
    return html.partition(f'id="{name}"')[2].partition("</section>")[0]


@pytest.mark.parametrize(
    ("differs", "said"),
    [
        (None, "which left no manifest to hold it against: what was different is not known."),
        ({}, "and nothing was different."),
        ({"seed": ("7", "42")}, "What was different:"),
    ],
)
def test_a_run_that_repeats_another_claims_to_be_the_same_only_where_both_could_be_compared(differs, said):
    html = section(render_page(reports.report(differs_from_parent=differs)), "provenance")
    assert said in html
    assert ("nothing was different" in html) is (differs == {})


def test_samples_that_were_asked_for_and_are_missing_are_not_called_unwanted():
    html = section(render_page(reports.report(reports.record(samples=[]))), "samples")
    assert "None could be made" in html
    assert "None were asked for" not in html


def test_samples_that_failed_are_missing_with_their_reason():
    failed = reports.record(samples=[], samples_missing="can't allocate memory: you tried <64> GiB")
    html = section(render_page(reports.report(failed)), "samples")
    assert "None could be made: can&#39;t allocate memory: you tried &lt;64&gt; GiB" in html
    assert "short enough" not in html


def test_the_reader_learns_that_answers_end_at_a_limit():
    assert "in 64 tokens at most" in section(cached_page(reports.report), "samples")


def test_the_reader_learns_what_the_format_means_and_what_was_read_otherwise_than_it_stood_there():
    dataset = reports.DATASET.model_copy(update={"format": "shared_prefix", "notes": ("A <column> was left out.",)})
    text = render_page(reports.report(dataset=dataset))
    assert "<dd>what chosen and rejected begin with is the prompt</dd>" in text
    assert "<dt>Note</dt><dd>A &lt;column&gt; was left out.</dd>" in text


def test_a_look_at_the_rows_that_failed_is_not_called_a_gate_that_was_off():
    html = render_page(reports.report(quality=None))
    assert "the quality gate was off" not in html
    assert "the look at them failed" in html
