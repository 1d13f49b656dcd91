"""Random tokens, repeated: the text on which a model can only do well by copying, and its loss at every position."""

from __future__ import annotations

from itertools import takewhile

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.counts import counted
from lens.analysis.induction_loss import DEFINITION, InductionLoss, repeat_losses_of, summarise_repeats
from lens.analysis.random_tokens import repeated_tokens
from lens.analysis.stats import MIN_SAMPLES
from lens.figures.strip import Scale, token_strip
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse, sweep
from lens.ui.estimate import forward_seconds
from lens.ui.labels import token_labels
from lens.ui.limits import limits
from lens.ui.outcome import Explanation, Export, Outcome
from lens.ui.shared import repeat_loss
from lens.ui.shared.repeats import block_bounds, settings
from lens.ui.store import to_numpy
from lens.ui.view import ViewState
from lens.ui.widgets import number

FORMULA = (
    r"\bar L_t = \frac1S \sum_{s=1}^S -\ln P(x^s_t \mid x^s_{<t}), "
    r"\qquad x = \text{[BOS]}\ r_1 \dots r_n\ r_1 \dots r_n"
)


def draw(view: ViewState, model: HookedTransformer) -> Outcome | None:
    """The whole tab."""
    chosen = settings(view, model)
    with st.container(horizontal=True):
        bounds = block_bounds(model, chosen.bos)
        number(view, "n", bounds, "Block length n", "Random tokens before the repetition.", width=160)
        enough = f"Random sequences; intervals need {MIN_SAMPLES}."
        number(view, "seqs", (1, limits().sequences), "Sequences", enough, width=160)
        number(view, "seed", (0, 2**31 - 1), "Seed", "The same seed draws the same tokens.", width=160)
    n, n_seqs, seed, bos = chosen
    repeated = analyse(repeated_tokens, model, n, n_seqs, seed, bos)
    same = (n, repeated.bos, seed, repeated.set_size)
    strip, chart = st.container(), st.empty()

    def fill(done: dict) -> None:
        with chart:
            losses = to_numpy(summarise_repeats(repeat_loss.join(done), *same))
            parts.chart(repeat_loss.figure(losses), "The losses so far")

    cells = repeat_loss.blocks(n_seqs, n)
    seconds = forward_seconds(model, 2 * n_seqs * (2 * n + 1))
    known = sweep(repeat_losses_of, cells, model, n, seed, bos, show=fill, estimate=seconds).done
    done = {cell: known[cell] for cell in takewhile(known.__contains__, cells)}  # those from the first on
    if not done:
        return None
    summary = analyse(summarise_repeats, repeat_loss.join(done), *same)
    with strip:
        html = _strip(model, repeated.tokens[0], done[cells[0]].repeated[0], summary.ln_set)
        st.html(html)
    figure = repeat_loss.figure(summary)
    with chart.container():
        parts.chart(figure, alt=repeat_loss.notice(summary, n), key="tokens:repeat")
    sample = (
        f"{counted(summary.second.n, 'sequence')}, seed {seed}; tokens {repeated.description}. {summary.second.note}."
    )
    notice, misreading = repeat_loss.notice(summary, n), repeat_loss.MISREADING
    payload = summary._asdict() | {"tokens": repeated.tokens, "seed": seed, "description": repeated.description}
    python = code(n, summary.second.n, seed, bos)
    return Outcome(
        Explanation(notice, misreading, measured=(("Sample", sample),), formula=FORMULA, where=DEFINITION),
        Export("repeat", figure, table(summary), payload, python, reads_prompt=False),
    )


def code(n: int, n_seqs: int, seed: int, bos: bool) -> str:
    """The Python that computes both copies' losses again."""
    return (
        "from lens.analysis.induction_loss import loss_by_position, uses_repetition\n"
        "from lens.analysis.random_tokens import repeated_tokens\n\n"
        f"repeated = repeated_tokens(model, n={n}, n_seqs={n_seqs}, seed={seed}, prepend_bos={bos})\n"
        "found = loss_by_position(model, repeated)\n"
        "print(found.first, found.second)  # nats\n"
        "print(found.saving, found.over_control, uses_repetition(found.saving, found.over_control))"
    )


def table(losses: InductionLoss) -> pd.DataFrame:
    """One row per predicted position."""
    frame = pd.DataFrame({"position": losses.positions})
    for name in ("repeated", "control"):
        value = getattr(losses, name)
        frame[f"{name} (nats)"] = value.mean
        if value.low is not None:
            frame[f"{name} low"], frame[f"{name} high"] = value.low, value.high
    return frame


def _strip(model: HookedTransformer, ids: np.ndarray, loss: np.ndarray, high: float) -> str:
    even = f"{high:.1f}: an even guess among the sampled tokens"
    scale = Scale("first sequence, loss (nats)", 0, high, ends=("0: certain", even))
    return token_strip(token_labels(model, ids), np.concatenate([[np.nan], loss]), scale=scale)
