"""The benchmark's table: what is not measured is said, and figures are rounded, not cut."""

import pytest

from benchmarks.measure import Spread
from benchmarks.report import Row, as_json, as_markdown, as_text, figures, seconds

ROWS = [
    Row(section="one", what="w", ours="2 s", beside="1 s", ratio=Spread(median=2.0, low=1.504, high=2.506)),
    Row(section="two", what="all functions", ours="not built"),
]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.01949, "0.019"), (0.25, "0.25"), (1.006, "1.01"), (25.46, "25.5"), (1234.5, "1234")],
)
def test_figures_are_rounded_to_about_three(value, text):
    assert figures(value) == text


def test_times_are_shown_in_their_unit():
    assert seconds(Spread(median=0.0382, low=0.0, high=1.0)) == "38.2 ms"
    assert seconds(Spread(median=0.382, low=0.0, high=1.0)) == "0.38 s"


def test_every_row_is_in_every_form_also_what_was_not_measured():
    for form in (as_markdown(ROWS, about="here"), as_text(ROWS, about="here")):
        assert "2.00 (1.50–2.51)" in form
        assert "not built" in form
        assert form.index("one") < form.index("2.00") < form.index("two") < form.index("not built")
    rows = as_json(ROWS, about="here")["rows"]
    assert rows[0]["ratio"] == {"median": 2.0, "low": 1.504, "high": 2.506}
    assert rows[1]["ratio"] is None
