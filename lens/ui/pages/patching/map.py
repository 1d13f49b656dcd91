"""The map of the Patching page, what a click on it does, and how far its approximation is off."""

from dataclasses import asdict
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure
from streamlit.delta_generator import DeltaGenerator

from lens.analysis.interventions import ATTRIBUTION_NOTE, Agreement, agreement, agreement_lines, to_python
from lens.analysis.interventions.map import head_of, reasons
from lens.figures.measure import HEADS, Axes, Measure
from lens.figures.patch_map import patch_map
from lens.figures.scatter import scatter
from lens.figures.theme import number as written
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.models import source_of
from lens.ui.pages.patching import HEAD, STREAM, words
from lens.ui.pages.patching.request import PatchMap, approximation
from lens.ui.store import to_torch
from lens.ui.view import ViewState

APPROXIMATE_MISREADING = (
    "A high correlation is no proof for a single cell: it comes from the many cells near zero. Saturated softmax and "
    "norms bend the metric, so the largest effects are the ones that are furthest off."
)


def axes_of(result: PatchMap) -> Axes:
    """Names of rows and columns; heads where both axes are theirs."""
    (row, rows), (column, _) = result.sweep.axes.items()
    if column == "head":
        return HEADS
    layer = result.request.experiment.grid.layer
    return Axes(row, "position", [str(at) if layer is None else f"{layer}.{at}" for at in rows], result.columns)


def make_figure(view: ViewState, result: PatchMap, cell: tuple[int, int] | None) -> Figure:
    """The map of all cells, ``cell`` framed."""
    cells, request = result.cells, result.request
    stamp = "APPROXIMATION · " if result.approximate else ""
    name, definition = words.name(result), words.definition(result)
    measure = Measure(name, definition, cells.value, cells.unit, cells.low, cells.high, signed=True)
    title = f"{stamp}{(STREAM | HEAD)[request.site]}: {name}, {request.task.title.lower()}"
    return patch_map(
        measure, axes_of(result), reasons(result.sweep.status), chosen=cell, pinned=view["pins"], title=title
    )


def draw_meanwhile(place: DeltaGenerator, view: ViewState, result: PatchMap) -> None:
    """The figure while it fills; it cannot be clicked yet."""
    with place.container():
        parts.chart(make_figure(view, result, None), f"The map so far. {words.notice(result)}")


def show_map(view: ViewState, result: PatchMap, cell: tuple[int, int]) -> Figure:
    """The clickable map; returns the figure."""
    figure = make_figure(view, result, cell)
    above = st.empty()  # always there: a place keeps what stood lower down in it, and that was the approximation's map
    if result.approximate:
        above.warning(words.APPROXIMATION, icon=":material/speed:")
    alt = f"{figure.layout.title.text}. {words.notice(result)}"
    parts.chart(figure, alt, "patching:map", partial(_click, view, result))
    return figure


def chosen_cell(view: ViewState, result: PatchMap) -> tuple[int, int]:
    """The cell of the address if this map has it, else the one with the largest effect."""
    n_rows, n_columns = result.cells.value.shape
    for row, column in view["cell"]:
        if row < n_rows and column < n_columns:
            return row, column
        view.note(f"this map has no cell {row}.{column}: showing the largest")
        view.set(cell=None)
    return result.cells.strongest(1)[0]


def _click(view: ViewState, result: PatchMap, cell: tuple[int, int]) -> None:
    """A click on a cell chooses it and selects its head, if it is one; a second one pins or unpins the head."""
    head = head_of(result.sweep, cell)
    if view["cell"] != (cell,):
        view.set(cell=(cell,), **({} if head is None else head._asdict()))
    elif head is not None:
        view.click(*head)


def show_agreement(view: ViewState, model: HookedTransformer, result: PatchMap, cell: tuple[int, int]) -> None:
    """Exact against approximate values, one point per cell."""
    if result.approximate or not result.sweep.complete:
        parts.not_computed("the exact sweep is not finished, so there is nothing to hold the approximation against.")
        return
    rough = approximation(model, result.request)
    if rough is None:
        parts.not_computed("a rank has no gradient. Choose another metric, such as the logit difference.")
        return
    both, shape = agreement(to_torch(result.sweep), to_torch(rough.sweep)), result.cells.value.shape
    exact, approximate = (side.numpy().reshape(shape) for side in (both.exact, both.approximate))
    x = Measure("exact change", "one run for each cell.", exact, result.unit, signed=True)
    y = Measure("approximate change", "attribution patching.", approximate, result.unit, signed=True)
    title = "APPROXIMATION against exact values, one point per cell"
    figure = scatter(x, y, axes=axes_of(result), n_labels=5, title=title, diagonal=True)
    worst = [np.unravel_index(index, shape) for index in both.worst]
    names = [words.cell_name(result, at) for at in worst]
    text = agreement_notice(both, result.unit, names)
    parts.chart(figure, f"{title}. {text}")
    explain(view, model, Explanation(text, APPROXIMATE_MISREADING, measured=(("Approximation", ATTRIBUTION_NOTE),)))
    sides = {f"exact ({result.unit})": exact, f"approximate ({result.unit})": approximate}
    frame = {"cell": names} | {name: [float(values[at]) for at in worst] for name, values in sides.items()}
    st.markdown("The cells that disagree most")
    parts.table(pd.DataFrame(frame), "The cells at which the approximation is furthest off")


def agreement_notice(both: Agreement, unit: str, worst: list[str]) -> str:
    """Correlation, and the worst cell in numbers; ``worst`` names the cells that disagree most."""
    if np.isnan(both.correlation):
        return "No correlation: one of the two is the same in all cells."
    exact, approximate = (float(side[both.worst[0]]) for side in (both.exact, both.approximate))
    return (
        f"r = {both.correlation:.3f} over {both.n} cells. Furthest off: {worst[0]}, exactly {written(exact)} and "
        f"approximately {written(approximate)} {unit}, a difference of {written(approximate - exact)}."
    )


def table(result: PatchMap) -> pd.DataFrame:
    """One row per cell: where it is, what it does, its interval, and why it was not computed if it was not."""
    cells, (row, column) = result.cells, result.sweep.axes
    rows, columns = np.meshgrid(result.sweep.axes[row], result.columns, indexing="ij")
    frame = {row: rows, column: columns, words.name(result): cells.value}
    if cells.low is not None:
        frame |= {"low": cells.low, "high": cells.high}
    how = "approximation" if result.approximate else "computed"
    why = [reason or how for row in reasons(result.sweep.status) for reason in row]
    return pd.DataFrame({name: values.ravel() for name, values in frame.items()} | {"how": why})


def draw_export(view: ViewState, result: PatchMap, figure: Figure) -> None:
    """CSV, JSON, the figure, and Python that needs only the package."""
    experiment, sweep, seed = result.request.experiment, result.sweep, result.seed
    payload = {"name": words.name(result), "definition": words.definition(result)} | asdict(result.cells)
    payload |= {name: getattr(sweep, name) for name in ("axes", "values", "base", "other", "status")}
    payload |= {"approximate": result.approximate, "notice": words.notice(result), "seed": seed}
    code = to_python(source_of(view), experiment, revision=view["revision"] or None, seed=seed)
    if view["more"] == "approximation" and experiment.metric.kind != "rank":
        code += agreement_lines()
    export(view, Export("patching", figure, partial(table, result), payload, code, opens_model=False))
