"""OV copying in words: measures of figures, what to notice, what not to conclude. No Streamlit."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lens.analysis.copying_verdicts import (
    count_heads,
    farthest_apart,
    gaussian_beside,
    half_of_size,
)
from lens.analysis.names import Head
from lens.analysis.sequential_null import STOPPING
from lens.figures.measure import Measure
from lens.figures.theme import number
from lens.ui.shared import heads
from lens.ui.shared.agreement_words import correlation
from lens.ui.shared.copying_words import DEFINITIONS, Null
from lens.ui.shared.copying_words import FORMULA as FORMULA
from lens.ui.shared.copying_words import WHERE as WHERE

MISREADING = (
    "The score says what the head would write if it attended to a token, not that it ever does, nor that the model "
    "needs it. It adds up the whole vocabulary: a head that copies names only may score near zero, and a head that "
    "only ever attends to the token it stands on may score 1."
)
TOP = (
    "Share of random tokens whose own logit is among the {} that the head would raise most by attending to them, over "
    "the whole vocabulary."
)
SCATTER_MISREADING = (
    "Where the two differ neither is wrong: they ask about different inputs and outputs. A head that copies between "
    "directions that no embedding has may still serve later layers."
)
TABLE_MISREADING = (
    "The columns answer different questions: by weights, for every token alike; on text, for what the head attends to "
    "there; in the top k, for tokens drawn at random. A head that leads in one need not lead in another."
)
TOKENS_MISREADING = (
    "The lists are what the head would write if it attended to a token alone, from its embedding: in a text earlier "
    "layers have changed what stands there, and the head may never attend to it."
)
MATCH_MISREADING = (
    "High scores are for lone embeddings. In a text most of what a head compares was written by earlier layers, so a "
    "head that matches nothing here may match well there; and a matched pair need not ever stand in one text."
)
FOLDING = (
    "Folded and raw weights give the same full circuit. They differ in the residual one: the norm before a head scales "
    "each direction of the stream by its gain, and with large gains in few directions the bare W_V W_O counts "
    "directions that the head hardly reads."
)


def measure(score: np.ndarray, null: Any, circuit: str) -> Measure:
    """The score as a grid draws it: coloured by its size, the null in the hover label."""
    band = None if null is None else (null.band.low, null.band.high)
    return Measure(f"{circuit} copying", DEFINITIONS[circuit], score, "", null=band, signed=True)


def grid_words(score: np.ndarray, null: Any) -> str:
    """What to see in the grid."""
    found = count_heads(score) if null is None else count_heads(score, null.side, null.band)
    text = f"The head that copies most is {found.best} with {number(float(score[found.best]))}; "
    text += f"the lowest is {found.lowest} with {number(float(score[found.lowest]))}. "
    if found.idle:
        are = "head is" if found.idle == 1 else "heads are"
        text += f"{found.idle} {are} idle: they write nothing, or dust beside the others. "
    if null is None:
        return f"{text}The null is not computed, so none of this is compared with chance."
    return (
        f"{text}{found.copies} of {found.n} heads copy and {found.opposite} write the opposite, beyond what "
        f"chance gives the farthest of all heads: {number(null.band.reach)} standard deviations of its own "
        f"{rotations(null.band)}. Outside the central 95% of their own are {found.outside}, where chance "
        f"alone puts {number(0.05 * found.n)}."
    )


def rotations(band: Any) -> str:
    """On how many rotations of a head its null rests, of all heads together."""
    fewest, most = band.n, band.most
    return f"{most} random rotations" if fewest == most else f"random rotations, {fewest} to {most} of them"


def chance_words(null: Null, seed: int, rule: str) -> str:
    """How the null was made, what the colour is not, and the ``rule`` of verdicts."""
    band, stopping = null.band, ""
    if band.n < band.most:
        stopping = f" ({band.most} for some). The reach of all heads rests on {band.n}. {STOPPING}"
    return (
        f"{band.n} rotations for each of {band.low.size} heads{stopping}, seed {seed}. Colour is the size of the "
        f"score, not its significance: each head's band stands in its hover label and in the table. {rule}"
    )


def induction_words(score: np.ndarray, null: Any, induction: Any, most: int = 8) -> str:
    """Which of the strongest induction heads copy, from both scores."""
    if induction.above is None:
        return f"Which heads are induction heads cannot be said: {induction.no_verdict}."
    heads = induction.strongest_above(most)
    if not heads:
        return (
            f"No head has an induction score above its threshold {number(induction.threshold)}: none is there that "
            "could copy."
        )
    names = {head: f"{head} ({number(float(score[head]))})" for head in heads}
    if null is None:
        return f"Of the strongest induction heads, the copying scores are: {', '.join(names.values())}; no null yet."
    yes = [names[cell] for cell in heads if null.side.sign[cell] > 0]
    no = [names[cell] for cell in heads if null.side.sign[cell] <= 0]
    if len(heads) == 1:
        verb = "copies" if yes else "is not seen to copy"
        text = f"The one induction head above its threshold, {names[heads[0]]}, {verb} by its weights"
        return f"{text}." if yes else f"{text}: {_why_not(null, heads)}"
    text = f"Of the {len(heads)} strongest induction heads, {len(yes)} copy by their weights"
    text += f": {', '.join(yes)}" if yes else ""
    return text + (f". Not {', '.join(no)}: {_why_not(null, heads)}" if no else ".")


def _why_not(null: Null, heads: list[Head]) -> str:
    opposite = [cell for cell in heads if null.side.sign[cell] < 0]
    if opposite:
        names = ", ".join(f"{layer}.{head}" for layer, head in opposite)
        return f"{names} would even write the opposite. What a head writes on data can differ: see 'Copying on data'."
    return "no more than rotations of all heads would. What a head writes on data can differ: see 'Copying on data'."


def head_words(found: Any, null: Any, head: Head) -> str:
    """One head's eigenvalues in a sentence."""
    text = _values_words(found, head)
    if not np.isfinite(found.score[head]):
        return text
    if null is None:
        return f"{text}, without a null."
    band, score = null.band, float(found.score[head])
    text += f", {_beside_own(score, band.low[head], band.high[head], band.n_of(head))}"
    if null.side.idle[head]:
        return f"{text}. It is idle: dust beside what other heads write, so that says nothing."
    ends = float(band.family_low[head]), float(band.family_high[head])
    return f"{text}; {where(score, *ends)} the band that no head of all leaves in 95% of them ({range_words(*ends)})."


