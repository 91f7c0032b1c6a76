"""report.html as a person meets it: in a browser, without a network, on paper, on a phone, in the dark."""

import pytest
from PIL import Image

from tests.report import extremes, reports
from tests.report.browser import photograph, printed_pages, visit
from tests.report.reports import cached_page


@pytest.mark.parametrize("made", [reports.report, extremes.minimal, extremes.hostile], ids=lambda made: made.__name__)
def test_the_page_opens_without_asking_for_anything_or_saying_anything(page, made):
    page.write_text(cached_page(made))
    seen = visit(page)
    assert (seen.requests, seen.console) == ([], [])
    assert "What the words mean" in seen.dom


def test_a_page_that_asks_and_speaks_would_be_seen(page):
    page.write_text("<img src=http://127.0.0.1:9/x><script>console.log('said')</script>")
    seen = visit(page)
    assert seen.requests == ["http://127.0.0.1:9/x"]
    assert len(seen.console) == 1


def test_the_policy_of_the_page_holds_what_slipped_through_the_escaping(page):
    """As if a template had forgotten it: nothing is fetched and nothing runs all the same."""
    leak = "<img src=http://127.0.0.1:9/x><script>document.title='taken'</script><link rel=stylesheet href=http://127.0.0.1:9/y>"
    page.write_text(cached_page(reports.report).replace("<main>", f"<main>{leak}"))
    seen = visit(page)
    assert seen.requests == []
    assert "<title>taken" not in seen.dom


def test_hostile_text_is_only_text(page):
    page.write_text(cached_page(extremes.hostile))
    dom = visit(page).dom
    assert "<title>taken" not in dom
    assert not any(f"<{tag}" in dom for tag in ("script", "img", "iframe", "textarea", "object"))
    assert "onload" in dom  # it is shown


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 500])
def test_the_page_is_readable_in_light_and_dark_and_on_a_narrow_screen(page, tmp_path, width, dark):
    page.write_text(cached_page(reports.report))
    picture = Image.open(photograph(page, tmp_path / "page.png", width=width, height=4000, dark=dark)).convert("L")
    corner = picture.getpixel((2, 2))
    assert corner < 60 if dark else corner > 230
    ink = sum(count for shade, count in enumerate(picture.histogram()) if abs(shade - corner) > 120)
    assert 0.01 < ink / (picture.width * picture.height) < 0.2  # letters and lines, neither blank nor blotted out


def test_the_page_is_no_wider_than_a_narrow_screen(page):
    """The browser itself is asked: a script that the page's policy would not let run, so it is taken out here."""
    html = cached_page(extremes.hostile).replace("default-src 'none'", "default-src 'none'; script-src 'unsafe-inline'")
    measure = "<script>document.title = document.documentElement.scrollWidth - innerWidth</script></body>"
    page.write_text(html.replace("</body>", measure))
    assert "<title>0</title>" in visit(page, width=500).dom


def test_the_page_prints_on_a_few_sheets(page, tmp_path):
    page.write_text(cached_page(reports.report))
    assert 3 <= printed_pages(page, tmp_path / "report.pdf") <= 7
