"""Why a head looks there, in words: what its keys and queries read, the mechanism, the cut."""

from typing import TYPE_CHECKING

import numpy as np

from lens.analysis.answer.mechanism import SHARE, Side
from lens.figures.theme import number
from lens.ui.shared.reasons import SIDES, Answer, average, write_label
from lens.ui.shared.wording import capital, percent

if TYPE_CHECKING:
    from lens.analysis.answer.head_inputs import Write

NAMES = {
    "both": "a mixture of both",
    "previous": "previous-token by K",
    "duplicate": "duplicate-token by Q",
    "positions": "positions alone",
    "other": "neither of the two known mechanisms",
}
NONE = "There is nothing to explain: {}."


def known_as(of: Answer, write: "Write") -> str:
    """A write with what it is known for: "0.1, a previous-token head,"."""
    kind = of.kinds.of(write)
    return f"{write_label(write)}, a {kind}," if kind else write_label(write)


def side_words(of: Answer, side: str, count: int = 3) -> str:
    """The largest writes of one side, with their share of the contrast."""
    text = of.reasons.text
    total, named = average(text.total), []
    for place, (write, value) in enumerate(text.strongest(side, count)):
        if place and abs(value) < 0.01 * abs(total):
            break
        named.append(f"{known_as(of, write)} {_of(of, value, total)}")
    return f"Its {SIDES[side]} read {'; '.join(named)}."


def _of(of: Answer, value: float, total: float) -> str:
    """A number with its share of the contrast, where it has shares."""
    return f"{number(value)} ({percent(value / total)})" if of.has_shares else number(value)


def pair_words(of: Answer) -> str:
    """The pair of writes with the largest share."""
    asks, answers, value = of.reasons.text.strongest_pairs(1)[0]
    numbers = _of(of, value, average(of.reasons.text.total))
    return f"The largest pair: {asks} read by the query with {answers} read by the key, {numbers}."


def mechanism_words(of: Answer) -> str:
    """The mechanism with its shares, and how much of the contrast it leaves unexplained; else why none is named."""
    found, verdict = of.mechanism, of.mechanism.verdict
    if found.control_too and found.name == "positions" and of.total > 0:
        return (
            f"Positions: the control has the same contrast ({number(average(of.reasons.control.total))} where the text "
            f"has {number(average(of.reasons.text.total))}), and positions read by the query with positions read by "
            f"the key make {percent(found.explained)} of it. No token that is read has a part in where it looks."
        )
    if verdict.state == "none":
        return NONE.format(verdict.reason)
    if verdict.state == "unknown":
        return f"No mechanism is named: {verdict.reason}."
    return f"{capital(NAMES[found.name])}: {_shares(of)} {left_words(of)}"


def _shares(of: Answer) -> str:
    keys, queries = percent(of.mechanism.by_keys), percent(of.mechanism.by_queries)
    by_keys = f"previous-token heads read by its keys carry {keys} of the contrast less the control's"
    by_queries = f"duplicate-token heads read by its queries {queries}"
    if of.mechanism.name == "both":
        return f"{by_keys}, {by_queries}."
    if of.mechanism.name == "previous":
        asks = of.queries.write
        return f"{by_keys}; its queries read most of {write_label(asks)} ({percent(of.queries.share)})."
    if of.mechanism.name == "duplicate":
        return f"{by_queries} of the contrast; its keys read most of {write_label(of.keys.write)}."
    return f"{by_keys} and {by_queries}, both less than the {SHARE:.0%} that a name needs."


def left_words(of: Answer) -> str:
    """What the named mechanism leaves unexplained, and the largest pair in it."""
    left = of.mechanism.unexplained
    if of.mechanism.name == "other":
        return "All of it is left unexplained by them."
    if round(100 * left) < 0:
        return f"Nothing of it is left unexplained: all other pairs together take {percent(-left)} away."
    text = f"{percent(left)} is left unexplained"
    rest = largest_rest(of)
    if left < 0.01 or rest is None:
        return f"{text}."
    asks, answers, value = rest
    return f"{text}, most of it {asks} by the query with {answers} by the key ({percent(value / of.total)})."


def largest_rest(of: Answer) -> "tuple[Write, Write, float] | None":
    """The largest pair in which no head stands that names the mechanism."""
    previous = of.kinds.previous if of.mechanism.by_keys >= SHARE else None
    duplicate = of.kinds.duplicate if of.mechanism.by_queries >= SHARE else None
    for asks, answers, value in of.reasons.read.strongest_pairs(40):
        if (answers.layer, answers.head) not in (previous or ()) and (asks.layer, asks.head) not in (duplicate or ()):
            return asks, answers, value
    return None


def cut_words(of: Answer, where: str = "its stripe") -> str:
    """What cutting the largest write out of the keys, or out of the queries, leaves of the attention."""
    uncut = average(of.reasons.cut_from_keys.uncut)
    parts = [_cut(side, name) for side, name in ((of.keys, "keys"), (of.queries, "queries"))]
    said = [part for part in parts if part]
    if not said:
        return "Nothing can be cut: what it reads most, positions or biases, is the same in the control."
    return f"Its attention on {where} is {percent(uncut)}; {'; '.join(said)}."


def _cut(side: Side, name: str) -> str:
    if side.left is None or side.lost is None:
        return ""
    text = f"with {side.write} cut out of its {name} alone, {percent(float(side.left.mean))}"
    if side.left.low is not None and side.left.high is not None:
        text += f" [{percent(float(side.left.low))}, {percent(float(side.left.high))}]"
    if side.confirmed is None:
        return text
    return text if side.confirmed else f"{text}, which does not confirm it"


def loss_words(of: Answer) -> str:
    """The loss of what comes next with the largest pair cut, side by side."""
    pair = of.reasons.pair
    uncut, queries, keys, _ = np.mean(pair.loss, 1)
    if not np.isfinite(uncut):
        return "The query is the last token: no loss is read after it."
    sides = [(keys, pair.answers, "keys", pair.same[1]), (queries, pair.asks, "queries", pair.same[0])]
    said = [f"{number(loss)} with {write} cut out of the {name}" for loss, write, name, same in sides if not same]
    if not said:
        return ""
    return (
        f"With only this path changed, the loss of the token after it is {number(uncut)} nats uncut, {', '.join(said)}."
    )


def swapped_words(of: Answer) -> str:
    """What happens when queries and keys both read the same other tokens: an induction head looks there again."""
    _, queries, keys, both = np.mean(of.reasons.pair.attention, 1)
    if any(of.reasons.pair.same) or both < 2 * max(queries, keys):
        return ""
    return (
        f"Cut out of both, by the same other tokens, they match again: {percent(both)}. It is the agreement of the two "
        "that makes it look there."
    )


def contrast_words(of: Answer) -> str:
    """The contrast, and that of the control."""
    plain, control = (average(one.total) for one in (of.reasons.text, of.reasons.control))
    return f"{number(plain)} above the mean of the query's other keys (control {number(control)})"


def short_words(of: Answer) -> str:
    """One sentence for the chain."""
    if of.mechanism.verdict.found:
        keys, queries = (
            f"{known_as(of, side.write).rstrip(',')} ({percent(side.share)})" for side in (of.keys, of.queries)
        )
        return f"Its keys read {keys}, its queries {queries}: {NAMES[of.mechanism.name]}. {left_words(of)}"
    return mechanism_words(of)
