"""Train on stage in words: what the task is, what both models came to, and how little one run says. No Streamlit."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch

from lens.analysis.names import Head
from lens.analysis.stats import Estimate, estimate
from lens.analysis.verdicts import Verdict, learned
from lens.figures.theme import number as written
from lens.load.staged import BATCH, D_MODEL, LAYERS, N_CTX, N_HEADS, Staged
from lens.train.periods import PERIODS, WORDS, distance_loss, guess_loss, sequences
from lens.train.staged import MEASURED, N_MEASURED, RATE, induction_reader

if TYPE_CHECKING:
    from lens.train.staged import Curve, Curves, Unseen

COUNT = {1: "one-layer", 2: "two-layer"}
TASK = (
    f"A synthetic task, made to be learned in seconds: each sequence is {N_CTX} of {len(WORDS)} words at random, of "
    f"which the first {PERIODS[0]} to {PERIODS[-1]}, all different, come again and again. Every sequence has a period "
    "of its own, so counting back does not find the next word; what followed the same word before does."
)
MISREADING = (
    "One seed is one run, and the run is the unit: nothing here says how often such models learn this, or when. That "
    "one layer fails on this task in these steps does not show that it fails on others, or with more of everything."
)
FORMULA = (
    r"\text{guess} = \operatorname{mean}_{\text{later copies}} \ln p, \qquad S_h = \operatorname{mean}_q "
    r"\sum_{k:\, x_{k-1} = x_q} A_h[q,\, k]"
)
WHERE = (
    "- **Guess among the repeated.** What a guess costs that gives each of the p words of its sequence an equal share: "
    "ln p, mean over the predictions that are drawn, which are those of later copies.\n"
    "- **Guess by distance.** What it costs to give the words 6 to 16 tokens back equal shares, whatever they are: as "
    "far as one comes without comparing words. Below the other line, as a word at two of these distances counts "
    "twice.\n"
    "- **Induction.** Attention to all words that follow an earlier occurrence of the query's word, mean over the "
    "queries that have one. The control of other pages is not subtracted; the line is a head that looks at all words "
    "alike."
)


class Lines(NamedTuple):
    """What known strategies reach on the measured sequences."""

    guess: float  # nats
    distance: float  # nats
    even: float  # induction score of a head that looks at all words alike


class Ending(NamedTuple):
    """Where one model is at the last point that was measured."""

    loss: Estimate
    verdict: Verdict
    head: Head
    induction: float


def lines() -> Lines:
    """What the curves are drawn against."""
    given = sequences(N_MEASURED, MEASURED)
    return Lines(guess_loss(given), distance_loss(given), float(induction_reader(given).uniform().mean()))


def ending(curve: "Curve", guess: float) -> Ending:
    """Where a model is at the end of its curve."""
    loss, head = estimate(torch.tensor(curve.loss[-1])), Head(*curve.best)
    return Ending(loss, learned(loss, guess), head, float(curve.induction[-1][head]))


def notice(curves: "Curves", guess: float) -> str:
    """What both models came to, and when the loss of those that learned it fell below half the guess."""
    return " ".join(_ending_words(n_layers, curves.of[n_layers], guess) for n_layers in reversed(LAYERS))


def _ending_words(n_layers: int, curve: "Curve", guess: float) -> str:
    end = ending(curve, guess)
    has = {"found": "has learned it", "none": "has not learned it", "unknown": "is in between"}[end.verdict.state]
    text = f"The {COUNT[n_layers]} model {has}: at step {curve.steps[-1]} it {end.verdict.reason}; its head {end.head} "
    text += f"gives {written(end.induction)} of its attention to words that follow an earlier occurrence."
    if end.verdict.found:
        first = int(np.argmax(curve.loss.mean(1) < guess / 2))
        text += f" Its loss fell below half a guess between step {curve.steps[max(0, first - 1)]} and "
        text += f"{curve.steps[first]}."
    return text


def unseen_notice(read: "Unseen") -> str:
    """What both models make of a sequence that they were not trained on."""
    later = slice(read.period, None)
    ends = [f"the {COUNT[n]} model {written(float(read.loss[n][later].mean()))}" for n in reversed(LAYERS)]
    return (
        f"This sequence was never trained on and has a period of {read.period}. Mean loss on its later copies, in "
        f"nats: {', '.join(ends)}; on the first {read.period} words nobody can know what comes."
    )


def measured(staged: Staged) -> str:
    """How both models were trained and on what they were measured."""
    return (
        f"Seed {staged.seed}, {staged.steps} steps of {BATCH} sequences of {N_CTX} words and BOS, the same for both "
        f"models; attention only, {N_HEADS} heads, d_model {D_MODEL}, AdamW at {RATE:g}, float32. Every point: "
        f"{N_MEASURED} sequences that are never trained on, the same for every run."
    )


def table(curves: "Curves") -> pd.DataFrame:
    """One row per model and point."""
    rows = []
    for n_layers, curve in curves.of.items():
        for step, loss, scores in zip(curve.steps, curve.loss.mean(1), curve.induction):
            head = Head(*divmod(int(scores.argmax()), scores.shape[1]))
            row = {"layers": n_layers, "step": int(step), "loss on later copies": float(loss)}
            rows.append(row | {"head": str(head), "induction": float(scores[head])})
    return pd.DataFrame(rows)


def payload(curves: "Curves", of: Lines) -> dict[str, object]:
    """Everything that is drawn."""
    return {"models": {COUNT[n]: one._asdict() for n, one in curves.of.items()}, "lines": of._asdict(), "task": TASK}


def code(staged: Staged) -> str:
    """The Python that trains both models again and says the same."""
    return (
        "from lens.load.staged import Staged\n"
        "from lens.train.staged import train\n\n"
        f"curves = train(Staged(seed={staged.seed}, steps={staged.steps}))\n"
        "for n_layers, curve in curves.of.items():\n"
        "    print(n_layers, curve.loss[-1].mean(), curve.best, curve.induction[-1].max())"
    )
