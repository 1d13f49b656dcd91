"""OV copying in words: measures of figures, what to notice, what not to conclude. No Streamlit, no torch."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lens.figures.measure import Measure
from lens.figures.theme import number
from lens.ui.pieces import ov_data_words as data

DEFINITIONS = {
    "full": (
        "Σλ / Σ|λ| over the eigenvalues of W_E W_V W_O W_U, norms folded in, centred over the vocabulary: +1, "
        "attending to a token raises that token; −1, it lowers it."
    ),
    "residual": (
        "Σλ / Σ|λ| over the eigenvalues of W_V W_O: +1, a direction of the stream is written back with its own sign; "
        "−1, with the opposite one."
    ),
}
FORMULA = (
    r"\text{copying}_h = \frac{\sum_i \lambda_i}{\sum_i |\lambda_i|}, \quad "
    r"\lambda = \operatorname{eig}\big(W_O M W_V\big), \quad "
    r"M = W_U \big(I - \tfrac{1}{d_\text{vocab}} \mathbf{1}\mathbf{1}^\top\big) W_E"
)
WHERE = (
    "W_E W_V W_O W_U [d_vocab, d_vocab] has the same non-zero eigenvalues as W_O M W_V [d_head, d_head], so it is "
    "never formed. The gains of the norms (and LayerNorm's centring) are folded into W_V and W_U in every view; the "
    "logits are centred over the vocabulary, because a constant added to all of them changes no probability. Null: "
    "W_V R W_O with R a uniformly random rotation of d_head, which keeps what the head can read and write and loses "
    "which belongs to which. Source: Elhage et al. 2021."
)
MISREADING = (
    "The score says what the head would write if it attended to a token, not that it ever does, nor that the model "
    "needs it. It adds up the whole vocabulary: a head that copies names only may score near zero, and a head that "
    "only ever attends to the token it stands on may score 1."
)
TOP = (
    "Share of random tokens whose own logit is among the {} that the head would raise most by attending to them, over "
    "the whole vocabulary."
)
FOLDING = (
    "Folded and raw weights give the same full circuit. They differ in the residual one: the norm before a head scales "
    "each direction of the stream by its gain, and with large gains in few directions the bare W_V W_O counts "
    "directions that the head hardly reads."
)


def measure(score: np.ndarray, null: Any, circuit: str) -> Measure:
    """The score as a grid draws it: coloured by its size, the null in the hover label."""
    band = None if null is None else (null.low, null.high)
    return Measure(f"{circuit} copying", DEFINITIONS[circuit], score, "", null=band, signed=True)


def strongest(score: np.ndarray) -> tuple[int, int]:
    """(layer, head) of the largest score."""
    layer, head = np.unravel_index(int(np.nanargmax(np.nan_to_num(score, nan=-2))), score.shape)
    return int(layer), int(head)


def beyond(score: np.ndarray, null: Any) -> tuple[int, int]:
    """How many heads copy, and how many write the opposite, more than 97.5% of their own random rotations."""
    return int((score > null.high).sum()), int((score < null.low).sum())


def grid_words(score: np.ndarray, null: Any) -> str:
    """What to see in the grid."""
    best, worst = strongest(score), np.unravel_index(int(np.nanargmin(np.nan_to_num(score, nan=2))), score.shape)
    n = int(np.isfinite(score).sum())
    text = f"The head that copies most is {best[0]}.{best[1]} with {number(float(score[best]))}; "
    text += f"the lowest is {worst[0]}.{worst[1]} with {number(float(score[worst]))}. "
    if n < score.size:
        text += f"{score.size - n} heads write nothing and have no score. "
    if null is None:
        return f"{text}The null is not computed, so none of this is compared with chance."
    copy, opposite = beyond(score, null)
    return (
        f"{text}{copy} of {n} heads copy more than their own subspaces would by chance, {opposite} write the opposite "
        f"(outside the central 95% of {null.n} random rotations each); the best of all heads reaches "
        f"±{number(null.largest)} by chance."
    )


def induction_words(score: np.ndarray, null: Any, induction: Any, most: int = 8) -> str:
    """Which of the strongest induction heads copy, from both scores."""
    if induction.above is None:
        return f"Which heads are induction heads cannot be said: {induction.no_verdict}."
    mean, threshold = induction.score.mean, induction.threshold
    order = [np.unravel_index(i, mean.shape) for i in np.argsort(-mean, axis=None)[:most]]
    heads = [tuple(map(int, cell)) for cell in order if induction.above[cell]]
    if not heads:
        return f"No head has an induction score above its threshold {number(threshold)}: none is there that could copy."
    names = {cell: f"{cell[0]}.{cell[1]} ({number(float(score[cell]))})" for cell in heads}
    if null is None:
        return f"Of the strongest induction heads, the copying scores are: {', '.join(names.values())}; no null yet."
    yes = [names[cell] for cell in heads if score[cell] > null.high[cell]]
    no = [names[cell] for cell in heads if not score[cell] > null.high[cell]]
    if len(heads) == 1:
        verb = "copies" if yes else "does not copy"
        text = f"The one induction head above its threshold, {names[heads[0]]}, {verb} by its weights"
        return f"{text}." if yes else f"{text}: {_why_not(score, null, heads)}"
    text = f"Of the {len(heads)} strongest induction heads, {len(yes)} copy by their weights"
    text += f": {', '.join(yes)}" if yes else ""
    return text + (f". Not {', '.join(no)}: {_why_not(score, null, heads)}" if no else ".")


def _why_not(score: np.ndarray, null: Any, heads: list[tuple[int, int]]) -> str:
    opposite = [cell for cell in heads if score[cell] < null.low[cell]]
    if opposite:
        names = ", ".join(f"{layer}.{head}" for layer, head in opposite)
        return f"{names} would even write the opposite. What a head writes on data can differ: see 'Copying on data'."
    return "no more than a random rotation would. What a head writes on data can differ: see 'Copying on data'."


def head_words(found: Any, null: Any, head: tuple[int, int]) -> str:
    """One head's eigenvalues in a sentence."""
    values, score = found.eigenvalues[head], float(found.score[head])
    name = f"{head[0]}.{head[1]}"
    if not np.isfinite(score):
        return f"Head {name} writes nothing: all its eigenvalues are 0, so it has no copying score."
    half = int(np.searchsorted(np.cumsum(np.abs(values)) / np.abs(values).sum(), 0.5)) + 1
    text = f"Head {name}: {number(float(found.positive[head]))} of the size of its {len(values)} eigenvalues has a "
    text += f"positive real part; {half} of them make up half. Copying score {number(score)}"
    if null is None:
        return f"{text}, without a null."
    low, high = float(null.low[head]), float(null.high[head])
    verdict = "above" if score > high else "below" if score < low else "within"
    return f"{text}, {verdict} its null ({number(low)} to {number(high)}, {null.n} rotations)."


