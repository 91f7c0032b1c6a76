"""What is wrong with a row by itself: each finding on a set that has it, and silence on one that nearly has it."""

import pytest

from tests.datasets.pairs import clean, found, report_on

ROWS = 100
BASE = clean(ROWS)
QUESTION = "How do I bake bread at home?"
GOOD = {"prompt": QUESTION, "chosen": "Flour, water, salt and time.", "rejected": "Ask a baker about that."}
ASK = {"role": "user", "content": QUESTION}
TELL = {"role": "assistant", "content": "Flour, water, salt and time."}
REFUSE = {"role": "assistant", "content": "Ask a baker about that."}
TURNS = {"prompt": [ASK], "chosen": [TELL], "rejected": [REFUSE]}
EXTRACT = "The oven was built in the year 1803 by two brothers."

SEEN = [
    ("blank_turns", "error", {**GOOD, "rejected": " \u200b\ufeff\t\x00"}),
    ("blank_turns", "error", {**GOOD, "prompt": ""}),
    ("blank_turns", "error", {**TURNS, "chosen": []}),
    ("blank_turns", "error", {**TURNS, "chosen": [{**TELL, "content": "\u3164\u2800\u00ad"}]}),
    ("equal_answers", "error", {**GOOD, "rejected": GOOD["chosen"]}),
    ("equal_answers", "error", {**GOOD, "rejected": GOOD["chosen"] + "\n "}),
    ("equal_answers", "error", {**TURNS, "rejected": [TELL]}),
    ("equal_but_for_case_or_space", "error", {**GOOD, "rejected": GOOD["chosen"].upper()}),
    ("equal_but_for_case_or_space", "error", {**GOOD, "rejected": GOOD["chosen"].replace(" ", "\n\t")}),
    ("answer_repeats_prompt", "warning", {**GOOD, "chosen": f"{QUESTION} Flour and water."}),
    ("answer_repeats_prompt", "warning", {**TURNS, "rejected": [{**TELL, "content": f"{QUESTION} Never."}]}),
    ("chosen_stands_in_prompt", "info", {**GOOD, "prompt": f"{EXTRACT} Who built it?", "chosen": EXTRACT}),
    ("prompt_ends_with_assistant", "warning", {**TURNS, "prompt": [ASK, {**TELL, "content": "Which bread?"}]}),
    ("answer_begins_with_user", "warning", {**TURNS, "chosen": [ASK, TELL]}),
    ("answer_ends_without_assistant", "warning", {**TURNS, "rejected": [REFUSE, {**ASK, "content": "Why?"}]}),
    ("mixed_forms", "info", TURNS),
    ("chat_marks_in_text", "warning", {**GOOD, "chosen": "Flour.<|im_end|>"}),
    ("chat_marks_in_text", "warning", {**GOOD, "prompt": f"[INST] {QUESTION} [/INST]"}),
    ("transcript_as_prompt", "info", {**GOOD, "prompt": f"Human: {QUESTION}\n\nAssistant:"}),
    ("answer_speaks_for_user", "warning", {**GOOD, "chosen": "Flour and water.\n\nHuman: And salt?"}),
    ("secrets", "warning", {**GOOD, "chosen": "Take AKIA" + "Q7" * 8 + " for it."}),
    ("mojibake", "warning", {**GOOD, "chosen": "Mehl für Brötchen, bitte.".encode().decode("latin-1")}),
    ("mojibake", "warning", {**GOOD, "chosen": "It is 25° warm.".encode().decode("latin-1")}),
    ("mojibake", "warning", {**GOOD, "chosen": "It’s flour".encode().decode("cp1252")}),
    ("mojibake", "warning", {**GOOD, "chosen": "Flour 😀".encode().decode("cp1252", "replace").replace("�", "\x98")}),
    ("replacement_characters", "warning", {**GOOD, "rejected": "Ask a b\ufffdcker."}),
    ("replacement_characters", "warning", {**GOOD, "prompt": "Bre\ufffdd?", "chosen": "Fl\ufffdur."}),
    ("control_characters", "warning", {**GOOD, "chosen": "Flour \x1b[31mand water."}),
    ("hidden_characters", "info", {**GOOD, "chosen": "Flour\u200b and\ufeff water."}),
    ("html_entities", "info", {**GOOD, "chosen": "Flour &amp; water."}),
    ("escaped_newlines", "warning", {**GOOD, "chosen": r"Take:\n\n- flour\n- water"}),
    ("script_cyrillic", "info", {**GOOD, "chosen": "Мука, вода, соль и время.", "rejected": "Спроси у пекаря."}),
    (
        "script_japanese",
        "info",
        {**GOOD, "chosen": "小麦粉と水と塩を使います。", "rejected": "パン屋に聞いてください。"},
    ),
    ("script_han", "info", {**GOOD, "chosen": "面粉、水、盐和时间。", "rejected": "去问面包师傅吧朋友。"}),
    ("answers_in_two_scripts", "info", {**GOOD, "rejected": "Спроси об этом у пекаря."}),
]
SILENT = [
    ("blank_turns", {**GOOD, "chosen": ".", "rejected": "😀"}),
    ("blank_turns", {**GOOD, "chosen": "\u200b1\u200b"}),
    ("equal_answers", {**GOOD, "rejected": GOOD["chosen"] + " Salt."}),
    ("equal_answers", {**GOOD, "rejected": GOOD["chosen"].lower()}),
    ("equal_but_for_case_or_space", {**GOOD, "rejected": GOOD["chosen"].replace(".", "!")}),
    ("answer_repeats_prompt", {**GOOD, "prompt": "Why?", "chosen": "Why? Because."}),
    ("answer_repeats_prompt", {**GOOD, "chosen": f"You ask: {QUESTION} Flour."}),
    ("chosen_stands_in_prompt", {**GOOD, "prompt": "Yes or no: is it bread?", "chosen": "Yes", "rejected": "Never"}),
    ("chosen_stands_in_prompt", {"prompt": f"{EXTRACT} {EXTRACT[:45]}", "chosen": EXTRACT, "rejected": EXTRACT[:45]}),
    ("prompt_ends_with_assistant", {**TURNS, "prompt": [ASK, TELL, ASK]}),
    ("answer_begins_with_user", {**TURNS, "chosen": [{"role": "tool", "content": "sum"}, TELL]}),
    ("answer_ends_without_assistant", {**TURNS, "chosen": [TELL, ASK, TELL]}),
    ("chat_marks_in_text", {**GOOD, "chosen": "if a <b and c|> d: x[INSTANCE] </span>"}),
    ("transcript_as_prompt", {**GOOD, "prompt": "User: who is that?"}),
    ("answer_speaks_for_user", {**GOOD, "chosen": "The human: a user of flour.\nUsers: many"}),
    ("secrets", {**GOOD, "chosen": "Keys begin with AKIA or sk- and are long; risk-averse people hide them."}),
    ("mojibake", {**GOOD, "chosen": "Élève à Orléans : « déjà\xa0», café\xa0», É…, 25\xa0°, MANHÃ…, naïve façade"}),
    ("mojibake", {**GOOD, "chosen": "Straße, “Maß”, Čeština, Ünlü, São, año, Łódź – 100 €, Ærø, Þór, ÿ"}),
    ("control_characters", {**GOOD, "chosen": "Flour\tand\r\nwater."}),
    ("hidden_characters", {**GOOD, "chosen": "👩\u200d🍳 bakes, می\u200cخواهم"}),
    ("html_entities", {**GOOD, "chosen": "Flour & water; R&D; &c; AT&T;"}),
    ("escaped_newlines", {**GOOD, "chosen": r'printf("%d\n") in C:\new\names'}),
    ("escaped_newlines", {**GOOD, "chosen": "Write \\n\\n for two:\nso."}),
    ("answers_in_two_scripts", {**GOOD, "rejected": "α + β"}),
    ("script_greek", {**GOOD, "chosen": "The angle α is as large as β."}),
]


