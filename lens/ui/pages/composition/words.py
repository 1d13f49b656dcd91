"""Composition in words: what to notice, what not to conclude, the tables. No Streamlit, no torch."""

from typing import Any

import numpy as np
import pandas as pd

from lens.analysis.names import Head
from lens.figures.theme import number
from lens.ui.shared.agreement_words import correlation

MODES = {"Q": "Q, queries", "K": "K, keys", "V": "V, values"}
ROLE = {"Q": "what it looks for", "K": "what it is found by", "V": "what it moves on"}
PREFIX_COMPARED = "prefix matching from weights and induction scores"
COMPARED = "the score and the feeders' own previous-token scores"
MISREADING = (
    "A high score says that something could pass, not that anything does: no text was read. The sender must attend to "
    "something, the receiver must look there, and MLPs in between may undo it. Most pairs of a trained model exceed "
    "the random rotation, because its heads share a few directions: compare a sender with the other heads of its "
    "layer (z), and ask an ablation before calling it a circuit."
)
PREFIX_MISREADING = (
    "Agreement with the activation score is no proof of the mechanism: both follow from keys that hold the token "
    "before. Disagreement is no fault either: a head may match prefixes through MLPs, or through heads whose "
    "previous-token score is low on random tokens, which the sum leaves out. Query heads that share keys are not "
    "independent points."
)
ONE_LAYER = (
    "{} has one layer, so there is no pair: a head can only be fed by a head of an earlier layer. Open a model of two "
    "layers or more."
)
LAYER_0 = (
    "Head {} stands in layer 0: no head is earlier, so nothing feeds it. Click a cell of the matrix, or select a head "
    "of a later layer."
)
FORMULA = (
    r"C^{Q} = \frac{\lVert W_{OV}^{1} W_{QK}^{2} \rVert}{\lVert W_{OV}^{1} \rVert \lVert W_{QK}^{2} \rVert}, \quad"
    r"C^{K} = \frac{\lVert W_{OV}^{1} (W_{QK}^{2})^{\top} \rVert}{\ldots}, \quad"
    r"C^{V} = \frac{\lVert W_{OV}^{1} W_{OV}^{2} \rVert}{\ldots}, \qquad"
    r"\mathbb{E}_{R}\, [C^{2}] = \frac{1}{d_{model}}"
)
FORMULA_WHERE = (
    "Row vectors: $W_{OV} = W_V W_O$ and $W_{QK} = W_Q R_\\delta W_K^\\top$ of the earlier head 1 and the later head "
    "2, Frobenius norms, $R_\\delta$ the rotation of rotary positions at distance δ. The expectation is over Haar "
    "rotations R of the stream between the two heads. Prefix matching: the mean diagonal entry minus the mean entry "
    "of $S = \\sum_e prev(e)\\, W_E W_{QK} (W_{OV}^{e})^\\top W_E^\\top$ over earlier heads e, in standard deviations "
    "of an entry of S (entries centred over rows and columns)."
)


def definition(found: Any, shown: str) -> str:
    """What the drawn number is."""
    turn = "" if found.offset is None else f" δ = {found.offset}{' (rotation ignored)' if found.offset == 0 else ''}."
    plain = found.definition.removesuffix(" Source: Elhage et al. 2021.")
    minus = f" Minus {number(found.null)}, its root mean square under random rotations." if shown == "null" else ""
    heads = found.scores.shape[1]
    z = (
        f" z: that score minus the mean of the sender's layer to the same receiver, over their standard deviation; at "
        f"most {number((heads - 1) / heads**0.5)} with {heads} heads a layer."
        if shown == "z"
        else ""
    )
    return f"{plain}{minus}{z} {found.weights.capitalize()} weights.{turn}"


def notice(found: Any) -> str:
    """What to see in the matrix."""
    pairs = found.scores[~np.isnan(found.scores)]
    sender, receiver = found.strongest()
    best = float(found.scores[(*sender, *receiver)])
    beyond = found.beyond()
    chance = (
        f"{int(beyond.sum()):,} pass more than the strongest of all pairs would by random rotations"
        if beyond.any()
        else "none passes more than the strongest of all pairs would by random rotations: nothing is seen to feed"
    )
    return (
        f"{found.mode}-composition over {pairs.size:,} pairs: the strongest is {sender} → {receiver} with "
        f"{number(best)}, where a random rotation gives {number(found.null)}{among(found, (*sender, *receiver))}. "
        f"Half of the pairs are above {number(float(np.median(pairs)))}; {chance}."
    )


def among(found: Any, pair: tuple[int, int, int, int]) -> str:
    """The second baseline of a pair, with the most that so few heads can give; "" where there is none."""
    z, heads = float(found.z[pair]), found.scores.shape[1]
    if np.isnan(z):
        return ""
    return f", z {number(z)} among the {heads} heads of layer {pair[0]} (at most {number((heads - 1) / heads**0.5)})"