class Top(NamedTuple):
    """Of every head, the share of tokens that stand in the top k of their own row; NaN where not computed."""

    share: np.ndarray
    n: int  # tokens
    seed: int
    description: str  # of the set they were drawn from


def table(found: Any, null: Any, circuit: str, text: Any = None, top: Top | None = None) -> pd.DataFrame:
    """One row per head, the largest score of the shown circuit first. ``text``: HeadScores of copying on text."""
    shown = getattr(found, circuit)
    layers, heads = (index.ravel() for index in np.indices(shown.score.shape))
    columns: dict[str, Any] = {
        "head": [f"{layer}.{head}" for layer, head in zip(layers, heads)],
        "layer": layers,
        "index": heads,
        "full": found.full.score.ravel(),
        "residual": found.residual.score.ravel(),
    }
    if text is not None:
        effect = text["text_share"].effect
        columns |= {"on text": effect.mean.ravel()}
        if null is not None:
            differ = data.disagree(data.by_weights(shown.score, null), data.by_data(effect))
            columns |= {"disagree": differ.ravel()}
    if top is not None:
        columns |= {"in top k": top.share.ravel()}
    columns |= {
        "positive share": shown.positive.ravel(),
        "largest |λ|": np.abs(shown.eigenvalues[..., 0]).ravel(),
    }
    if null is not None:
        score = shown.score
        columns |= {"null low": null.low.ravel(), "null high": null.high.ravel()}
        columns |= {"outside null": ((score > null.high) | (score < null.low)).ravel()}
    columns |= {"rank": pd.Series(-shown.score.ravel()).rank(method="min", na_option="bottom").astype(int)}
    return pd.DataFrame(columns).sort_values("rank", kind="stable", ignore_index=True)


def top_words(top: Top, k: int, d_vocab: int) -> str:
    """Which head puts most tokens in the top k of their own rows."""
    best, done = strongest(top.share), np.isfinite(top.share)
    some = int((top.share[done] > 0.5).sum())
    left = "" if done.all() else f" {(~done).sum()} heads are not computed."
    return (
        f"Top-{k} accuracy: head {best[0]}.{best[1]} raises {number(float(top.share[best]))} of {top.n} random tokens "
        f"(seed {top.seed}) more than all but {k - 1} others when it attends to them, {number(k / d_vocab)} by chance; "
        f"{some} of {done.sum()} heads do so for more than half of them.{left}"
    )


def gaussian_words(found: Any, null: Any, low: float, high: float, same: np.ndarray) -> str:
    """Why Gaussian weights are no null, in the numbers of these heads. ``same``: the layers that have this band."""
    text = (
        f"For teaching only: W_V and W_O of independent normal entries score {number(low)} to {number(high)} (central "
        f"95%), the same for every head, because nothing of a head is in them but its shape. "
    )
    if null is None:
        return f"{text}The null of the heads is not computed, so the two are not compared."
    score, lows, highs = (values[same] for values in (found.score, null.low, null.high))
    width = (highs - lows)[np.isfinite(score)]
    inside = (score >= lows) & (score <= highs)
    differ = np.isfinite(score) & (inside != ((score >= low) & (score <= high)))
    narrower = int((width < high - low).sum())
    return (
        f"{text}Rotated at random, heads keep what they can read and write: their own bands are {number(width.min())} "
        f"to {number(width.max())} wide, the Gaussian one {number(high - low)}. It is too wide for {narrower} of "
        f"{len(width)} heads and too narrow for the others, those with few strong directions; {differ.sum()} heads "
        "would get another verdict by it."
    )


def scatter_words(full: np.ndarray, residual: np.ndarray) -> str:
    """How well the two circuits agree."""
    both = np.isfinite(full) & np.isfinite(residual)
    x, y = residual[both].astype(float), full[both].astype(float)
    if both.sum() < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return "Too few different scores for a correlation."
    pearson, rank = (float(np.corrcoef(*pair)[0, 1]) for pair in ((x, y), (pd.Series(x).rank(), pd.Series(y).rank())))
    gap = np.where(both, full - residual, 0)
    place = np.unravel_index(int(np.abs(gap).argmax()), gap.shape)
    return (
        f"Over {both.sum()} heads, full and residual scores correlate with {number(pearson)} (ranks: {number(rank)}). "
        f"They differ most for {place[0]}.{place[1]}: full {number(float(full[place]))}, residual "
        f"{number(float(residual[place]))}. The residual circuit counts directions no embedding or logit uses."
    )