def own_words(found: Any, own: np.ndarray, head: Head) -> str:
    """The same before the other heads are rotated; ``own``: the scores of its rotations."""
    ends = np.quantile(own, [0.025, 0.975])
    return f"{_values_words(found, head)}, {_beside_own(float(found.score[head]), *ends, len(own))}."


def _values_words(found: Any, head: Head) -> str:
    values, score = found.eigenvalues[head], float(found.score[head])
    if not np.isfinite(score):
        return f"Head {head} writes nothing: all its eigenvalues are 0, so it has no copying score."
    half = half_of_size(values)
    text = f"Head {head}: {number(float(found.positive[head]))} of the size of its {len(values)} eigenvalues has a "
    return f"{text}positive real part; {half} of them make up half. Copying score {number(score)}"


def _beside_own(score: float, low: float, high: float, n: int) -> str:
    return f"{where(score, float(low), float(high))} the central 95% of its own {n} random rotations"


def where(value: float, low: float, high: float) -> str:
    """Where a number lies, as a preposition."""
    return "above" if value > high else "below" if value < low else "within"


def range_words(low: float, high: float) -> str:
    """Both ends of a range."""
    return f"{number(low)} to {number(high)}"


class Top(NamedTuple):
    """Of every head, the share of tokens that stand in the top k of their own row; NaN where not computed."""

    share: np.ndarray
    beyond: np.ndarray  # bool: more often than the best of all these heads would by chance
    few: str  # why there is no verdict; "" if there is one
    n: int  # tokens
    seed: int
    description: str  # of the set they were drawn from