def feeder_table(found: Any, receiver: Head, previous: Any | None) -> pd.DataFrame:
    """One row per earlier head, with its previous-token score where that is known (``previous``: a HeadScore)."""
    rows = found.feeders(receiver)
    layers, heads = np.array(rows).T
    here = (layers, heads, receiver[0], receiver[1])
    columns: dict[str, Any] = {
        "head": list(map(str, rows)),
        "score": found.scores[here],
    }
    if previous is not None:
        columns["previous token"] = previous.score.mean[layers, heads]
    return pd.DataFrame(columns | {"− null": found.scores[here] - found.null, "p": found.p[here], "z": found.z[here]})


def feeders_notice(found: Any, receiver: Head, scores: Any, agreement: Any) -> str:
    """Weights and activations together: do the strongest feeders look at the token before?

    ``agreement``: the ``RankCorrelation`` of what the earlier heads pass and their previous-token scores.
    """
    previous = scores["previous"]
    values, rows = previous.score.mean, found.feeders(receiver)
    passed = np.array([found.scores[(*row, *receiver)] for row in rows], float)
    looks = np.array([values[row] for row in rows], float)
    best = int(np.argmax(looks))
    chance = "" if previous.above is None else f", {'above' if previous.above[rows[0]] else 'within'} chance"
    more = "more" if found.beyond(receiver)[rows[0]] else "no more"
    text = (
        f"Head {receiver} (induction {number(_induction(scores, receiver))}) gets {ROLE[found.mode]} "
        f"most from {rows[0]}, {number(passed[0])}, {more} than the best of its {len(rows)} earlier heads would "
        f"by chance; that head looks at the token before with {number(looks[0])}{chance}"
    )
    if best == 0:
        text += f": the most of its {len(rows)} earlier heads."
    else:
        text += (
            f". The earlier head that does so most, {rows[best]} with {number(looks[best])}, is feeder "
            f"{best + 1} of {len(rows)} with {number(passed[best])}."
        )
    return f"{text} {correlation(agreement, COMPARED)}"


def _induction(scores: Any, head: Head) -> float:
    return float(scores["induction"].score.mean[head])


def edges(values: np.ndarray, count: int) -> list[tuple[Head, Head, float]]:
    """The pairs with the largest values, (sender, receiver, value), the largest first."""
    order = np.argsort(-np.where(np.isfinite(values), values, -np.inf), axis=None, kind="stable")
    order = order[: min(count, int(np.isfinite(values).sum()))]
    places = np.stack(np.unravel_index(order, values.shape), axis=1).tolist()
    return [(Head(a, b), Head(c, d), float(values[a, b, c, d])) for a, b, c, d in places]


def edges_notice(found: list, receiver: Head) -> str:
    """Which heads send and receive most of the edges that are drawn."""

    def busiest(side: int) -> str:
        names = pd.Series([f"{edge[side][0]}.{edge[side][1]}" for edge in found]).value_counts(sort=False)
        names = names.sort_values(ascending=False, kind="stable")
        return f"{names.index[0]} ({names.iloc[0]})"

    into = sum(edge[1] == receiver for edge in found)
    return (
        f"Of these {len(found)} edges most leave {busiest(0)} and most enter {busiest(1)}; {into} enter the chosen "
        f"head {receiver[0]}.{receiver[1]}. The weakest that is drawn has {number(found[-1][2])}."
    )


def prefix_notice(found: Any, scores: Any, agreement: Any) -> str:
    """How the weights' order of heads agrees with that of the activations; ``agreement``: their ``RankCorrelation``."""
    induction = scores["induction"].score.mean
    known = np.isfinite(found.score)
    if not known.any():
        return "No head gets a score: nothing that earlier heads write reaches a key."
    best = np.unravel_index(int(np.nanargmax(found.score)), found.score.shape)
    at_best = float(induction[best])
    top = np.unravel_index(int(np.argmax(np.where(known, induction, -1))), induction.shape)
    rank = 1 + int((found.score[known] > found.score[top]).sum())
    z, n = float(found.z[best]), int(np.isfinite(found.z).sum())
    beyond = "beyond" if z > found.reach else "within"
    return (
        f"From weights the strongest is {best[0]}.{best[1]} with {number(float(found.score[best]))} (its "
        f"induction score {number(at_best)}); the strongest induction head {top[0]}.{top[1]} has "
        f"{number(float(found.score[top]))}, rank {rank}. Against random rotations of what earlier heads write, "
        f"{best[0]}.{best[1]} stands {number(z)} standard deviations off, {beyond} the {number(found.reach)} that the "
        f"farthest of {n} heads reaches by chance. {correlation(agreement, PREFIX_COMPARED)}"
    )


def pair_table(found: Any, values: np.ndarray | None = None, count: int | None = None) -> pd.DataFrame:
    """One row per pair: the ``count`` largest of ``values``, or all by score."""
    values = found.scores if values is None else values
    rows = edges(values, values.size if count is None else count)
    places = tuple(np.array([(*sender, *receiver) for sender, receiver, _ in rows]).T)
    return pd.DataFrame(
        {
            "sender": [f"{s[0]}.{s[1]}" for s, _, _ in rows],
            "receiver": [f"{r[0]}.{r[1]}" for _, r, _ in rows],
            "score": found.scores[places],
            "− null": found.scores[places] - found.null,
            "p": found.p[places],
            "z": found.z[places],
            "null sd of score²": found.null_sd[places],
        }
    )
