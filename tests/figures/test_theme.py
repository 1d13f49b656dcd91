import tomllib
from html import unescape
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from lens.figures import theme
from lens.figures.lines import Axis, Line, lines

CONFIG = Path(__file__).parents[2] / ".streamlit" / "config.toml"
NASTY = "</script><img src=x onerror=alert(1)> & \"q\" 'a' <s> $x$ %{x}"


def test_escaped_text_has_no_markup_and_says_the_same():
    escaped = theme.escape(NASTY)
    assert not set(escaped) & set("<>$%")
    assert unescape(escaped) == NASTY


def test_the_page_theme_and_the_figures_share_their_colours():
    config = tomllib.loads(CONFIG.read_text())["theme"]
    assert tuple(config["chartCategoricalColors"]) == theme.CATEGORICAL
    for name, palette in (("light", theme.LIGHT), ("dark", theme.DARK)):
        assert tuple(config[name]["chartSequentialColors"]) == palette.sequential
        assert tuple(config[name]["chartDivergingColors"]) == palette.diverging
        assert (config[name]["backgroundColor"], config[name]["textColor"]) == (palette.background, palette.text)
        # Streamlit falls back to its own scale, without a word, unless there are exactly ten.
        assert len(palette.sequential) == len(palette.diverging) == len(theme.CATEGORICAL) == 10


def rgb(colour):
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


@pytest.mark.parametrize("palette", [theme.LIGHT, theme.DARK])
def test_zero_has_no_hue_and_the_scales_are_monotone_in_lightness(palette):
    middle = (rgb(palette.diverging[4]) + rgb(palette.diverging[5])) / 2
    assert np.ptp(middle) <= 8
    luminance = np.array([rgb(colour) @ [0.299, 0.587, 0.114] for colour in palette.sequential])
    assert (np.diff(luminance) < 0).all() or (np.diff(luminance) > 0).all()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.913, "0.91"),
        (-2.5, "−2.50"),
        (0.0123, "0.012"),
        (0, "0.00"),
        (2.4e-6, "2.4e-6"),
        (float("nan"), "not computed"),
    ],
)
def test_numbers_are_short_and_keep_their_sign(value, text):
    assert theme.number(value) == text


def test_numbered_labels_never_merge():
    labels = theme.numbered(["the", "the", "<s>"])
    assert len(set(labels)) == 3
    assert labels[2] == "2: &lt;s&gt;"


def test_thinned_ticks_start_at_zero_and_are_few():
    positions, texts = theme.thin([str(i) for i in range(257)], 48)
    assert len(positions) <= 48
    assert positions[0] == 0
    assert texts == [str(p) for p in positions]


def test_a_standalone_figure_has_colours_of_its_own_and_leaves_the_original():
    figure = lines([Line("a", np.arange(3.0))], Axis("x", "y"), title="t", definition="d")
    before = figure.to_json()
    dark = theme.standalone(figure, "dark")
    assert dark.layout.paper_bgcolor == theme.DARK.background
    assert dark.layout.template.layout.font.color == theme.DARK.text
    assert dark.layout.template.layout.colorscale.sequential[0][1] == theme.DARK.sequential[0]
    assert figure.to_json() == before


def test_title_and_definition_are_escaped():
    layout = go.Layout(theme.base_layout(NASTY, NASTY, height=100))
    assert "<img" not in layout.title.text
    assert "<img" not in layout.title.subtitle.text
    assert unescape(layout.title.text) == NASTY


def test_a_head_has_one_hue_in_any_order_and_beside_any_heads_of_its_layer():
    layer = [(3, head) for head in range(theme.HUES)]
    hues = dict(zip(layer, theme.head_colours(layer)))
    assert len(set(hues.values())) == theme.HUES
    for some in (layer[::-1], layer[2:5], [layer[7], layer[1]]):
        assert theme.head_colours(some) == [hues[head] for head in some]


def test_heads_of_any_layers_beside_each_other_never_share_a_hue():
    rng = np.random.default_rng(0)
    for _ in range(50):
        heads = list({(int(layer), int(head)) for layer, head in rng.integers(0, 32, (theme.HUES, 2))})
        assert len(set(theme.head_colours(heads))) == len(heads)
