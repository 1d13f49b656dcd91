"""Finished figures: drawn once, the same for all, and sent in a shorter form that shows the same."""

import ast
import base64
import copy
import json
import re
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

import lens.figures
from lens.figures.cells import Marks
from lens.figures.drawn import copy_of, drawn, with_meta
from lens.figures.eigenvalues import eigenvalues
from lens.figures.fitted import narrow
from lens.figures.grid import grid, selected_cell
from lens.figures.measure import Axes, Measure
from lens.figures.pairs import Pairs, pair_matrix, selected_pair
from lens.figures.patch_map import patch_map
from lens.figures.playing import Course, playing
from lens.figures.training import Axis, Panel, Trace, training
from lens.figures.wire import short_form

FIELD = re.compile(r"%\{(\w+)(?:\[(\d+)\])?(?::([^}]*))?\}")


def read(value):
    """A part of what is sent, with its arrays as plotly.js reads them."""
    if isinstance(value, dict) and "bdata" in value:
        array = np.frombuffer(base64.b64decode(value["bdata"]), np.dtype(f"<{value['dtype']}"))
        return array.reshape([int(size) for size in value["shape"].split(",")] if "shape" in value else -1)
    if isinstance(value, dict):
        return {key: read(item) for key, item in value.items()}
    return [read(item) for item in value] if isinstance(value, list) else value


def sent(figure):
    return read(json.loads(json.dumps(figure.to_dict(), default=list)))


def d3(value, form):
    """A number as d3 writes it, in the forms that occur here."""
    if form == "05,d":  # with a point for the separator of thousands
        sign = "-" if value < 0 else ""
        return f"{sign}{abs(int(value)) // 1000}.{abs(int(value)) % 1000:03d}"
    return f"{value:{form}}" if form else str(value)


def label(trace, place):
    """The hover label of one point of a trace of points."""

    def field(match):
        name, column, form = match.groups()
        value = trace[name][place]
        return d3(value if column is None else value[int(column)], form)

    return FIELD.sub(field, trace["hovertemplate"])


def labels(spec):
    """(x, y) of every point → its label, of all traces of points that can be hovered."""
    points = [trace for trace in spec["data"] if trace["type"] == "scatter" and trace.get("hoverinfo") != "skip"]
    return {(trace["x"][i], trace["y"][i]): label(trace, i) for trace in points for i in range(len(trace["x"]))}


@pytest.fixture(scope="module")
def measure():
    values = np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)
    values[3, 2] = np.nan
    return Measure("score", "d", values, "nats", low=values - 0.1, high=values + 0.1, threshold=0.2, signed=True)


def test_equal_arguments_give_the_same_figure_and_one_number_more_another(measure):
    calls = []

    @drawn
    def figure(values, *, title):
        calls.append(title)
        return go.Figure(go.Scatter(x=values), layout={"title": {"text": title}})

    first = figure(np.arange(3.0), title="a")
    assert figure(np.arange(3.0), title="a") is first
    assert figure(np.array([0, 1, 2 + 1e-12]), title="a") is not first
    assert figure(np.arange(3.0), title="b").layout.title.text == "b"
    assert calls == ["a", "a", "b"]
    assert narrow(grid(measure), 200) is narrow(grid(measure), 200)


def test_a_finished_figure_cannot_be_changed(measure):
    figure = grid(measure)
    before = json.dumps(figure.to_dict(), default=list)
    for change in (
        lambda: figure.update_layout(title="x"),
        lambda: figure.add_trace(go.Scatter(x=[1])),
        lambda: figure.update_traces(xgap=5),
        lambda: setattr(figure.layout.xaxis, "title", "x"),
    ):
        with pytest.raises(TypeError, match="draw on a copy"):
            change()
    assert json.dumps(figure.to_dict(), default=list) == before
    assert copy_of(figure).update_layout(title="x").layout.title.text == "x"


class Watched(dict):
    """A dictionary that may only be read."""

    def _refuse(self, *_):
        raise AssertionError("a finished figure was changed while it was copied")

    def __deepcopy__(self, memo):
        return {key: copy.deepcopy(value, memo) for key, value in self.items()}

    pop = popitem = __setitem__ = __delitem__ = update = setdefault = clear = _refuse


