import pytest

from lens.figures.aligned import Row, aligned
from tests.figures.test_strip import NASTY, Reader


def test_every_cell_is_there_and_escaped():
    real = [True] * 5 + [False]
    html = aligned([Row("<first>", NASTY, NASTY, "<ids>", real), Row("second", ["x"], ["7"], "id")], '"quoted" <b>')
    tags = Reader(html).tags
    assert {tag for tag, _ in tags} == {"style", "div", "table", "tr", "th", "td"}
    assert sum(tag == "td" for tag, _ in tags) == 6 + 2 * 6 + 2 * 1
    assert sum(attrs.get("class") == "pad" for _, attrs in tags) == 1
    assert next(attrs for tag, attrs in tags if tag == "div")["aria-label"] == '"quoted" <b>'


def test_the_mask_stands_under_its_text():
    html = aligned([Row("a", ["<pad>", "x"], ["0", "1"], "mask", [False, True])], "texts")
    assert '<td class="pad">&lt;pad&gt;</td><td>x</td></tr><tr class="below">' in html
    assert html.index("mask</th><td>0</td><td>1</td>") > html.index("<td>x</td>")


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match=r"b: labels, mask and real places differ in number: \[1, 2\]"):
        aligned([Row("b", ["x", "y"], ["1", "1"], "mask", [True])], "texts")
