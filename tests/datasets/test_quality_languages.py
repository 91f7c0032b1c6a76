"""Languages told by their small words, scripts by their letters."""

import pytest

from oncetune.datasets.quality.languages import language_of
from oncetune.datasets.quality.scripts import script_of
from tests.datasets.pairs import clean, found, report_on

BASE = clean(100)

SENTENCES = {
    "en": "Thank you for asking. The capital of the country is on the river, and you can go there by train.",
    "de": "Vielen Dank für die Frage. Die Hauptstadt liegt an der Donau und ist mit dem Zug zu erreichen.",
    "fr": "Merci pour votre question. La capitale est sur le fleuve et vous pouvez y aller en train avec des amis.",
    "es": "Gracias por la pregunta. La capital está junto al río y se puede llegar en tren con los amigos.",
    "it": "Grazie per la domanda. La capitale è sul fiume e si può andare in treno con gli amici, non è lontana.",
    "pt": "Obrigado pela pergunta. A capital fica na margem do rio e não é longe para quem vai de trem com os amigos.",
    "nl": "Bedankt voor de vraag. De hoofdstad ligt aan de rivier en je kunt er met de trein naartoe.",
    "sv": "Tack för frågan. Huvudstaden ligger vid floden och det är inte långt att åka dit med tåg.",
    "pl": "Dziękuję za pytanie. Stolica leży nad rzeką i nie jest daleko, to można do niej jechać z przyjaciółmi.",
    "tr": "Soru için teşekkürler. Başkent nehir kenarında ve bu şehre trenle gitmek çok kolay, bir saat kadar.",
    "id": "Terima kasih untuk pertanyaan ini. Ibu kota berada di tepi sungai dan dapat dicapai dengan kereta.",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_a_sentence_of_ordinary_length_tells_its_language(language):
    assert language_of(SENTENCES[language]) == language


@pytest.mark.parametrize(
    "text", ["Paris.", "x = [i for i in y]", "Ok, no!", "2 + 2 = 4", "", "Lorem ipsum dolor sit amet"]
)
def test_what_hardly_holds_small_words_has_no_language(text):
    assert language_of(text) == ""


def test_a_text_in_two_languages_has_none():
    assert language_of(f"{SENTENCES['en']} {SENTENCES['de']}") == ""


def test_rows_in_another_language_are_told_with_their_lines(tmp_path):
    german = [{**pair, "chosen": SENTENCES["de"]} for pair in BASE[:2]]
    seen = found(report_on(tmp_path, [*german, *({**pair, "chosen": SENTENCES["en"]} for pair in BASE)]))["language_de"]
    assert (seen.count, seen.lines, seen.level) == (2, (1, 2), "info")


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("latin", "Grüße aus Łódź"),
        ("greek", "Καλημέρα"),
        ("arabic", "صباح الخير"),
        ("hangul", "안녕하세요"),
        ("devanagari", "नमस्ते दुनिया"),
        ("japanese", "東京都の天気は晴れ"),
        ("han", "北京今天天气晴"),
        ("other", "ᚠᚢᚦᚨᚱᚲ"),
        ("", "12 + 30 = 42 → 🎉"),
    ],
)
def test_a_text_is_in_the_script_of_most_of_its_letters(script, text):
    assert script_of(text) == script


def test_many_pairs_in_two_scripts_are_a_warning(tmp_path):
    def level(count: int) -> str:
        pairs = [{**pair, "rejected": "Об этом спросите у пекаря."} for pair in BASE[:count]]
        return found(report_on(tmp_path, [*pairs, *BASE[count:]]))["answers_in_two_scripts"].level

    assert level(5) == "info"
    assert level(6) == "warning"
