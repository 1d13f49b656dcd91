"""Composition in words: what to notice, what not to conclude, the tables. No Streamlit."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lens.analysis.composition import Composition, Pair, busiest, fed_by, feeders, pair_columns
from lens.analysis.names import Head
from lens.analysis.prefix_matching import PrefixMatching
from lens.analysis.rank_correlation import RankCorrelation
from lens.analysis.score_results import HeadScore, HeadScores
from lens.figures.theme import number
from lens.ui.shared.wording import correlation

MODES = {"Q": "Q, queries", "K": "K, keys", "V": "V, values"}
ROLE = {"Q": "what it looks for", "K": "what it is found by", "V": "what it moves on"}
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


def turn(offset: int | None) -> str:
    """δ in a sentence, with a leading space; "" where nothing is rotated."""
    return "" if offset is None else f" δ = {offset}{' (rotation ignored)' if offset == 0 else ''}."


def definition(result: Composition, kind: str) -> str:
    """What the drawn number is; ``kind`` is a key of MEASURES."""
    plain = result.definition.removesuffix(" Source: Elhage et al. 2021.")
    added = {
        "score": "",
        "null": f" Minus {number(result.null)}, its root mean square under random rotations.",
        "z": " z: that score minus the mean of the sender's layer to the same receiver, over their standard deviation; "
        f"at most {number(result.largest_z)} with {result.scores.shape[1]} heads a layer.",
    }[kind]
    return f"{plain}{added} {result.weights.capitalize()} weights.{turn(result.offset)}"


def notice(result: Composition) -> str:
    """What to see in the matrix."""
    best, n_beyond, z = result.strongest, int(result.beyond().sum()), float(result.z[result.strongest.place])
    among = (
        ""
        if z != z
        else f", z {number(z)} among the {result.scores.shape[1]} heads of layer {best.sender.layer} (at most "
        f"{number(result.largest_z)})"
    )
    chance = "more than the strongest of all pairs would by random rotations"
    chance = f"{n_beyond:,} pass {chance}" if n_beyond else f"none passes {chance}: nothing is seen to feed"
    return (
        f"{result.mode}-composition over {result.n_pairs:,} pairs: the strongest is {best.sender} → {best.receiver} "
        f"with {number(best.value)}, where a random rotation gives {number(result.null)}{among}. Half of the pairs "
        f"are above {number(result.median)}; {chance}."
    )


def feeders_notice(result: Composition, receiver: Head, scores: HeadScores, agreement: RankCorrelation) -> str:
    """Weights and activations together: do the strongest feeders look at the token before?

    ``agreement``: of what the earlier heads pass and their previous-token scores.
    """
    previous, induction = scores["previous"], float(scores["induction"].score.mean[receiver])
    fed = fed_by(result, receiver, previous.score.mean)
    chance = "" if previous.above is None else f", {'above' if previous.above[fed.feeder] else 'within'} chance"
    text = (
        f"Head {receiver} (induction {number(induction)}) gets {ROLE[result.mode]} most from {fed.feeder}, "
        f"{number(fed.passed)}, {'more' if fed.beyond else 'no more'} than the best of its {fed.n} earlier heads would "
        f"by chance; that head looks at the token before with {number(fed.previous)}{chance}"
    )
    rank = (
        f": the most of its {fed.n} earlier heads."
        if fed.rank == 1
        else f". The earlier head that does so most, {fed.looking} with {number(fed.looking_previous)}, is feeder "
        f"{fed.rank} of {fed.n} with {number(fed.looking_passed)}."
    )
    compared = "the score and the feeders' own previous-token scores"
    return f"{text}{rank} {correlation(agreement, compared)}"


def edges_notice(pairs: Sequence[Pair], receiver: Head) -> str:
    """Which heads send and receive most of the edges that are drawn."""
    most, entering = busiest(pairs), sum(pair.receiver == receiver for pair in pairs)
    return (
        f"Of these {len(pairs)} edges most leave {most.sender} ({most.sent}) and most enter {most.receiver} "
        f"({most.received}); {entering} enter the chosen head {receiver}. The weakest that is drawn has "
        f"{number(pairs[-1].value)}."
    )


def prefix_notice(prefix: PrefixMatching, scores: HeadScores, agreement: RankCorrelation) -> str:
    """How the weights' order of heads agrees with that of the activations."""
    best, induction = prefix.strongest, scores["induction"].score.mean
    if best is None:
        return "No head gets a score: nothing that earlier heads write reaches a key."
    top, n = prefix.largest_of(induction), int(np.isfinite(prefix.z).sum())
    return (
        f"From weights the strongest is {best} with {number(float(prefix.score[best]))} (its induction score "
        f"{number(float(induction[best]))}); the strongest induction head {top} has "
        f"{number(float(prefix.score[top]))}, rank {prefix.rank(top)}. Against random rotations of what earlier heads "
        f"write, {best} stands {number(float(prefix.z[best]))} standard deviations off, "
        f"{'beyond' if prefix.beyond(best) else 'within'} the {number(prefix.reach)} that the farthest of {n} heads "
        f"reaches by chance. {correlation(agreement, 'prefix matching from weights and induction scores')}"
    )


def feeder_table(result: Composition, receiver: Head, previous: HeadScore | None) -> pd.DataFrame:
    """One row per earlier head, with its previous-token score where that is known."""
    rows = feeders(result, receiver)
    pairs = [Pair(head, receiver, float(result.scores[(*head, *receiver)])) for head in rows]
    columns = pair_columns(result, pairs)
    table = pd.DataFrame({"head": columns["sender"]} | {name: columns[name] for name in ("score", "− null", "p", "z")})
    if previous is not None:
        table.insert(2, "previous token", [previous.score.mean[head] for head in rows])
    return table
