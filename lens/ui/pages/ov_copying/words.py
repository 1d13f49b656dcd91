"""OV copying by weights and on data in words: what to notice, what not to conclude. No Streamlit."""

import numpy as np
import pandas as pd

from lens.analysis.copying_on_data import from_one
from lens.analysis.copying_verdicts import agreed, count_heads, farthest_apart, gaussian_beside, half_of_size
from lens.analysis.head_vocabulary import TopShares
from lens.analysis.largest_head import largest_head
from lens.analysis.names import Head
from lens.analysis.ov_copying import Circuit, NullBand, OVCopying
from lens.analysis.rank_correlation import RankCorrelation
from lens.analysis.score_results import HeadScore
from lens.analysis.sequential_null import STOPPING
from lens.figures.measure import Measure
from lens.figures.theme import number
from lens.ui.shared import copying_words
from lens.ui.shared.copying_words import DEFINITIONS, Null, OnData, more_than_control, side_words, verdict
from lens.ui.shared.wording import correlation

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
TEXT = (
    "Of all that the head raises among the different tokens of a text by its direct path, the share on those it "
    "attends to, minus the same for tokens that it attends to at other queries."
)
TEXT_LOGIT = (
    "How far the head's direct path moves the logit of the tokens it attends to, minus the same for tokens that it "
    "attends to at other queries. Logits."
)
COMPARED = "copying scores by weights and logits gained on {}"


def measure(score: np.ndarray, null: Null | None, circuit: str) -> Measure:
    """The score as a grid draws it: coloured by its size, the null in the hover label."""
    band = None if null is None else (null.band.low, null.band.high)
    return Measure(f"{circuit} copying", DEFINITIONS[circuit], score, "", null=band, signed=True)


def grid_words(score: np.ndarray, null: Null | None) -> str:
    """What to see in the grid."""
    counts = count_heads(score) if null is None else count_heads(score, null.side, null.band)
    text = f"The head that copies most is {counts.best} with {number(float(score[counts.best]))}; "
    text += f"the lowest is {counts.lowest} with {number(float(score[counts.lowest]))}. "
    if counts.idle:
        are = "head is" if counts.idle == 1 else "heads are"
        text += f"{counts.idle} {are} idle: they write nothing, or dust beside the others. "
    if null is None:
        return f"{text}The null is not computed, so none of this is compared with chance."
    return (
        f"{text}{counts.copies} of {counts.n} heads copy and {counts.opposite} write the opposite, beyond what "
        f"chance gives the farthest of all heads: {number(null.band.reach)} standard deviations of its own "
        f"{rotations(null.band)}. Outside the central 95% of their own are {counts.outside}, where chance "
        f"alone puts {number(counts.by_chance)}."
    )


def rotations(band: NullBand) -> str:
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


def induction_words(score: np.ndarray, null: Null | None, induction: HeadScore, most: int = 8) -> str:
    """Which of the strongest induction heads copy, from both scores."""
    if induction.above is None:
        return f"Which heads are induction heads cannot be said: {induction.no_verdict}."
    strongest = induction.strongest_above(most)
    if not strongest:
        return (
            f"No head has an induction score above its threshold {number(induction.threshold)}: none is there that "
            "could copy."
        )
    names = {head: f"{head} ({number(float(score[head]))})" for head in strongest}
    if null is None:
        return f"Of the strongest induction heads, the copying scores are: {', '.join(names.values())}; no null yet."
    sign = {head: int(null.side.sign[head]) for head in strongest}
    yes, no = ([names[head] for head in strongest if (sign[head] > 0) is copies] for copies in (True, False))
    opposite = ", ".join(str(head) for head in strongest if sign[head] < 0)
    why = f"{opposite} would even write the opposite" if opposite else "no more than rotations of all heads would"
    why += ". What a head writes on data can differ: see 'Copying on data'."
    if len(strongest) == 1:
        text = f"The one induction head above its threshold, {names[strongest[0]]}, "
        return f"{text}copies by its weights." if yes else f"{text}is not seen to copy by its weights: {why}"
    text = f"Of the {len(strongest)} strongest induction heads, {len(yes)} copy by their weights"
    text += f": {', '.join(yes)}" if yes else ""
    return text + (f". Not {', '.join(no)}: {why}" if no else ".")