def test_a_copy_changes_nothing_of_the_figure_even_for_a_moment(measure, monkeypatch):
    figure = grid(measure)
    before = go.Figure(figure).to_json()
    monkeypatch.setitem(figure.__dict__, "_data", [Watched(props) for props in figure._data])
    own = copy_of(figure)
    assert type(own) is go.Figure
    assert own.to_json() == before
    with pytest.raises(AssertionError, match="while it was copied"):
        go.Figure(figure)  # what plotly's own copy does


def test_figures_copy_figures_in_one_way_only():
    for file in Path(lens.figures.__file__).parent.glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        bare = [node for node in calls if ast.unparse(node.func) == "go.Figure" and node.args]
        assert not [node for node in bare if isinstance(node.args[0], ast.Name) and node.args[0].id == "figure"], file


def test_what_is_not_drawn_is_added_to_a_copy(measure):
    figure = grid(measure)
    assert with_meta(figure, {"clicks": 2}).to_dict()["layout"]["meta"] == {"clicks": 2}
    assert "meta" not in figure.to_dict()["layout"]


def test_only_the_templates_that_are_used_are_sent(measure):
    figure = grid(measure)
    kinds = {trace.type for trace in figure.data}
    assert figure.to_dict()["layout"]["template"]["data"].keys() <= kinds


@pytest.mark.parametrize("axes", [Axes(), Axes("layer", "position", columns=["<s>", "a b", "[", "%{x}", "1,2", "·"])])
def test_a_map_says_of_every_cell_what_its_figure_says(measure, axes):
    reasons = [["", "no change", "", "", "", "not of this kind"]] * 12
    for figure in (grid(measure, axes), patch_map(measure, axes, reasons)):
        clicks = figure.data[-1]
        spec = sent(figure)
        wanted = {(x, y): f"{text}<extra></extra>" for x, y, text in zip(clicks.x, clicks.y, clicks.text)}
        assert labels(spec) == wanted
        assert len(json.dumps(figure.to_dict(), default=list)) < 0.8 * len(go.Figure(figure).to_json())
        for trace in spec["data"]:
            for x, y, data in zip(trace.get("x", ()), trace.get("y", ()), trace.get("customdata", ())):
                assert (data[1], data[0]) in ((x, y), (y, x))  # a click still gives row and column
                row = {str(i): int(value) for i, value in enumerate(data)} if isinstance(data, np.ndarray) else data
                event = {"selection": {"points": [{"customdata": row}]}}  # as Streamlit hands it back
                assert selected_cell(event) == (data[0], data[1])


