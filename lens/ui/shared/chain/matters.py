"""Sixth link: what the second copy costs when the head writes what it wrote where nothing repeats."""

import numpy as np
import streamlit as st

from lens.analysis.counts import counted
from lens.analysis.induction_loss import first_copy_losses
from lens.analysis.interventions import Experiment, effect, outline
from lens.analysis.interventions.ablation import Cells, chance, single_heads
from lens.analysis.interventions.removal import Removal, read_removal, removal_of
from lens.figures.effects import Mark, Named, effects
from lens.figures.effects import Removal as Row
from lens.figures.fitted import narrow
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.calls import analyse, call_key
from lens.ui.estimate import forward_seconds
from lens.ui.shared import experiments
from lens.ui.shared.chain.link import NOT_YET, Case, Finding, explain_link, may_start
from lens.ui.shared.wording import interval, percent, sentence, signed
from lens.ui.store import to_torch

WIDTH = 520  # pixels of the column, in full
DEFINITION = (
    "Loss of the second copy without the head minus with it. Without: its output is that of a run whose first copy is "
    "of other tokens, so that nothing repeats (resample ablation)."
)
STATES = {"found": "found", "none": "none", "unknown": ""}
NOT_INVOLVED = "No effect does not mean not involved."


def find(case: Case) -> Finding:
    """How much the loss of the second copy rises without it, beside the other heads of its layer."""
    repeated = to_torch(case.sample.repeated)
    cells, experiment = removal_of(case.model.cfg, repeated, case.head, case.view["seed"])
    if not _may_start(case, experiment, len(cells.sets), f"Head {case.head} is not removed yet."):
        return NOT_YET
    sweep, complete, _ = experiments.run(case.model, experiment, agreed=True)
    if not complete:
        return NOT_YET
    first_copy = to_torch(analyse(first_copy_losses, case.model, repeated))
    removal = analyse(read_removal, sweep, first_copy, case.view["seed"])
    numbers = {"change of loss": removal.change, "interval": [removal.low, removal.high]}
    numbers |= {"share of the way": removal.share and removal.share._asdict(), "verdict": removal.verdict.reason}
    words = f"{signed(removal.change)} nats without it"
    return Finding(words, STATES[removal.verdict.state], numbers, (cells, removal))


def draw(case: Case, finding: Finding) -> Finding:
    """Short: its sentence. In full: the other heads of its layer beside it, and its rank among all heads."""
    if finding.result is None:
        return finding
    cells, removal = finding.result
    if not case.full:
        explain_link(case, removal_words(removal))
        return finding
    _draw_effects(case, cells, removal)
    rank = _draw_rank(case)
    st.caption(f"{sentence(removal.note)} {NOT_INVOLVED}")
    return finding._replace(numbers=finding.numbers | {"rank": rank})


def removal_words(removal: Removal) -> str:
    """All of it in sentences."""
    text = (
        "With its output taken from a run whose first copy is of other tokens, the loss of the second copy goes "
        f"from {number(removal.base)} to {number(removal.base + removal.change)} nats: {signed(removal.change)}"
        f"{interval(removal.low, removal.high)}"
    )
    text += ". " if removal.share is None else f", {percent(removal.share.value)} of the way to the control run. "
    if len(removal.others):
        others = np.asarray(removal.others)
        ends = f"{signed(float(others.min()))} to {signed(float(others.max()))}"
        as_much = int((np.abs(others) >= abs(removal.change)).sum())
        text += f"Removed alike, {len(others)} other heads of its layer change it by {ends}"
        text += f"; {as_much} of them do as much. " if abs(removal.change) > removal.least else ". "
    if removal.repeats.found:
        text += f"The repetition saves {number(removal.saved)} in all; "
    return f"{text}n = {counted(removal.n, 'sequence')}. {removal.verdict.reason}"


def _may_start(case: Case, experiment: Experiment, n_changed: int, words: str) -> bool:
    """Whether this experiment may run, with ``n_changed`` changed runs of every pair."""
    n_pairs, n_pos = len(experiment.pairs), experiment.pairs.n_pos
    read = 2 * n_pairs * n_pos + n_changed * n_pairs * n_pos // 2  # on average half of the layers are run again
    key = f"matters-{call_key(outline, (case.model, experiment), {})}"
    done = experiments.is_computed(case.model, experiment)
    return may_start(case, key, forward_seconds(case.model, read), words, done)


def _draw_effects(case: Case, cells: Cells, removal: Removal) -> None:
    name = str(case.head)
    controls = [Named(target.label, float(value)) for target, value in zip(cells.controls, removal.others)]
    row = Row("Resample", Named(name, removal.change), removal.low, removal.high, controls=controls)
    marks = [Mark(removal.saved, "as in the control run")] if removal.share is not None else []
    title = f"Loss of the second copy without head {name}"
    figure = effects([row], "nats", title=title, definition=f"{DEFINITION} {cells.note}.", marks=marks)
    parts.chart(narrow(figure, WIDTH), f"{title}. {removal_words(removal)}", key="head:matters")
    control = "the other heads of its layer, removed alike" if controls else "none: it is alone in its layer"
    explain_link(case, removal_words(removal), help=parts.metric_help(DEFINITION, "nats", control))


def _draw_rank(case: Case) -> str | None:
    """The place of the head among all, by how much the loss rises; computed when short, asked for or known."""
    cfg, seed = case.model.cfg, case.view["seed"]
    _, removed = removal_of(cfg, to_torch(case.sample.repeated), case.head, seed)
    experiment = single_heads(removed.pairs, removed.metric)
    if not _may_start(case, experiment, cfg.n_layers * cfg.n_heads, "Its rank needs every head to be removed once."):
        return None
    sweep, complete, _ = experiments.run(case.model, experiment, agreed=True)
    if not complete:
        return None
    values, band = analyse(effect, sweep, seed).value, analyse(chance, sweep, seed)
    if band.reach is None:
        st.markdown("Too few sequences to rank the heads.")
        return None
    if not abs(float(values[case.head])) > float(band.reach[case.head]):
        st.markdown("No more than the sampling of sequences would give the largest of all heads: no rank.")
        return None
    rank = f"{1 + int((values > values[case.head]).sum())} of {values.size}"
    st.markdown(
        f"Rank {rank} heads by the rise of the loss: more than the sampling of sequences would give the largest of "
        "all heads."
    )
    return rank