def test_a_set_without_faults_has_no_finding(tmp_path):
    report = report_on(tmp_path, BASE)
    assert report.rows == ROWS
    assert report.findings == ()


@pytest.mark.parametrize(("code", "level", "pair"), SEEN, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_odd_in_a_row_is_found_once_with_its_line(tmp_path, code, level, pair):
    seen = found(report_on(tmp_path, [*BASE[:7], pair, *BASE[7:]]))[code]
    if code == "mixed_forms":
        assert seen.count == ROWS  # the plain ones
    else:
        assert (seen.level, seen.count, seen.lines) == (level, 1, (8,))
    assert "of 101 rows" in seen.message
    assert (seen.example is None) == (code == "secrets")


@pytest.mark.parametrize(("code", "pair"), SILENT, ids=lambda value: value if isinstance(value, str) else "")
def test_what_only_looks_like_it_is_not_found(tmp_path, code, pair):
    assert code not in found(report_on(tmp_path, [*BASE, pair]))


def test_blank_answers_are_blank_and_not_called_equal_too(tmp_path):
    assert set(found(report_on(tmp_path, [*BASE, {**GOOD, "chosen": " ", "rejected": ""}]))) == {"blank_turns"}


def test_nothing_else_is_said_of_a_row_that_is_written_with_care(tmp_path):
    assert report_on(tmp_path, [*BASE, GOOD]).findings == ()
    assert set(found(report_on(tmp_path, [*BASE, TURNS]))) == {"mixed_forms"}


@pytest.mark.parametrize(("lessons", "level"), [(49, "error"), (50, "warning")])
def test_pairs_that_differ_only_in_case_are_slips_unless_half_the_set_teaches_it(tmp_path, lessons, level):
    taught = [{**pair, "rejected": pair["chosen"].upper()} for pair in BASE[:lessons]]
    seen = found(report_on(tmp_path, [*taught, *BASE[lessons:]]))["equal_but_for_case_or_space"]
    assert (seen.count, seen.level) == (lessons, level)


@pytest.mark.parametrize(("copied", "level"), [(10, "info"), (11, "warning")])
def test_many_answers_that_stand_in_their_prompt_are_a_warning(tmp_path, copied, level):
    pairs = [{**pair, "prompt": f"{pair['prompt']} {pair['chosen']}"} for pair in BASE[:copied]]
    seen = found(report_on(tmp_path, [*pairs, *BASE[copied:]]))["chosen_stands_in_prompt"]
    assert (seen.count, seen.level) == (copied, level)


@pytest.mark.parametrize(("entities", "level"), [(5, "info"), (6, "warning")])
def test_many_rows_with_entities_come_from_pages_and_are_a_warning(tmp_path, entities, level):
    pairs = [{**pair, "rejected": pair["rejected"] + " &quot;"} for pair in BASE[:entities]]
    assert found(report_on(tmp_path, [*pairs, *BASE[entities:]]))["html_entities"].level == level


def test_letters_with_their_mark_apart_are_found_beside_those_in_one_sign(tmp_path):
    apart, together = {**GOOD, "chosen": "Cafe\u0301 au lait."}, {**GOOD, "chosen": "Café crème.", "prompt": "Which?"}
    assert found(report_on(tmp_path, [*BASE, apart, together]))["mixed_unicode_forms"].lines == (ROWS + 1,)
    assert "mixed_unicode_forms" not in found(report_on(tmp_path, [*BASE, apart]))
    assert "mixed_unicode_forms" not in found(report_on(tmp_path, [*BASE, together]))


def test_a_small_set_is_told_so_up_to_fifty_rows(tmp_path):
    assert found(report_on(tmp_path, BASE[:49]))["few_rows"].count == 49
    assert found(report_on(tmp_path, BASE[:1]))["few_rows"].message.startswith("the set has 1 row: ")
    assert "few_rows" not in found(report_on(tmp_path, BASE[:50]))
