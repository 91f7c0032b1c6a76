"""What is kept of a sample: a text that was cut says so."""

from oncetune.training.samples import _cut


def test_a_text_that_was_cut_ends_with_a_sign_of_it():
    assert _cut("x" * 2000) == "x" * 2000
    assert _cut("x" * 2001) == "x" * 2000 + " …"