class TestPairs:
    layers, heads = 5, 3
    index = np.indices((layers, heads, layers, heads))
    values = np.where(index[0] < index[2], np.random.default_rng(1).normal(scale=0.3, size=index[0].shape), np.nan)
    extra = {"z": 20 * values, "score": values.round(2)}

    @pytest.mark.parametrize("signed", [True, False])
    def test_every_pair_has_its_colour_and_its_numbers(self, signed):
        values = self.values if signed else np.abs(self.values)
        figure = pair_matrix(Pairs("K", "d", values, signed, self.extra))
        spec, n = sent(figure), self.layers * self.heads
        names = spec["layout"]["xaxis"]["labelalias"]
        flat = [np.float64(np.float32(one)).reshape(n, n) for one in (values, *self.extra.values())]
        drawn_pairs = labels(spec)
        assert len(drawn_pairs) == np.isfinite(flat[0]).sum()
        for (x, y), text in drawn_pairs.items():
            numbers = [f"{one[y, x]:.3f}" for one in flat]
            numbers = [text.removeprefix("-") if float(text) == 0 else text for text in numbers]  # as d3 does
            heading = f"<b>{y} → {x}</b>"
            assert text == f"{heading}<br><b>{numbers[0]}</b> K<br>{numbers[1]} z<br>{numbers[2]} score<extra></extra>"
            assert names[f"{x}.0"] == f"{x // self.heads}.{x % self.heads}"
            point = {"x": x, "y": y, "customdata": {str(i): 0 for i in range(3)}}
            pair = selected_pair({"selection": {"points": [point]}}, self.heads)
            assert pair == (*divmod(y, self.heads), *divmod(x, self.heads))
        whole = np.full((n, n), np.nan)
        for block in (trace for trace in spec["data"] if trace["type"] == "heatmap"):
            rows, columns = block["z"].shape
            whole[:rows, block["x0"] : block["x0"] + columns] = block["z"]
            assert block["zmin"] == (-block["zmax"] if signed else 0)
        assert (np.isnan(whole) == np.isnan(flat[0])).all()
        step = np.nanmax(np.abs(flat[0])) / spec["data"][0]["zmax"]
        assert np.nanmax(np.abs(step * whole - flat[0])) <= step / 2 + 1e-6

    def test_the_ticks_of_the_colours_say_the_numbers(self):
        spec = sent(pair_matrix(Pairs("K", "d", self.values, True)))
        bar, largest = spec["data"][0]["colorbar"], np.nanmax(np.abs(self.values))
        said = [float(text.replace("−", "-")) for text in bar["ticktext"]]
        assert np.allclose(np.array(bar["tickvals"]) / 127 * largest, said, atol=1e-6)
        assert 0 in said

    def test_numbers_that_do_not_fit_are_sent_as_they_are(self):
        for values in (5000 * self.values, np.where(self.values < 0, np.nan, self.values)):
            spec = sent(pair_matrix(Pairs("K", "d", values, True)))
            assert len(spec["data"]) == 2
            assert len(spec["data"][1]["customdata"][0]) == 5

    @pytest.mark.parametrize("less", [0.0, 0.2, 0.9])
    def test_a_very_large_map_says_every_number_and_all_of_the_pairs_that_stand_out(self, less, monkeypatch):
        monkeypatch.setattr("lens.figures.pairs.MANY", 20)
        monkeypatch.setattr("lens.figures.pairs.STRONG", 5)
        values, heads, n = np.clip(self.values, -0.2, 0.6), self.heads, self.layers * self.heads
        extra = {"whole": values + less} | self.extra
        spec = sent(pair_matrix(Pairs("K", "d", values, True, extra), chosen=(0, 1, 4, 2)))
        *blocks, points = spec["data"]
        flat, column = np.float64(np.float32(values)).reshape(n, n), 1 if less == 0.2 else 0
        common, whole = spec["layout"]["template"]["data"]["heatmap"][0], np.full((n, n), np.nan)
        for block in blocks:
            rows, columns = block["z"].shape
            whole[:rows, block["x0"] : block["x0"] + columns] = block["z"]
            assert block["zmin"] < 0 < block["zmax"]
            middle = (block["zmin"] + block["zmax"]) / 2
            assert middle == pytest.approx(1000 * less * column)  # no effect has the colour of none
        assert (np.isnan(whole) == np.isnan(flat)).all()
        assert np.nanmax(np.abs(whole / 1000 - less * column - flat)) <= 0.0005 + 1e-6
        assert ("%{z:05,d}</b> K" in common["hovertemplate"]) is (column == 0)
        assert ("%{z:05,d} whole, drawn less 0.200" in common["hovertemplate"]) is (column == 1)
        pairs = set(zip(points["x"].tolist(), points["y"].tolist()))
        senders = {y for x, y in pairs if x == 4 * heads + 2}
        assert senders == set(range(4 * heads))  # all of the chosen receiver
        best = {(x, int(np.nanargmax(flat[:, x]))) for x in range(heads, n)}
        every = np.argsort(-np.nan_to_num(flat, nan=-9), axis=None)[:5]
        assert best | {(int(at % n), int(at // n)) for at in every} <= pairs < set(zip(*np.nonzero(~np.isnan(flat.T))))
        assert {(y // heads, x // heads) for x, y in pairs} == {(a, b) for b in range(5) for a in range(b)}
        for x, y, data in zip(points["x"], points["y"], points["customdata"]):
            assert (
                np.abs(data / 1000 - [np.float32(one).reshape(n, n)[y, x] for one in (values, *extra.values())]).max()
                < 6e-4
            )

    def test_a_pair_of_a_large_model_takes_a_few_bytes(self):
        layers, heads = 30, 9
        index = np.indices((layers, heads, layers, heads))
        values = np.where(index[0] < index[2], np.random.default_rng(1).normal(scale=0.1, size=index[0].shape), np.nan)
        figure = pair_matrix(Pairs("K", "d", values, True, {"z": 3 * values, "score": np.abs(values)}))
        assert len(figure.to_json()) < 18 * np.isfinite(values).sum()


class TestPlaying:
    course = Course(np.array([1.0, 2, 4]), np.array([0.0, 0.3, 0.5]), ["0", "1", "2"], "x", "y", False, 0.1)
    patterns = np.tril(np.random.default_rng(2).random((3, 6, 6)) ** 4)
    whole = np.where(np.arange(6)[:, None] == 4, np.eye(6)[2] * 0.99999, patterns)

    @pytest.mark.parametrize("patterns", [patterns, whole])
    def test_every_share_is_read_with_the_digits_that_its_figure_shows(self, patterns):
        patterns = np.float32(patterns)
        figure = playing(patterns, list("abcdef"), self.course, title="t", at=1, marks=Marks([(2, 1)], "m"))
        spec = sent(figure)
        for i, frame in enumerate(spec["frames"]):
            for query in range(6):
                for key in range(6):
                    seen = [
                        spec["data"][place]["hovertemplate"].replace("%{z:04d}", f"{part['z'][query][key]:04d}")
                        for place, part in zip(frame["traces"], frame["data"])
                        if "z" in part and key < len(part["z"][query]) and part["z"][query][key] is not None
                    ]
                    share = f"{patterns[i, query, key]:.4f}"
                    expected = 0 < key <= query
                    assert (
                        seen
                        == [f"query %{{y}} → key %{{x}}<br><b>{share}</b> of its attention<extra></extra>"][
                            : int(expected)
                        ]
                    )
        bar = spec["data"][0]["colorbar"]
        assert [1e4 * float(text) for text in bar["ticktext"]] == bar["tickvals"]

    def test_a_cell_of_a_checkpoint_takes_a_few_bytes(self):
        patterns = np.tril(np.random.default_rng(2).dirichlet(np.full(51, 0.1), (20, 51)))
        course = self.course._replace(x=np.arange(20.0), score=np.arange(20.0), labels=["c"] * 20)
        figure = playing(patterns, ["t"] * 51, course, title="t")
        assert len(figure.to_json()) < 6 * 20 * 50 * 51 / 2 + 12_000


def test_curves_are_sent_with_their_numbers_and_intervals():
    x, y = np.array([1e6, 2e6, 3.5e7]), np.array([0.1234567, 2, 3])
    points = np.array([(0, i, -1, -1) for i in range(3)], np.int32)
    figure = training([Panel("p", [Trace("a", x, y, points, 0, y - 1, y + 1)])], Axis("tokens"), title="")
    curve = sent(figure)["data"][1]
    assert list(curve["x"]) == list(x)
    assert np.allclose(curve["y"], y, rtol=1e-7)
    assert np.array_equal(curve["customdata"], points)
    assert curve["text"][0] == " [-0.877, 1.123]"


def test_the_parts_of_one_trace_stand_once_in_the_legend():
    """Real and complex eigenvalues have labels of two forms; the head is one name in the legend."""
    own = np.concatenate([np.linspace(0.1, 1, 16), np.linspace(0.1, 0.9, 16) + 0.3j])
    figure = eigenvalues(own, np.zeros((2, 32), complex), title="t", definition="d")
    parts = [trace for trace in short_form(figure)["data"] if trace.get("name") == "this head"]
    assert len(parts) == 2
    assert [trace.get("showlegend") for trace in parts] == [None, False]
    assert {trace["legendgroup"] for trace in parts} == {"this head"}
