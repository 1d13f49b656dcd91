"""Random tokens, repeated: the text on which a model can only do well by copying, and its loss at every position."""

from itertools import takewhile
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
import torch

from lens.analysis.induction_loss import (
    DEFINITION,
    InductionLoss,
    RepeatLosses,
    repeat_losses_of,
    summarise_repeats,
    uses_repetition,
)
from lens.analysis.random_tokens import repeated_tokens
from lens.analysis.stats import MIN_SAMPLES
from lens.figures.lines import Line, repeat_loss
from lens.figures.strip import Scale, token_strip
from lens.tokens import visible
from lens.ui import parts
from lens.ui.calls import analyse, sweep
from lens.ui.estimate import forward_seconds
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.limits import limits
from lens.ui.shared.repeats import block_bounds, settings
from lens.ui.store import to_numpy
from lens.ui.view import ViewState
from lens.ui.widgets import number

AT_ONCE = 1024  # tokens read between two drawings of the chart
MISREADING = (
    "A drop at the second copy shows that the model uses the repetition, not which heads do it: see the page of head "
    "scores. The drop at the copy's first token is no failure to copy, for nothing announces that the repeat begins."
)
FORMULA = (
    r"\bar L_t = \frac1S \sum_{s=1}^S -\ln P(x^s_t \mid x^s_{<t}), "
    r"\qquad x = \text{[BOS]}\ r_1 \dots r_n\ r_1 \dots r_n"
)


def show_repeat(view: ViewState, model: Any) -> None:
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

    def draw(done: dict) -> None:
        with chart:
            parts.chart(loss_figure(to_numpy(summarise_repeats(join_losses(done), *same))), "The losses so far")

    cells = blocks(n_seqs, max(1, AT_ONCE // (4 * n)))
    seconds = forward_seconds(model, 2 * n_seqs * (2 * n + 1))
    found = sweep(repeat_losses_of, cells, model, n, seed, bos, show=draw, estimate=seconds)
    done = dict(takewhile(lambda item: item[0] in found.done, ((cell, found.done.get(cell)) for cell in cells)))
    if not done:
        return
    summary = analyse(summarise_repeats, join_losses(done), *same)
    with strip:
        html = _strip(model, repeated.tokens[0], done[cells[0]].repeated[0], summary.ln_set)
        st.html(html)
    figure = loss_figure(summary)
    with chart.container():
        parts.chart(figure, alt=notice(summary, n), key="tokens:repeat")
    sample = f"{summary.second.n} sequences, seed {seed}; tokens {repeated.description}. {summary.second.note}."
    explain(view, model, Explanation(notice(summary, n), MISREADING, (), (("Sample", sample),), FORMULA, DEFINITION))
    payload = summary._asdict() | {"tokens": repeated.tokens, "seed": seed, "description": repeated.description}
    made = summary.second.n
    export(view, Export("repeat", figure, table(summary), payload, code(n, made, seed, bos), reads_prompt=False))


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


def blocks(n_seqs: int, size: int) -> list[tuple[int, int]]:
    """The sequences in parts (first, last + 1) of at most ``size``."""
    return [(start, min(start + size, n_seqs)) for start in range(0, n_seqs, size)]


def notice(found: InductionLoss, n: int) -> str:
    """What the chart shows, in its numbers."""

    def spoken(estimate: Any) -> str:
        bounds = "" if estimate.low is None else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
        return f"{estimate.mean:.2f}{bounds}"

    second, control = float(found.second.mean), float(found.control_second.mean())
    text = (
        f"The second copy loses {spoken(found.second)} nats a token, the same tokens the first time "
        f"{spoken(found.first)}; {n} other random tokens in its place lose {control:.2f}. "
    )
    verdict = uses_repetition(found.saving, found.over_control)
    if verdict.state == "unknown":
        return f"{text}With {found.second.n} sequences it cannot be said whether this model uses the repetition."
    if not verdict.found:
        return f"{text}This model {verdict.reason}."
    saved = f"Repetition saves {spoken(found.saving)} nats, and {spoken(found.over_control)} beside the control. "
    if second < found.ln_n:
        reason = "the model must know which token follows which, not only which ones occurred"
        return f"{text}{saved}That is below ln {n} = {found.ln_n:.2f}: {reason}."
    return (
        f"{text}{saved}It stays above ln {n} = {found.ln_n:.2f}: knowing which tokens occurred would explain as much."
    )


def table(found: InductionLoss) -> pd.DataFrame:
    """One row per predicted position."""
    frame = pd.DataFrame({"position": found.positions})
    for name in ("repeated", "control"):
        value = getattr(found, name)
        frame[f"{name} (nats)"] = value.mean
        if value.low is not None:
            frame[f"{name} low"], frame[f"{name} high"] = value.low, value.high
    return frame


def join_losses(done: dict) -> RepeatLosses:
    """The parts of the sequences that are read, one after the other."""
    return RepeatLosses(*(torch.from_numpy(np.concatenate(parts)) for parts in zip(*done.values())))


def loss_figure(found: InductionLoss) -> Any:
    """Loss by position of the repeated sequences and of their control, with intervals where there are."""
    n = (len(found.positions) + 1) // 2

    def line(name: str, value: Any, dash: str | None = None) -> Line:
        return Line(name, *(None if y is None else _from_first(y, 2 * n) for y in value[:3]), dash=dash)

    curves = [line("repeated", found.repeated), line("control: other random tokens", found.control, "dot")]
    return repeat_loss(curves, n, n_sampled=round(np.exp(found.ln_set)))


def _from_first(y: np.ndarray, width: int) -> np.ndarray:
    """Losses of tokens 1 … 2n: without BOS nothing predicts the first."""
    return np.concatenate([np.full(width - len(y), np.nan, np.float32), y])


def _strip(model: Any, ids: np.ndarray, loss: np.ndarray, high: float) -> str:
    labels = list(map(visible, model.to_str_tokens(ids.tolist()) if model.tokenizer else map(str, ids)))
    values = np.concatenate([[np.nan], loss])
    even = f"{high:.1f}: an even guess among the sampled tokens"
    scale = Scale("first sequence, loss (nats)", 0, high, ends=("0: certain", even))
    return token_strip(labels, values, scale=scale)
