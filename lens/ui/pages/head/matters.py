"""Fifth link: what the second copy costs when the head writes what it wrote where nothing repeats."""

from typing import Any

import streamlit as st

from lens.analysis.interventions import Pairs, effect, outline, sweep_group
from lens.analysis.interventions.ablation import Cells, chance, single_heads
from lens.figures.effects import Mark, Named, effects
from lens.figures.effects import Removal as Row
from lens.figures.fitted import narrow
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.calls import analyse, call_key, result_store
from lens.ui.estimate import forward_seconds
from lens.ui.pages.ablation import words
from lens.ui.pages.ablation.read import filled
from lens.ui.pages.head.chain import Data, Finding
from lens.ui.shared.removal import DEFINITION, Removal, removal, removal_of, state, told
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.waiting import started

WIDTH = 520  # pixels of the column


def show(view: ViewState, model: Any, head: tuple[int, int], data: Data) -> Finding:
    """The head beside the other heads of its layer, on the sequences of the scores."""
    cells, experiment = removal_of(model.cfg, to_torch(data.sample.repeated), head, view["seed"])
    n_rows = len(cells.sets) * len(experiment.pairs)
    sentence = f"Head {head[0]}.{head[1]} is not removed yet."
    if not _started(model, experiment, seconds(model, experiment.pairs, n_rows), sentence):
        return Finding("not computed yet", "later")
    result, complete = filled(model, experiment, agreed=True)
    if not complete:
        return Finding("not computed: cancelled", "later")
    found = removal(model, to_torch(data.sample.repeated), result, view["seed"])
    _draw(head, cells, found)
    rank = _rank(view, model, head, (experiment.pairs, experiment.metric))
    st.caption(f"{found.note[:1].upper()}{found.note[1:]}. {words.MISREADING.split('. ')[0]}.")
    row = {"change of loss": found.change, "interval": [found.low, found.high], "rank": rank}
    row |= {"share of the way": found.share and found.share._asdict(), "verdict": found.verdict.reason}
    text = f"{number(found.change)} nats{'' if rank is None else f', rank {rank}'}"
    return Finding(text, state(found), row)


def seconds(model: Any, pairs: Pairs, n_rows: int) -> float:
    """Rough time: both runs and the changed ones."""
    return forward_seconds(model, (2 * len(pairs) + n_rows) * pairs.n_pos)


def _started(model: Any, experiment: Any, estimate: float, sentence: str) -> bool:
    key = f"matters-{call_key(outline, (model, experiment), {})}"
    return started(key, estimate, sentence, _cached(model, experiment))


def _cached(model: Any, experiment: Any) -> bool:
    """Whether all of a sweep has been computed before, by anyone."""
    first = result_store().get(call_key(outline, (model, experiment), {}))
    if first is None:
        return False
    keys = (call_key(sweep_group, (group, model, experiment), {}) for group in range(first.value.n_groups))
    return all(result_store().get(key) is not None for key in keys)


def _draw(head: tuple[int, int], cells: Cells, found: Removal) -> None:
    name = f"{head[0]}.{head[1]}"
    controls = [Named(one.label, float(value)) for one, value in zip(cells.controls, found.others)]
    row = Row("Resample", Named(name, found.change), found.low, found.high, controls=controls)
    marks = [Mark(found.saved, "as in the control run")] if found.share is not None else []
    title = f"Without head {name}: change of the loss of the second copy"
    figure = effects([row], "nats", title=title, definition=f"{DEFINITION} {cells.note}.", marks=marks)
    parts.chart(narrow(figure, WIDTH), f"{title}. {told(found)}", key="head:matters")
    control = "the other heads of its layer, removed alike" if controls else "none: it is alone in its layer"
    st.markdown(told(found), help=parts.metric_help(DEFINITION, "nats", control))


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
    band = analyse(chance, result, view["seed"])
    if band.reach is None:
        st.markdown("Too few sequences to rank the heads.")
        return None
    if not abs(float(values[head])) > float(band.reach[head]):
        st.markdown("No more than the sampling of sequences would give the largest of all heads: no rank.")
        return None
    rank = f"{1 + int((values > values[head]).sum())} of {values.numel()}"
    st.markdown(
        f"Rank {rank} heads by the rise of the loss: more than the sampling of sequences would give the largest of "
        "all heads."
    )
    return rank
