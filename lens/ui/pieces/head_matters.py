"""Fifth link: what the second copy costs when the head writes what it wrote where nothing repeats."""

from typing import Any

import numpy as np
import streamlit as st

from lens.analysis.interventions import Metric, Pairs, effect, outline, sweep_group
from lens.analysis.interventions.ablation import Cells, Target, ablation, cells_of, chance, share_of_gap, single_heads
from lens.analysis.interventions.tasks import repeat_pairs
from lens.figures.effects import Mark, Named, Removal, effects
from lens.figures.fitted import narrow
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.calls import analyse, call_key, result_store
from lens.ui.estimate import forward_seconds
from lens.ui.pieces import ablation_words as words
from lens.ui.pieces.ablation import filled
from lens.ui.pieces.head import Data, Finding
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.waiting import AGREED, offer, remembered

ASK = 2.0  # seconds above which this link waits for a click: it is one of many on the page
WIDTH = 520  # pixels of the column
DEFINITION = (
    "Loss of the second copy without the head minus with it. Without: its output is that of a run whose first copy is "
    "of other tokens, so that nothing repeats (resample ablation)."
)


def show(view: ViewState, model: Any, head: tuple[int, int], data: Data) -> Finding:
    """The head beside the other heads of its layer, on the sequences of the scores."""
    pairs, metric = task(data)
    cells = cells_of(model.cfg, Target((head,)), view["seed"])
    experiment = ablation(pairs, metric, cells)
    n_rows = len(cells.sets) * len(pairs)
    if not _started(model, experiment, seconds(model, pairs, n_rows), f"Head {head[0]}.{head[1]} is not removed yet."):
        return Finding("not computed yet", "later")
    result, complete = filled(model, experiment, agreed=True)
    if not complete:
        return Finding("not computed: cancelled", "later")
    return _found(view, model, head, (pairs, metric), cells, result)


def task(data: Data) -> tuple[Pairs, Metric]:
    """The sequences of the scores beside ones that repeat nothing; loss of the second copy but for its first token."""
    repeated = to_torch(data.sample.repeated)
    metric = Metric("loss", where=tuple(repeated.queries)[:-1])
    return repeat_pairs(repeated), metric


def seconds(model: Any, pairs: Pairs, n_rows: int) -> float:
    """Rough time: both runs and the changed ones."""
    return forward_seconds(model, (2 * len(pairs) + n_rows) * pairs.n_pos)


def _started(model: Any, experiment: Any, estimate: float, sentence: str) -> bool:
    """Whether the work is short, asked for or done already; else its button is drawn."""
    key = f"matters-{call_key(outline, (model, experiment), {})}"
    if estimate <= ASK or key in remembered(AGREED) or _cached(model, experiment):
        return True
    offer(key, sentence, f"Compute, about {estimate:.0f} s")
    return False


def _cached(model: Any, experiment: Any) -> bool:
    """Whether all of a sweep has been computed before, by anyone."""
    first = result_store().get(call_key(outline, (model, experiment), {}))
    if first is None:
        return False
    keys = (call_key(sweep_group, (group, model, experiment), {}) for group in range(first.value.n_groups))
    return all(result_store().get(key) is not None for key in keys)


def _found(view: ViewState, model: Any, head: tuple[int, int], on: tuple, cells: Cells, result: Any) -> Finding:
    """The figure, its sentence, and the rank among all heads."""
    found, name = effect(result, view["seed"]), f"{head[0]}.{head[1]}"
    values = found.value.numpy()
    ends = (None, None) if found.low is None else (float(found.low[0]), float(found.high[0]))
    base, gap = float(result.base.mean()), float(result.other.mean() - result.base.mean())
    controls = [Named(one.label, float(value)) for one, value in zip(cells.controls, values[1:])]
    row = Removal("Resample", Named(name, float(values[0])), *ends, controls=controls)
    share = share_of_gap(float(values[0]), result)
    marks = [Mark(gap, "as in the control run")] if share is not None else []
    title = f"Without head {name}: change of the loss of the second copy"
    figure = effects([row], "nats", title=title, definition=f"{DEFINITION} {cells.note}.", marks=marks)
    told = f"The loss of the second copy goes from {number(base)} to {number(base + float(values[0]))} nats: a change "
    told += f"of {number(float(values[0]))}{words.interval(*ends)}"
    told += "." if share is None else f", {words.percent(share)} of the way to the control run."
    as_much = int((np.abs(values[1:]) >= abs(values[0])).sum())
    told += f" {as_much} of {len(controls)} other heads of layer {head[0]} do as much." if controls else ""
    parts.chart(narrow(figure, WIDTH), f"{title}. {told}", key="head:matters")
    control = "the other heads of its layer, removed alike" if controls else "none: it is alone in its layer"
    st.markdown(told, help=parts.metric_help(DEFINITION, "nats", control))
    rank = _rank(view, model, head, on)
    st.caption(f"n = {found.n} sequences. {found.note[:1].upper()}{found.note[1:]}. {words.MISREADING.split('. ')[0]}.")
    row_out = {"change of loss": float(values[0]), "interval": list(ends), "share of the way": share, "rank": rank}
    state = "" if ends[0] is None else "found" if ends[0] > words.NEGLIGIBLE * max(1.0, abs(gap)) else "none"
    return Finding(f"{number(float(values[0]))} nats{'' if rank is None else f', rank {rank}'}", state, row_out)


def _rank(view: ViewState, model: Any, head: tuple[int, int], on: tuple) -> str | None:
    """The place of the head among all, by how much the loss rises; computed when short, asked for or known."""
    experiment = single_heads(*on)
    n_rows = model.cfg.n_layers * model.cfg.n_heads * len(on[0]) // 2  # on average half of the layers are run again
    sentence = "Its rank needs every head to be removed once."
    if not _started(model, experiment, seconds(model, on[0], n_rows), sentence):
        return None
    result, complete = filled(model, experiment, agreed=True)
    if not complete:
        return None
    values = effect(result, view["seed"]).value
    rank = f"{1 + int((values > values[head]).sum())} of {values.numel()}"
    text = f"Rank {rank} heads by the rise of the loss."
    band = analyse(chance, result, view["seed"])
    if band.reach is not None:
        beyond = abs(float(values[head])) > float(band.reach[head])
        text += (
            f" {'More' if beyond else 'No more'} than the sampling of sequences would give the largest of all heads."
        )
    st.markdown(text)
    return rank
