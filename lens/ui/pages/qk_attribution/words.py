"""What the page says: definitions, and sentences made from the numbers."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lens.analysis.answer.mechanism import RULE
from lens.analysis.answer.pair_cut import PairCut
from lens.analysis.answer.qk_attribution import NULL
from lens.analysis.answer.reasons import DRAWS
from lens.figures.theme import number
from lens.ui.pages.qk_attribution.request import Request
from lens.ui.shared import reason_words as words
from lens.ui.shared.reasons import SIDES, Answer, average, side_estimates
from lens.ui.shared.wording import percent, sentence

if TYPE_CHECKING:
    from lens.analysis.stats import Estimate

MISREADING = (
    "A large share says what the score is made of in this run, not what the head would do without it: the norm before "
    "the head, and the other keys, change with it. That is what the cut is for. And a reason to look there says "
    "nothing about what the head writes when it does: a head can find the right token and copy nothing."
)
FORMULA = (
    r"s_{q,k} = \frac{1}{c} \sum_i \sum_j Q_i(q) \cdot K_j(k), \qquad Q_i(q) = R_q\,\frac{x_i(q)}{\sigma(q)} W_Q, "
    r"\quad K_j(k) = R_k\,\frac{x_j(k)}{\sigma(k)} W_K, \qquad "
    r"\text{contrast} = \operatorname{mean}_q \Big( s_{q,k^*} - \operatorname{mean}_{k \ne k^*,\, 0} s_{q,k} \Big)"
)
WHERE = (
    "x_i is what one write (embedding, positions, an earlier head or MLP, all biases) adds to the stream, σ the scale "
    "of the norm before the layer as it was in the run, R the rotation of positions where there is one, c the divisor "
    "of scores. The contrast is a sum over pairs: one write read by the query, one by the key. A constant per query "
    "changes no attention, so only contrasts are read; the first token, where heads rest, stands on neither side. "
    f"Unit: scores before the softmax, the log-odds of two keys in nats. {RULE} Sources: Elhage et al. 2021 (QK "
    "circuits as sums over paths), Olsson et al. 2022 (the two mechanisms)."
)
DEFINITION = "Its share of the contrast; bars sum to it. Grey diamond: the control."
CUT = (
    "Attention that is left with one write, at a time, replaced by its value in the control run in what this head's "
    "queries (or keys) alone are made from; the norm is computed anew."
)


def notice(request: Request, of: Answer) -> tuple[str, ...]:
    """What the bars show, the mechanism, and what the cut says."""
    where = _where(request, of)
    score = f"{where} Before the softmax the score there is {words.contrast_words(of)}."
    cut = f"{words.cut_words(of, request.place)} {words.swapped_words(of) if request.prompt is None else ''}"
    return (
        f"{score} {words.side_words(of, 'k')} {words.side_words(of, 'q')} {words.pair_words(of)}",
        words.mechanism_words(of),
        f"{cut.strip()} {words.loss_words(of)}".strip(),
    )


def _where(request: Request, of: Answer) -> str:
    share = percent(average(of.reasons.cut_from_keys.uncut))
    if request.prompt is None:
        return f"In the second copy head {request.head} gives its stripe {share} of its attention."
    labels = request.prompt.labels
    return (
        f"From {request.query} {labels[request.query].strip()} head {request.head} gives {request.key} "
        f"{labels[request.key].strip()} {share} of its attention."
    )


def sample_words(request: Request, of: Answer) -> str:
    """n, seed, the control, and how the intervals were made."""
    note = of.reasons.text.side("k", of.seed).note
    if request.prompt is None:
        n, seqs, seed, bos = request.sample.settings
        first = "[BOS] r r" if bos else "r r"
        return (
            f"{seqs} sequences {first} of {n} random tokens, seed {seed}; {len(request.sample.repeated.queries)} "
            f"queries each. Control of the contrast: {NULL}. A cut puts into queries what is written where the second "
            f"copy is of other tokens, into keys what is written where the first copy is. Intervals: {note}."
        )
    return (
        f"n = 1 text of {len(request.tokens)} tokens, one cell. Control: the same cell in {DRAWS} texts of random "
        f"tokens that begin with the same token, seed {of.seed}; what is subtracted, and what a cut puts in place, is "
        f"theirs, and the intervals are over these draws. A cell that was picked because it stands out carries no test."
    )


def table(of: Answer) -> pd.DataFrame:
    """One row per write and side."""
    rows = []
    for side, name in SIDES.items():
        values, control, minus = side_estimates(of, side)
        cuts = of.reasons.cut_from_queries if side == "q" else of.reasons.cut_from_keys
        left = {write: average(row) for write, row in zip(cuts.writes, cuts.attention)}
        for at, write in enumerate(of.reasons.text.writes):
            row = {"read by": name, "write": str(write), "contrast": float(values.mean[at])}
            row |= {"control": float(control[at]), "difference": float(minus.mean[at])}
            row |= dict(zip(("CI low", "CI high"), _ends(minus, at)))
            rows.append(row | {"attention if cut": left.get(write)})
    return pd.DataFrame(rows).sort_values(["read by", "contrast"], ascending=[True, False], ignore_index=True)


def _ends(of: "Estimate", at: int) -> tuple[float | None, float | None]:
    return (None, None) if of.low is None else (float(of.low[at]), float(of.high[at]))


def ways_table(request: Request, pair: PairCut) -> pd.DataFrame:
    """Attention and loss with the chosen pair cut, one row per way."""
    labels = (
        "nothing cut",
        f"{pair.asks} out of the queries",
        f"{pair.answers} out of the keys",
        "both, by the same other tokens" if request.prompt is None else "both",
    )
    rows = {"cut": labels, "attention": np.mean(pair.attention, 1), "loss": np.mean(pair.loss, 1)}
    keep = [True, not pair.same[0], not pair.same[1], not any(pair.same)]
    return pd.DataFrame(rows)[keep]


def pair_notice(request: Request, pair: PairCut) -> str:
    """What cutting the chosen pair does."""
    rows = ways_table(request, pair)
    if len(rows) == 1:
        return f"{pair.asks} and {pair.answers} are the same in the control run: cutting them changes nothing."
    said = [
        f"{row['cut']}: attention {percent(row['attention'])}"
        + (f", loss {number(row['loss'])} nats" if np.isfinite(row["loss"]) else "")
        for row in rows.to_dict("records")
    ]
    return sentence("; ".join(said))
