"""Below the map: exact against approximate values, and every pair by itself."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from lens.figures.measure import Measure
from lens.figures.scatter import scatter
from lens.figures.theme import number as said
from lens.ui import parts
from lens.ui.explanation import Explanation, explain
from lens.ui.pages.patching import words
from lens.ui.pages.patching.map import axes_of, column_labels
from lens.ui.pages.patching.paths import show_paths
from lens.ui.pages.patching.read import Found, approximation
from lens.ui.shared.tasks import pair_table
from lens.ui.store import to_torch
from lens.ui.view import ViewState

PAIR_MISREADING = (
    "A single pair has no share of its own: its gap may be small, and its share wild. The map divides sums."
)
APPROXIMATE_MISREADING = (
    "A high correlation is no proof for a single cell: it comes from the many cells near zero. Saturated softmax and "
    "norms bend the metric, so the largest effects are the ones that are furthest off."
)


def show_agreement(view: ViewState, model: Any, found: Found, chosen: tuple[int, int]) -> None:
    """Exact against approximate values, one point per cell."""
    from lens.analysis.interventions import ATTRIBUTION_NOTE, agreement

    if found.approximate or not found.complete:
        parts.not_computed("the exact sweep is not finished, so there is nothing to hold the approximation against.")
        return
    rough = approximation(model, found.look)
    if rough is None:
        parts.not_computed("a rank has no gradient. Choose another metric, such as the logit difference.")
        return
    both = agreement(to_torch(found.sweep), to_torch(rough.sweep))
    shape, columns = found.sweep.values.shape[:2], column_labels(model, found)
    unit = found.look.experiment.metric.unit
    exact, rough_values = (one.numpy().reshape(shape) for one in (both.exact, both.approximate))
    x = Measure("exact change", "one run for each cell.", exact, unit, signed=True)
    y = Measure("approximate change", "attribution patching.", rough_values, unit, signed=True)
    title = "APPROXIMATION against exact values, one point per cell"
    figure = scatter(x, y, axes=axes_of(found, columns), n_labels=5, title=title, diagonal=True)
    text = agreement_notice(found, both, columns)
    parts.chart(figure, f"{title}. {text}")
    explain(view, model, Explanation(text, APPROXIMATE_MISREADING, measured=(("Approximation", ATTRIBUTION_NOTE),)))
    worst = [tuple(int(i) for i in np.unravel_index(index, shape)) for index in both.worst]
    frame = {
        "cell": [words.cell_name(found, one, columns) for one in worst],
        f"exact ({unit})": [float(exact[one]) for one in worst],
        f"approximate ({unit})": [float(rough_values[one]) for one in worst],
    }
    st.markdown("The cells that disagree most")
    st.dataframe(pd.DataFrame(frame), hide_index=True, alt="The cells at which the approximation is furthest off")


def agreement_notice(found: Found, both: Any, columns: list[str]) -> str:
    """Correlation, and the worst cell in numbers."""
    unit = found.look.experiment.metric.unit
    if np.isnan(both.correlation):
        return "No correlation: one of the two is the same in all cells."
    index = both.worst[0]
    place = tuple(int(i) for i in np.unravel_index(index, found.sweep.values.shape[:2]))
    off = float(both.approximate[index] - both.exact[index])
    return (
        f"r = {both.correlation:.3f} over {both.n} cells. Furthest off: {words.cell_name(found, place, columns)}, "
        f"exactly {said(float(both.exact[index]))} and approximately {said(float(both.approximate[index]))} {unit}, "
        f"a difference of {said(off)}."
    )


def show_prompts(view: ViewState, model: Any, found: Found, chosen: tuple[int, int]) -> None:
    """Every pair by itself."""
    from lens.analysis.interventions.map import pair_changes

    columns = column_labels(model, found)
    name, frame = words.cell_name(found, chosen, columns), prompt_table(model, found, chosen)
    st.dataframe(frame, hide_index=True, alt=f"Every pair by itself, with {name} replaced")
    changes, unit = pair_changes(found.sweep, chosen), found.look.experiment.metric.unit
    text = "No pair has this position."
    if changes is not None:
        text = (
            f"With {name} replaced, the change of single pairs runs from {said(changes.low)} to "
            f"{said(changes.high)} {unit}, its median is {said(changes.median)} (n = {changes.n})."
        )
    explain(view, model, Explanation(text, PAIR_MISREADING))


def prompt_table(model: Any, found: Found, chosen: tuple[int, int]) -> pd.DataFrame:
    """One row per pair: prompts, metric before, after and in the other run."""
    sweep = found.sweep
    base, other, after = (np.asarray(one, float) for one in (sweep.base, sweep.other, sweep.values[chosen]))
    frame = pair_table(model, found.look.chosen)
    frame["before"], frame["after"], frame["other run"] = base, after, other
    return frame


TABS = {
    "approximation": ("Against the approximation", show_agreement),
    "path": ("Path patching", show_paths),
    "prompts": ("Per prompt", show_prompts),
}
