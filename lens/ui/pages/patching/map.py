"""The map of the Patching page, and what a click on it does."""

from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.names import Head
from lens.figures.measure import HEADS, Axes, Measure
from lens.figures.patch_map import patch_map
from lens.ui import parts
from lens.ui.export import Export, export
from lens.ui.labels import token_labels
from lens.ui.models import source_of
from lens.ui.pages.patching import words
from lens.ui.pages.patching.controls import site_names
from lens.ui.pages.patching.read import Found
from lens.ui.view import ViewState

KEY = "patching:map"


def column_labels(model: Any, found: Found) -> list[str]:
    """Positions as "10 Mary": the token of the first pair, "…" where pairs differ, "≠" where clean and corrupted do."""
    if "pos" not in found.sweep.axes:
        return [str(head) for head in found.sweep.axes["head"]]
    pairs = found.look.experiment.pairs
    clean = token_labels(model, max(pairs.clean, key=len))
    labels = []
    for pos in found.sweep.axes["pos"]:
        here = {ids[pos] for ids in pairs.clean if pos < len(ids)}
        differs = any(a[pos] != b[pos] for a, b in zip(pairs.clean, pairs.corrupted) if pos < len(a))
        labels.append(f"{pos} {clean[pos].strip()}{'…' * (len(here) > 1)}{' ≠' * differs}")
    return labels


def axes_of(found: Found, columns: list[str]) -> Axes:
    """Names of rows and columns; heads where both axes are theirs."""
    rows = list(found.sweep.axes)
    if rows == ["layer", "head"]:
        return HEADS
    if rows == ["head", "pos"]:
        layer = found.look.experiment.grid.layer
        return Axes("head", "position", [f"{layer}.{head}" for head in found.sweep.axes["head"]], columns)
    return Axes("layer", "position", [str(layer) for layer in found.sweep.axes["layer"]], columns)


def make_figure(view: ViewState, model: Any, found: Found, chosen: tuple[int, int] | None) -> Any:
    """The map of all cells."""
    cells, columns = found.cells, column_labels(model, found)
    stamp = "APPROXIMATION · " if found.approximate else ""
    name = words.name(found.look, cells)
    definition = words.definition(found.look, cells)
    measure = Measure(name, definition, cells.value, cells.unit, cells.low, cells.high, signed=True)
    title = f"{stamp}{site_names(found.look.site)}: {name}, {found.look.chosen.title.lower()}"
    reasons = words.reasons(found.sweep.status)
    return patch_map(measure, axes_of(found, columns), reasons, chosen=chosen, pinned=view["pins"], title=title)


def draw_meanwhile(place: Any, view: ViewState, model: Any, found: Found) -> None:
    """The figure while it fills: looked at, not clicked."""
    with place.container():
        parts.chart(make_figure(view, model, found, None), f"The map so far. {notice(model, found)}")


def show_map(view: ViewState, model: Any, found: Found, chosen: tuple[int, int]) -> Any:
    """The clickable map; returns the figure."""
    figure = make_figure(view, model, found, chosen)
    if found.approximate:
        st.warning(words.APPROXIMATION, icon=":material/speed:")
    alt = f"{figure.layout.title.text}. {notice(model, found)}"
    parts.chart(figure, alt, KEY, partial(_choose_clicked, view, found))
    return figure


def notice(model: Any, found: Found) -> str:
    """The NOTICE line."""
    return words.notice(found, column_labels(model, found))


def chosen_cell(view: ViewState, found: Found) -> tuple[int, int]:
    """The cell of the address if this map has it, else the one with the largest effect."""
    value = found.cells.value
    for row, column in view["cell"]:
        if row < value.shape[0] and column < value.shape[1]:
            return row, column
        view.note(f"this map has no cell {row}.{column}: showing the largest")
        view.set(cell=None)
    return found.cells.strongest(1)[0]


def _choose_clicked(view: ViewState, found: Found, cell: tuple[int, int]) -> None:
    """A click on a cell chooses it and selects its head, if it is one; a second one pins or unpins the head."""
    head = head_of(found, cell)
    if view["cell"] != (cell,):
        view.set(cell=(cell,), **({} if head is None else {"layer": head[0], "head": head[1]}))
    elif head is not None:
        view.click(*head)


def head_of(found: Found, cell: tuple[int, int]) -> Head | None:
    """The head of a cell; None for the stream, and for keys and values that several heads share."""
    axes, site = found.sweep.axes, found.look.site
    if "head" not in axes or site in ("k", "v"):
        return None
    if "layer" in axes:
        return Head(axes["layer"][cell[0]], axes["head"][cell[1]])
    return Head(found.look.experiment.grid.layer, axes["head"][cell[0]])


def table(model: Any, found: Found) -> pd.DataFrame:
    """One row per cell: where it is, what it does, its interval, and why it was not computed if it was not."""
    cells, columns = found.cells, column_labels(model, found)
    (row_name, rows), (column_name, _) = found.sweep.axes.items()
    grid = np.meshgrid(rows, columns, indexing="ij")
    why = words.reasons(found.sweep.status)
    frame = {
        row_name: grid[0].ravel(),
        column_name: grid[1].ravel(),
        words.name(found.look, cells): cells.value.ravel(),
    }
    if cells.low is not None:
        frame |= {"low": cells.low.ravel(), "high": cells.high.ravel()}
    how = "approximation" if found.approximate else "computed"
    frame["how"] = [one or how for row in why for one in row]
    return pd.DataFrame(frame)


def take_away(view: ViewState, model: Any, found: Found, figure: Any) -> None:
    """CSV, JSON, the figure, and Python that needs only the package."""
    from lens.analysis.interventions import agreement_lines, to_python

    experiment, cells = found.look.experiment, found.cells
    payload = {"name": words.name(found.look, cells), "definition": words.definition(found.look, cells)}
    payload |= asdict(cells) | {"axes": found.sweep.axes, "values": found.sweep.values, "base": found.sweep.base}
    payload |= {"other": found.sweep.other, "status": found.sweep.status, "approximate": found.approximate}
    payload |= {"notice": notice(model, found), "seed": found.seed}
    code = to_python(source_of(view), experiment, revision=view["revision"] or None, seed=found.seed)
    if view["more"] == "approximation" and experiment.metric.kind != "rank":
        code += agreement_lines()
    export(view, Export("patching", figure, lambda: table(model, found), payload, code, opens_model=False))
