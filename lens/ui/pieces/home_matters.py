"""One head removed on repeats, beside the other heads of its layer: what is run, and what it says."""

from typing import Any

import numpy as np

from lens.analysis.interventions import Experiment, Grid, Intervention, effect, heads_set
from lens.analysis.interventions.tasks import induction_on
from lens.figures.theme import number
from lens.ui.pieces.home import Found

OTHERS = 8  # heads of the same layer that are removed for comparison; drawn if there are more
NEGLIGIBLE = 0.01  # nats, and share of what the repetition saves: less is rounding, whatever the interval says

Head = tuple[int, int]


def removals(cfg: Any, repeated: Any, head: Head, seed: int) -> tuple[list[Head], Experiment]:
    """The heads that are removed one at a time, ``head`` among them, in the order of the cells of the experiment."""
    heads = [(head[0], index) for index in range(cfg.n_heads)]
    others = [one for one in heads if one != head]
    if len(others) > OTHERS:
        drawn = np.random.default_rng(seed).choice(len(others), OTHERS, replace=False)
        heads = sorted([head, *(others[i] for i in drawn)])
    task = induction_on(repeated)
    grid = Grid(sets=tuple(heads_set([one]) for one in heads))
    return heads, Experiment(task.pairs, Intervention("z", put="other", into="clean"), grid, task.metric)


def matters_words(sweep: Any, heads: list[Head], head: Head, seed: int) -> tuple[Found, str]:
    """The change of the second copy's loss without the head, its interval, and the same for the other heads."""
    result, place = effect(sweep, seed), heads.index(head)
    changes = np.asarray(result.value)
    change, base = float(changes[place]), float(sweep.base.mean())
    saved = float(sweep.other.mean()) - base
    low, high = (None, None) if result.low is None else (float(result.low[place]), float(result.high[place]))
    interval = "" if low is None else f" [{number(low)}, {number(high)}]"
    told = (
        f"With its output taken from a run whose first copy is of other tokens, the loss of the second copy goes from "
        f"{number(base)} to {number(base + change)} nats: {_signed(change)}{interval}. "
    )
    others = [float(value) for one, value in zip(heads, changes) if one != head]
    if others:
        ends = f"{_signed(min(others))} to {_signed(max(others))}"
        told += f"Removed alike, {len(others)} other heads of its layer change it by {ends}. "
    told += f"The repetition saves {number(saved)} in all; n = {result.n} sequences. "
    state, verdict = _verdict(change, low, high, NEGLIGIBLE * max(1.0, abs(saved)))
    return Found(f"{_signed(change)} nats without it", state), told + verdict


def _verdict(change: float, low: float | None, high: float | None, least: float) -> tuple[str, str]:
    if low is None:
        return "", "Too few sequences for an interval: no verdict."
    if low > least:
        return "found", "The model needs it to repeat."
    if high < -least:
        return "none", "The model repeats better without it."
    if abs(change) <= least:
        return "none", f"Less than {number(least)} nats is nothing: the model repeats as well without it."
    return "none", "The interval reaches what counts as nothing: it cannot be said to matter."


def _signed(value: float) -> str:
    return number(value) if value < 0 else f"+{number(value)}"
