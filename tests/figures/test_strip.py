from html.parser import HTMLParser

import numpy as np
import pytest

from lens.figures.strip import LEVELS, STRONGEST, Scale, token_strip
from lens.figures.theme import DARK, LIGHT

NASTY = ["</script><img src=x onerror=alert(1)>", '"quoted"', "it's", "&amp;", "·a", "<b onclick=x>"]


class Reader(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tokens, self.tags = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "b":
            self.tokens.append("")

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "b":
            self.tokens[-1] += data


def test_the_text_of_the_strip_is_the_tokens():
    assert Reader(token_strip(NASTY)).tokens == NASTY


def test_nothing_but_our_own_tags_is_in_the_strip():
    html = token_strip(NASTY, np.arange(6.0), scale=Scale("<loss>", high=5), hover=NASTY, selected=[0])
    tags = Reader(html).tags
    assert {tag for tag, _ in tags} == {"style", "div", "span", "i", "b"}
    assert [attrs["title"] for tag, attrs in tags if tag == "b"] == NASTY
    assert all(set(attrs) <= {"class", "title"} for tag, attrs in tags if tag == "b")


def classes(html):
    return [attrs.get("class", "") for tag, attrs in Reader(html).tags if tag == "b"]


def test_colour_follows_the_value_and_its_sign():
    html = token_strip(list("abcde"), np.array([-2.0, 0, 1, 2, np.nan]), scale=Scale("x", high=2, signed=True))
    assert classes(html) == [f"n{LEVELS}", "", f"p{LEVELS // 2}", f"p{LEVELS}", ""]


def test_values_outside_the_scale_take_its_ends():
    assert classes(token_strip(list("ab"), np.array([-5.0, 99]), scale=Scale("x", high=2))) == ["", f"p{LEVELS}"]


def test_selected_positions_are_marked():
    assert classes(token_strip(list("abc"), np.array([0.0, 1, 0]), selected=[0, 1])) == ["on", f"p{LEVELS} on", ""]


def test_it_has_a_name_for_screen_readers():
    html = token_strip(list("abc"), np.zeros(3), scale=Scale("loss (nats)"))
    (strip,) = [attrs for tag, attrs in Reader(html).tags if attrs.get("role") == "group"]
    assert strip["aria-label"] == "3 tokens, coloured by loss (nats)"


def luminance(rgb):
    v = np.array(rgb) / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
@pytest.mark.parametrize("colour", ["#0c84fa", "#dc7d0c"])
def test_text_stays_readable_on_the_strongest_colour(palette, colour):
    rgb = {c: np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in (palette.background, palette.text, colour)}
    behind = luminance(STRONGEST * rgb[colour] + (1 - STRONGEST) * rgb[palette.background])
    text = luminance(rgb[palette.text])
    assert (max(text, behind) + 0.05) / (min(text, behind) + 0.05) >= 4.5


def test_a_long_text_is_short_markup():
    tokens, values = ["·word"] * 2000, np.random.default_rng(0).random(2000)
    html = token_strip(tokens, values)
    assert len(html) < 160_000


def test_wrong_counts_are_refused():
    with pytest.raises(ValueError, match="2 values for 3 tokens"):
        token_strip(list("abc"), np.zeros(2))
    with pytest.raises(ValueError, match="1 hover titles for 3 tokens"):
        token_strip(list("abc"), hover=["x"])


def test_marked_positions_are_underlined_and_the_legend_says_why():
    html = token_strip(
        list("abc"), np.array([0.0, 1, 0]), scale=Scale("x", mark="a <hit>"), marked=[1, 2], selected=[2]
    )
    assert classes(html) == ["", f"p{LEVELS} hit", "on hit"]
    assert "a &lt;hit&gt;" in html
    assert "a &lt;hit&gt;" not in token_strip(list("ab"), np.zeros(2), scale=Scale("x"))


def test_the_legend_can_have_words_at_its_ends():
    html = token_strip(list("ab"), np.zeros(2), scale=Scale("rank", high=4.7, ends=("0", "<49,151>")))
    assert "<span>0</span>" in html
    assert "<span>&lt;49,151&gt;</span>" in html