def head_words(circuit: Circuit, null: Null | None, head: Head) -> str:
    """One head's eigenvalues in a sentence."""
    text, score = _values_words(circuit, head), float(circuit.score[head])
    if not np.isfinite(score):
        return text
    if null is None:
        return f"{text}, without a null."
    band = null.band
    text += f", {_beside_own(score, band.low[head], band.high[head], band.n_of(head))}"
    if null.side.idle[head]:
        return f"{text}. It is idle: dust beside what other heads write, so that says nothing."
    low, high = float(band.family_low[head]), float(band.family_high[head])
    ends = f"{number(low)} to {number(high)}"
    return f"{text}; {where(score, low, high)} the band that no head of all leaves in 95% of them ({ends})."


def own_words(circuit: Circuit, own: np.ndarray, head: Head) -> str:
    """The same before the other heads are rotated; ``own``: the scores of its rotations."""
    low, high = np.quantile(own, [0.025, 0.975])
    return f"{_values_words(circuit, head)}, {_beside_own(float(circuit.score[head]), low, high, len(own))}."


def _values_words(circuit: Circuit, head: Head) -> str:
    values, score = circuit.eigenvalues[head], float(circuit.score[head])
    if not np.isfinite(score):
        return f"Head {head} writes nothing: all its eigenvalues are 0, so it has no copying score."
    return (
        f"Head {head}: {number(float(circuit.positive[head]))} of the size of its {len(values)} eigenvalues has a "
        f"positive real part; {half_of_size(values)} of them make up half. Copying score {number(score)}"
    )


def _beside_own(score: float, low: float, high: float, n: int) -> str:
    return f"{where(score, float(low), float(high))} the central 95% of its own {n} random rotations"


def where(value: float, low: float, high: float) -> str:
    """Where a number lies, as a preposition."""
    return "above" if value > high else "below" if value < low else "within"


def table(
    scores: OVCopying, null: Null | None, circuit: str, text: OnData | None = None, top: TopShares | None = None
) -> pd.DataFrame:
    """One row per head, the largest score of the drawn circuit first; with the columns that are computed."""
    drawn = getattr(scores, circuit)
    every = [Head(*head) for head in np.ndindex(drawn.score.shape)]
    columns = {"head": list(map(str, every)), "layer": [head.layer for head in every]}
    columns |= {"index": [head.head for head in every], "full": scores.full.score, "residual": scores.residual.score}
    if text is not None:
        columns |= {
            "on text": text.scores["text_share"].effect.mean,
            "text logit": text.scores["text_logit"].effect.mean,
        }
        if not text.side.few:
            columns |= {"by text": side_words(text.side, copying_words.DOES), "differ": text.differ}
    if top is not None:
        columns |= {"in top k": top.share}
    columns |= {"positive share": drawn.positive, "largest |λ|": np.abs(drawn.eigenvalues[..., 0])}
    if null is not None:
        low, high = null.band.low, null.band.high
        columns |= {"null low": low, "null high": high, "rotations": list(map(null.band.n_of, every))}
        columns |= {"outside null": (drawn.score > high) | (drawn.score < low)}
        columns |= {"by weights": side_words(null.side, copying_words.VERDICTS)}
    frame = pd.DataFrame({name: np.ravel(values) for name, values in columns.items()})
    rank = pd.Series(-drawn.score.ravel()).rank(method="min", na_option="bottom").astype(int)
    return frame.assign(rank=rank).sort_values("rank", kind="stable", ignore_index=True)


def top_words(top: TopShares, d_vocab: int) -> str:
    """Which head puts most tokens in the top k of their own rows."""
    best, done = largest_head(top.share), np.isfinite(top.share)
    left = "" if done.all() else f" {(~done).sum()} heads are not computed."
    text = (
        f"Top-{top.k} accuracy: head {best} raises {number(float(top.share[best]))} of {top.n} random tokens (seed "
        f"{top.seed}) more than all but {top.k - 1} others when it attends to them, {number(top.k / d_vocab)} by chance"
    )
    if top.few:
        return f"{text}. No verdict: {top.few}.{left}"
    beyond = int(top.beyond[done].sum())
    return f"{text}; {beyond} of {done.sum()} heads do so more often than the best of them all would by chance.{left}"


