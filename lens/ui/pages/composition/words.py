"""Composition in words: what to notice, what not to conclude, the tables. No Streamlit."""

from typing import Any

import numpy as np
import pandas as pd

from lens.analysis.composition import Pair, busiest, fed_by, feeders, strongest_pairs
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
GRAPH_MISREADING = (
    "Two edges that meet in a head are no path: what the head reads in one direction it need not write on in the "
    "other. And the strongest pairs of a model are those of large overlap, whichever behaviour they serve."
)
VIRTUAL_MISREADING = (
    "These are directions of a product of weights, with + going to + and − to −, and the tokens that lie farthest "
    "along them. The sender reads a stream, not an embedding alone: in late layers the tokens may be names for "
    "something else. Only the first directions are listed, and only their ends."
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
    z = (
        f" z: that score minus the mean of the sender's layer to the same receiver, over their standard deviation; at "
        f"most {number(found.largest_z)} with {found.scores.shape[1]} heads a layer."
        if shown == "z"
        else ""
    )
    return f"{plain}{minus}{z} {found.weights.capitalize()} weights.{turn}"


def notice(found: Any) -> str:
    """What to see in the matrix."""
    best, n_beyond = found.strongest, int(found.beyond().sum())
    chance = (
        f"{n_beyond:,} pass more than the strongest of all pairs would by random rotations"
        if n_beyond
        else "none passes more than the strongest of all pairs would by random rotations: nothing is seen to feed"
    )
    return (
        f"{found.mode}-composition over {found.n_pairs:,} pairs: the strongest is {best.sender} → {best.receiver} with "
        f"{number(best.value)}, where a random rotation gives {number(found.null)}{among(found, best.place)}. Half of "
        f"the pairs are above {number(found.median)}; {chance}."
    )


def among(found: Any, pair: tuple[int, int, int, int]) -> str:
    """The second baseline of a pair, with the most that so few heads can give; "" where there is none."""
    z, heads = float(found.z[pair]), found.scores.shape[1]
    if z != z:
        return ""
    return f", z {number(z)} among the {heads} heads of layer {pair[0]} (at most {number(found.largest_z)})"


def feeder_table(found: Any, receiver: Head, previous: Any | None) -> pd.DataFrame:
    """One row per earlier head, with its previous-token score where that is known (``previous``: a HeadScore)."""
    rows = feeders(found, receiver)
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
    previous, induction = scores["previous"], float(scores["induction"].score.mean[receiver])
    fed = fed_by(found, receiver, previous.score.mean)
    chance = "" if previous.above is None else f", {'above' if previous.above[fed.feeder] else 'within'} chance"
    more = "more" if fed.beyond else "no more"
    text = (
        f"Head {Head(*receiver)} (induction {number(induction)}) gets {ROLE[found.mode]} most from {fed.feeder}, "
        f"{number(fed.passed)}, {more} than the best of its {fed.n} earlier heads would by chance; that head looks at "
        f"the token before with {number(fed.previous)}{chance}"
    )
    if fed.rank == 1:
        text += f": the most of its {fed.n} earlier heads."
    else:
        text += (
            f". The earlier head that does so most, {fed.looking} with {number(fed.looking_previous)}, is feeder "
            f"{fed.rank} of {fed.n} with {number(fed.looking_passed)}."
        )
    return f"{text} {correlation(agreement, COMPARED)}"


def edges_notice(pairs: list[Pair], receiver: Head) -> str:
    """Which heads send and receive most of the edges that are drawn."""
    most, into = busiest(pairs), sum(pair.receiver == receiver for pair in pairs)
    return (
        f"Of these {len(pairs)} edges most leave {most.sender} ({most.sent}) and most enter {most.receiver} "
        f"({most.received}); {into} enter the chosen head {Head(*receiver)}. The weakest that is drawn has "
        f"{number(pairs[-1].value)}."
    )


def prefix_notice(found: Any, scores: Any, agreement: Any) -> str:
    """How the weights' order of heads agrees with that of the activations; ``agreement``: their ``RankCorrelation``."""
    best, induction = found.strongest, scores["induction"].score.mean
    if best is None:
        return "No head gets a score: nothing that earlier heads write reaches a key."
    top = found.largest_of(induction)
    n = int(np.isfinite(found.z).sum())
    beyond = "beyond" if found.beyond(best) else "within"
    return (
        f"From weights the strongest is {best} with {number(float(found.score[best]))} (its induction score "
        f"{number(float(induction[best]))}); the strongest induction head {top} has {number(float(found.score[top]))}, "
        f"rank {found.rank(top)}. Against random rotations of what earlier heads write, {best} stands "
        f"{number(float(found.z[best]))} standard deviations off, {beyond} the {number(found.reach)} that the "
        f"farthest of {n} heads reaches by chance. {correlation(agreement, PREFIX_COMPARED)}"
    )


def pair_table(found: Any, values: np.ndarray | None = None, count: int | None = None) -> pd.DataFrame:
    """One row per pair: the ``count`` largest of ``values``, or all by score."""
    values = found.scores if values is None else values
    rows = strongest_pairs(values, count)
    places = tuple(np.array([row.place for row in rows]).T)
    return pd.DataFrame(
        {
            "sender": [str(row.sender) for row in rows],
            "receiver": [str(row.receiver) for row in rows],
            "score": found.scores[places],
            "− null": found.scores[places] - found.null,
            "p": found.p[places],
            "z": found.z[places],
            "null sd of score²": found.null_sd[places],
        }
    )
