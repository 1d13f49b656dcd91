"""The map of the Patching page, and what a click on it does."""

from dataclasses import asdict
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure
from streamlit.delta_generator import DeltaGenerator

from lens.analysis.interventions import agreement_lines, to_python
from lens.analysis.interventions.map import head_of
from lens.figures.measure import HEADS, Axes, Measure
from lens.figures.patch_map import patch_map
from lens.ui import parts
from lens.ui.export import Export, export
from lens.ui.models import source_of
from lens.ui.pages.patching import HEAD, STREAM, words
from lens.ui.pages.patching.read import PatchMap
from lens.ui.view import ViewState


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
    reasons = words.reasons(result.sweep.status)
    return patch_map(measure, axes_of(result), reasons, chosen=cell, pinned=view["pins"], title=title)


def draw_meanwhile(place: DeltaGenerator, view: ViewState, result: PatchMap) -> None:
    """The figure while it fills; it cannot be clicked yet."""
    with place.container():
        parts.chart(make_figure(view, result, None), f"The map so far. {words.notice(result)}")


def show_map(view: ViewState, result: PatchMap, cell: tuple[int, int]) -> Figure:
    """The clickable map; returns the figure."""
    figure = make_figure(view, result, cell)
    if result.approximate:
        st.warning(words.APPROXIMATION, icon=":material/speed:")
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


def table(result: PatchMap) -> pd.DataFrame:
    """One row per cell: where it is, what it does, its interval, and why it was not computed if it was not."""
    cells, (row, column) = result.cells, result.sweep.axes
    rows, columns = np.meshgrid(result.sweep.axes[row], result.columns, indexing="ij")
    frame = {row: rows, column: columns, words.name(result): cells.value}
    if cells.low is not None:
        frame |= {"low": cells.low, "high": cells.high}
    how = "approximation" if result.approximate else "computed"
    why = [reason or how for reasons in words.reasons(result.sweep.status) for reason in reasons]
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