def gaussian_words(circuit: Circuit, null: Null | None, low: float, high: float, same: np.ndarray) -> str:
    """Why Gaussian weights are no null, in the numbers of these heads. ``same``: the layers that have this band."""
    text = (
        f"For teaching only: W_V and W_O of independent normal entries score {number(low)} to {number(high)} (central "
        f"95%), the same for every head, because nothing of a head is in them but its shape. "
    )
    if null is None:
        return f"{text}The null of the heads is not computed, so the two are not compared."
    own = gaussian_beside(circuit.score, null.band, low, high, same)
    if own is None:
        return f"{text}None of these heads writes anything, so there is nothing to compare."
    return (
        f"{text}Rotated at random, heads keep what they can read and write: their own bands are "
        f"{number(own.narrowest)} to {number(own.widest)} wide, the Gaussian one {number(high - low)}. It is too wide "
        f"for {own.narrower} of {own.n} heads and too narrow for the others, those with few strong directions; "
        f"{own.differ} {'head lies' if own.differ == 1 else 'heads lie'} inside one of the two bands and outside the "
        "other."
    )


def scatter_words(full: np.ndarray, residual: np.ndarray, agreement: RankCorrelation) -> str:
    """How well the two circuits agree."""
    place = farthest_apart(full, residual)
    if place is None:
        return "No head has a score."
    return (
        f"{correlation(agreement, 'full and residual scores')} They differ most for {place}: full "
        f"{number(float(full[place]))}, residual {number(float(residual[place]))}. The residual circuit counts "
        "directions no embedding or logit uses."
    )


def repeats_words(weights: np.ndarray, null: Null | None, on: OnData, head: Head, agreement: RankCorrelation) -> str:
    """What the head that raises its target most, and the one of the page, do on repeats, beside their weights."""
    rank, logit = from_one(on.scores["target_rank"]), on.scores["target_logit"]
    among = f"among {round(2 * rank.uniform) - 1} tokens"

    def about(cell: Head) -> str:
        numbers = (rank.score.mean[cell], rank.null_mean[cell], logit.score.mean[cell], weights[cell])
        place, control, direct, weight = (number(float(value)) for value in numbers)
        return (
            f"{cell} puts the induction target at rank {place} {among} (control {control}), direct logit {direct}, "
            f"{more_than_control(logit.effect, cell)}; copying score by weights {weight}. "
            f"{verdict(weights, null, on, cell, 'the induction target')}"
        )

    best = largest_head(logit.effect.mean)
    text = f"On repeats, {about(best)} " + (f"Head {about(head)} " if head != best else "")
    few = on.side.few and f"No verdict: {on.side.few}. "
    return f"{text}{few}{correlation(agreement, COMPARED.format('repeats'))}"


def text_words(weights: np.ndarray, null: Null | None, on: OnData, head: Head, agreement: RankCorrelation) -> str:
    """What the head of the page does on text, whether its weights say so, and how often the two differ."""
    share, logit = on.scores["text_share"], on.scores["text_logit"]

    def about(cell: Head) -> str:
        values = (share.score.mean[cell], share.null_mean[cell], weights[cell])
        mean, control, weight = (number(float(value)) for value in values)
        return (
            f"{cell} puts {mean} of what it raises on the tokens it attends to (control {control}; their logit "
            f"{more_than_control(logit.effect, cell)}), copying score by weights {weight}. "
            f"{verdict(weights, null, on, cell, 'what it attends to')}"
        )

    best = largest_head(logit.effect.mean)
    text = f"On text, {about(head)} " + (f"Farthest above its control, {about(best)} " if head != best else "")
    return f"{text}{disagreements(null, on)} {correlation(agreement, COMPARED.format('text'))}"


def disagreements(null: Null | None, on: OnData) -> str:
    """How many heads copy by their weights, on text, and both."""
    if on.side.few:
        return f"No verdict on text: {on.side.few}."
    if null is None:
        return "The null of the weights is not computed, so the two are not compared."
    counts = agreed(null.side, on.side, on.differ)
    return (
        f"Of {counts.n} heads, {counts.weights} copy by their weights and {counts.data} on text, {counts.both} by "
        f"both; {counts.idle} are idle. About {counts.differ}, text shows what the weights do not say."
    )
