"""Below the map: exact against approximate values, and every pair by itself."""

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.interventions import ATTRIBUTION_NOTE, Agreement, agreement
from lens.analysis.interventions.map import pair_changes
from lens.figures.measure import Measure
from lens.figures.scatter import scatter
from lens.figures.theme import NEUTRAL
from lens.figures.theme import number as written
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.explanation import Explanation, explain
from lens.ui.pages.patching import words
from lens.ui.pages.patching.map import axes_of
from lens.ui.pages.patching.paths import show_paths
from lens.ui.pages.patching.read import PatchMap, approximation
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
    figure = scatter(x, y, axes=axes_of(result), n_labels=5, title=title)
    low, high = float(np.nanmin([exact, approximate])), float(np.nanmax([exact, approximate]))
    line = {"dash": "dot", "width": 1.5, "color": NEUTRAL}
    figure.add_shape(type="line", x0=low, x1=high, y0=low, y1=high, line=line)
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


def show_prompts(view: ViewState, model: HookedTransformer, result: PatchMap, cell: tuple[int, int]) -> None:
    """Every pair by itself: prompts, and the metric before, after and in the other run."""
    name, sweep, changes = words.cell_name(result, cell), result.sweep, pair_changes(result.sweep, cell)
    frame = pair_table(model, result.request.task.pairs)
    runs = {"before": sweep.base, "after": sweep.values[cell], "other run": sweep.other}
    parts.table(frame.assign(**runs), f"Every pair by itself, with {name} replaced")
    text = "No pair has this position."
    if changes is not None:
        text = (
            f"With {name} replaced, the change of single pairs runs from {written(changes.low)} to "
            f"{written(changes.high)} {result.unit}, its median is {written(changes.median)} (n = {changes.n})."
        )
    explain(view, model, Explanation(text, PAIR_MISREADING))


TABS = {
    "approximation": ("Against the approximation", show_agreement),
    "path": ("Path patching", show_paths),
    "prompts": ("Per prompt", show_prompts),
}