def table(found: Any, null: Any, circuit: str, text: Any = None, top: Top | None = None) -> pd.DataFrame:
    """One row per head, the largest score of the shown circuit first. ``text``: an ``OnData`` of copying on text."""
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
        columns |= {"on text": text.scores["text_share"].effect.mean.ravel()}
        columns |= {"text logit": text.scores["text_logit"].effect.mean.ravel()}
        if not text.side.few:
            columns |= {"by text": [text.named(head) for head in np.ndindex(shown.score.shape)]}
            columns |= {"differ": text.differ.ravel()}
    if top is not None:
        columns |= {"in top k": top.share.ravel()}
    columns |= {
        "positive share": shown.positive.ravel(),
        "largest |λ|": np.abs(shown.eigenvalues[..., 0]).ravel(),
    }
    if null is not None:
        score = shown.score
        band = null.band
        columns |= {"null low": band.low.ravel(), "null high": band.high.ravel()}
        columns |= {"rotations": [band.n_of(head) for head in np.ndindex(score.shape)]}
        columns |= {"outside null": ((score > band.high) | (score < band.low)).ravel()}
        columns |= {"by weights": [null.named(head) for head in np.ndindex(score.shape)]}
    columns |= {"rank": pd.Series(-shown.score.ravel()).rank(method="min", na_option="bottom").astype(int)}
    return pd.DataFrame(columns).sort_values("rank", kind="stable", ignore_index=True)


def top_words(top: Top, k: int, d_vocab: int) -> str:
    """Which head puts most tokens in the top k of their own rows."""
    best, done = heads.strongest(top.share), np.isfinite(top.share)
    some = int(top.beyond[done].sum())
    left = "" if done.all() else f" {(~done).sum()} heads are not computed."
    text = (
        f"Top-{k} accuracy: head {best} raises {number(float(top.share[best]))} of {top.n} random tokens "
        f"(seed {top.seed}) more than all but {k - 1} others when it attends to them, {number(k / d_vocab)} by chance"
    )
    if top.few:
        return f"{text}. No verdict: {top.few}.{left}"
    return f"{text}; {some} of {done.sum()} heads do so more often than the best of them all would by chance.{left}"


def gaussian_words(found: Any, null: Any, low: float, high: float, same: np.ndarray) -> str:
    """Why Gaussian weights are no null, in the numbers of these heads. ``same``: the layers that have this band."""
    text = (
        f"For teaching only: W_V and W_O of independent normal entries score {number(low)} to {number(high)} (central "
        f"95%), the same for every head, because nothing of a head is in them but its shape. "
    )
    if null is None:
        return f"{text}The null of the heads is not computed, so the two are not compared."
    own = gaussian_beside(found.score, null.band, low, high, same)
    return (
        f"{text}Rotated at random, heads keep what they can read and write: their own bands are "
        f"{number(own.narrowest)} to {number(own.widest)} wide, the Gaussian one {number(high - low)}. It is too wide "
        f"for {own.narrower} of {own.n} heads and too narrow for the others, those with few strong directions; "
        f"{own.differ} heads would get another verdict by it."
    )


def scatter_words(full: np.ndarray, residual: np.ndarray, agreement: Any) -> str:
    """How well the two circuits agree; ``agreement`` is their ``RankCorrelation``."""
    place = farthest_apart(full, residual)
    if place is None:
        return "No head has a score."
    return (
        f"{correlation(agreement, 'full and residual scores')} "
        f"They differ most for {place}: full {number(float(full[place]))}, residual "
        f"{number(float(residual[place]))}. The residual circuit counts directions no embedding or logit uses."
    )
