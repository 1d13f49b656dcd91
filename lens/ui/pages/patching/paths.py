"""Path patching: what every head, MLP and the embedding tells the chosen receivers directly, all in one sweep."""

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure

from lens.analysis.counts import counted
from lens.analysis.interventions import Path, PathSweep, path_effect, paths_to_python, senders_in_order
from lens.analysis.interventions.map import head_of
from lens.analysis.interventions.path import PathSummary, path_summary, receivers_of
from lens.analysis.interventions.results import Effect
from lens.analysis.names import Head, parse_heads
from lens.figures.grid import grid
from lens.figures.measure import Measure
from lens.figures.theme import number as written
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.models import source_of
from lens.ui.pages.patching import INPUTS
from lens.ui.pages.patching.request import PatchMap
from lens.ui.shared import experiments
from lens.ui.shared.task_fields import METRICS
from lens.ui.shared.wording import sentence
from lens.ui.store import to_numpy
from lens.ui.view import ViewState
from lens.ui.widgets import segmented, text_line

N_SENDERS = 12
INPUT_HELP = (
    "What the direct path ends in. **Final stream:** what the logits are read from. **Queries, keys, values:** of the "
    "receivers."
)
RECEIVERS_HELP = (
    "Heads as layer.head with commas, such as 18.6, 17.3; all of them receive at once. Empty: the pinned heads; "
    "without pins, the head that is chosen in the map. Keys and values are those of the group a head belongs to. "
    "A click in the grid below selects a sender, a second one pins it; either writes the receivers here, so that they "
    "stay."
)
MISREADING = (
    "Only the sender's own write reaches the receiver: no head or MLP between them may react. So a component that acts "
    "through others shows nothing here, though its cell in the map is bright. Nor do single paths have to add up to "
    "all of them at once: the softmax and the norms are no sums."
)
FORMULA = r"x_R' = x_R + \left( w_S^{\text{other}} - w_S \right), \qquad \text{effect}_S = m(x_R') - m(x_R)"
WHERE = (
    "x_R is the stream that the receivers read, w_S what the sender writes into it, m the metric of a run in which "
    "only what the receivers make of x_R′ (their queries, keys or values, or the logits) is replaced. Sources: Wang et "
    "al. 2022, Goldowsky-Dill et al. 2023."
)


def show_paths(view: ViewState, model: HookedTransformer, result: PatchMap, cell: tuple[int, int]) -> None:
    """The grid of all senders for the chosen receivers; it fills while it runs, and a click selects the sender."""
    through = segmented(view, "input", tuple(INPUTS), "Into", INPUT_HELP, format_func=INPUTS.get)
    experiment = result.request.experiment
    if experiment.metric.kind == "kl":
        parts.not_computed(f"{METRICS['kl'].lower()} is not offered for single paths. Choose another metric.")
        return
    heads = () if through == "final" else _choose_receivers(view, model, head_of(result.sweep, cell))
    if heads is None:
        return
    receivers, changed = receivers_of(model.cfg, through, heads), experiment.intervention.into
    path = Path(experiment.pairs, through, receivers, None, experiment.metric, "other", changed)
    end = INPUTS[through].lower() + (f" of {_names(receivers)}" if receivers else "")
    place = st.empty()

    def draw(paths: PathSweep) -> None:
        effect = to_numpy(path_effect(paths, view["seed"]))
        with place:
            parts.chart(_figure(view, paths, effect, path_summary(paths), end), "The senders so far")

    paths, _, started = experiments.run(model, path, draw)
    if not started:
        return
    effect, summary = analyse(path_effect, paths, view["seed"]), path_summary(paths)
    figure, text = _figure(view, paths, effect, summary, end), path_notice(summary, paths.path.metric.unit, end)
    with place.container():
        alt = f"{figure.layout.title.text}. {text}"
        parts.chart(figure, alt, "patching:paths", partial(_click, view, heads))
    sample = f"n = {counted(effect.n, 'pair')}. {sentence(effect.note)} Put in: what the sender wrote in the other run."
    explain(view, model, Explanation(text, MISREADING, (), (("Sample", sample),), FORMULA, WHERE))
    parts.table(sender_table(paths, N_SENDERS), f"Senders by their direct effect on the {end}")
    _draw_export(view, paths, figure, text)


def _choose_receivers(view: ViewState, model: HookedTransformer, chosen: Head | None) -> tuple[Head, ...] | None:
    """The typed heads, else the pinned ones, else the one chosen in the map, else the current one; None: refused."""
    first = view["pins"] or (chosen or Head(view["layer"], view["head"]),)
    typed = text_line(view, "receivers", "Receivers", RECEIVERS_HELP, width=420, placeholder=_names(first))
    try:
        return tuple(parse_heads(typed, model.cfg)) or tuple(first)
    except ValueError as error:
        parts.not_computed(f"the receivers cannot be read. {error}")
        return None


def _figure(view: ViewState, paths: PathSweep, effect: Effect, summary: PathSummary, end: str) -> Figure:
    unit = paths.path.metric.unit
    definition = (
        f"Change of the metric when only the direct path from a head to the {end} is patched. All senders at once: "
        f"{_with_unit(summary.together, unit)}."
    )
    measure = Measure("direct effect", definition, effect.value, unit, effect.low, effect.high, signed=True)
    largest = max((abs(effect) for _, effect in summary.strongest), default=0) or 1.0  # beside MLPs and the embedding
    title = f"Direct paths into the {end}"
    return grid(measure, pinned=view["pins"], current=view.selected, title=title, ends=(-largest, largest))


def _click(view: ViewState, heads: Sequence[Head], sender: tuple[int, ...]) -> None:
    """A click selects the sender, a second one pins it; the receivers, which may be either, stay what they were."""
    view.click(*sender)
    if heads:
        view.set(receivers=_names(heads))


def sender_table(paths: PathSweep, most: int | None = None) -> pd.DataFrame:
    """The senders, the largest direct effect first."""
    rows = [(sender.label, effect) for sender, effect in senders_in_order(paths)]
    return pd.DataFrame(rows[:most], columns=["sender", f"direct effect ({paths.path.metric.unit})"])


def path_notice(summary: PathSummary, unit: str, end: str) -> str:
    """The strongest senders, and how far all direct paths together go; ``unit`` of the metric."""
    if not summary.acts:
        return f"No component changes the metric through a direct path into the {end}."
    top = ", ".join(f"{sender.label} ({written(effect)})" for sender, effect in summary.strongest)
    missing = f" {summary.n_missing} heads are not computed yet." if summary.n_missing else ""
    return (
        f"Strongest direct senders into the {end}: {top}. All senders at once do {_with_unit(summary.together, unit)}, "
        f"their single paths add up to {written(summary.total)}; the two runs differ by "
        f"{_with_unit(summary.gap, unit)}.{missing}"
    )


def _with_unit(value: float, unit: str) -> str:
    return f"{written(value)} {unit}".strip()


def _names(heads: Sequence[Head]) -> str:
    return ", ".join(map(str, heads))


def _draw_export(view: ViewState, paths: PathSweep, figure: Figure, text: str) -> None:
    path, numbers = paths.path, to_numpy(paths._asdict())
    payload = {name: numbers[name] for name in ("heads", "mlps", "embed", "together", "base", "other")}
    payload |= {"input": path.input, "receivers": path.receivers, "unit": path.metric.unit, "notice": text}
    code = paths_to_python(source_of(view), path, view["revision"] or None, view["seed"])
    export(view, Export("paths", figure, partial(sender_table, paths), payload, code, False, False))
