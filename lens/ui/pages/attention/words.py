"""The sentences of the Attention page, each computed from the numbers it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lens.analysis.attention import SCORES_NOTE, VALUE_WEIGHTED_NOTE
from lens.analysis.counts import counted
from lens.analysis.habits import (
    ContentRank,
    HeadsByHabit,
    OnCells,
    compare_heads,
    hidden_share,
    most_looked,
    strongest_keys,
    strongest_pair,
)
from lens.figures.theme import number
from lens.ui.pages.attention.numbers import OVERLAID, HeadValues, Part

if TYPE_CHECKING:
    from lens.analysis.text_attention import Habits, TextAttention

MISREADING = (
    "A bright cell says where a head reads, not that what it reads there matters. The value it fetches may be short, "
    "later layers may ignore what it writes, or another head may write the same; and a head that seems idle on the "
    "first token may be the one that acts when it is needed. For a claim about importance, ablate or patch."
)
FORMULA = (
    r"A_{q,k} = \operatorname{softmax}_{k \le q}\!\left(\frac{q_q \cdot k_k}{s}\right),"
    r"\qquad \sum_{k \le q} A_{q,k} = 1"
)
FORMULA_WHERE = (
    "q, k: the head's query and key vectors (turned by their positions in rotary models); s: the divisor of the model, "
    "usually √d_head. **Log**: ln A, the score minus the logsumexp over the keys the query may see. "
    "**Value-weighted**: A · ‖v_k W_O‖ (Kobayashi et al. 2020). **First token hidden**: A with column 0 set to 0, each "
    "row divided by its sum. **Entropy**: −Σ A ln A, mean over queries."
)
HABITS_HELP = (
    "Means over the queries of this text, the first token's own query left out: attention on the first token, on the "
    "token just before the query (queries from position 2 on, for which it is not the first), on the query itself; and "
    "the entropy of the attention. n is the number of queries."
)

QUERY = ("query", "queries")
HABITS_NULL = "in brackets, what even attention to all visible tokens would give on a text of this length"
ONE_TOKEN = (
    "The prompt is one token, which can only look at itself: the pattern of every head is the single number 1. There "
    "is nothing to see. Type a longer text above."
)


def percent(share: float) -> str:
    """A share for reading; "not defined" where there is none."""
    if np.isnan(share):
        return "not defined"
    if 0 < share < 0.0005:
        return "<0.1%"
    return f"{100 * share:.0f}%" if share >= 0.095 or share == 0 else f"{100 * share:.1f}%"


def description(name: str, habits: Sequence[float], uniform: Habits, content: ContentRank, n_tokens: int) -> str:
    """One line about a head on this text (Markdown without foreign text). ``habits``: of this head, four numbers."""
    shares = [
        f"{what} **{percent(float(mine))}** ({percent(float(even))})"
        for what, mine, even in zip(("first token", "previous", "itself"), habits, uniform)
    ]
    return (
        f"Head **{name}** looks at {' · '.join(shares)} · entropy **{number(float(habits[3]))} nats** "
        f"({number(float(uniform[3]))}) · content dependence **{number(content.value)} nats**, rank {content.rank} of "
        f"{content.n} · n = {n_tokens - 1}"
    )


def on_stripe(name: str, cells: OnCells, meaning: str) -> str:
    """What one head gives to the outlined cells of a repeat; ``meaning``: what their key is to their query."""
    return (
        f"Of the outlined cells ({meaning}), head {name} gives {number(cells.share)} of the attention of {cells.n} "
        f"queries; a head that looks at all keys alike gives {number(cells.even)}."
    )


def why_content_dependent(name: str, content: ContentRank, n_tokens: int) -> str:
    """Why this head is the most content-dependent one; "" where it is not."""
    if content.value < content.largest:
        return ""
    after = "" if content.second is None else f"the next head has {content.second:.3f}, "
    return (
        f"Head {name} is the most content-dependent of {content.n} on this text: {content.largest:.3f} nats per query "
        f"of its attention are explained by no habit that ignores the text ({after}the median "
        f"{content.median:.3f}; n = {n_tokens - 1} queries)."
    )


def hidden_words(hidden: np.ndarray | None, name: str, token: str, measure: str) -> str:
    """What hiding the first token took away from one head: ``hidden`` [query]; "" when it is of."""
    if hidden is None:
        return ""
    share = hidden_share(hidden)
    what = "length moved" if measure == "moved" else "attention"
    words = f"The first token ({token}) is hidden; it had {percent(share.mean)} of the {what} of {name}"
    words += f" (mean of {counted(share.n, *QUERY)})"
    if measure == "moved":
        return words + "."
    words += ", and each row is scaled to sum to 1 again"
    return words + (f": in {share.crumbs} rows, over 99% of it, which magnifies crumbs." if share.crumbs else ".")


def one_head(values: np.ndarray, labels: Sequence[str], name: str, hidden: bool, locked: int | None) -> str:
    """What ``values[query, key]`` of one head show: its strongest pair, where most queries look, the locked query."""
    most, pair = most_looked(values), strongest_pair(values, hidden)
    kinds = ("the first token", "the token before", "themselves", "another token")
    counts = [f"{count} at {what}" for what, count in zip(kinds, most) if count]
    first = (
        f"Where {most.n} {'query looks' if most.n == 1 else 'queries look'} most: {listed(counts)}." if counts else ""
    )
    if pair is None:
        return first
    aside = "" if hidden else " away from the first token"
    ends = f"{_at(pair.query, labels)} → {_at(pair.key, labels)}"
    strongest = f"The strongest pair{aside} of head {name}: {ends}, {number(pair.value)}."
    return " ".join(part for part in (followed(values, labels, locked), first, strongest) if part)


def notice(of: HeadValues, labels: Sequence[str], locked: int | None) -> str:
    """What to see of one or several heads."""
    if len(of.heads) == 1:
        return one_head(of.values[0], labels, of.names[0], of.hidden is not None, locked)
    return several_heads(of.values, of.names, locked, labels)


def caption(layout: str, of: HeadValues, part: Part, labels: Sequence[str], measure: str) -> str:
    """What is hidden, thinned or drawn otherwise than asked, and what the number means; "" for plain attention."""
    parts = [part.words] if part.words else []
    if of.hidden is not None:
        of_all = [hidden_words(row, name, labels[0], measure) for row, name in zip(of.hidden, of.names)]
        parts.append(of_all[0] if len(of_all) == 1 else several_hidden(of, labels[0]))
    if measure == "log":
        alone = layout == "matrix" and len(of.heads) == 1
        other = "The logarithm is drawn for one head as a matrix; here the colours are attention itself."
        parts.append(SCORES_NOTE if alone else other)
    if measure == "moved":
        parts.append(VALUE_WEIGHTED_NOTE)
    if measure == "moved" and layout != "matrix":
        parts.append("Here each row is divided by its sum: shares of the length moved.")
    if layout == "matrix" and len(of.heads) > OVERLAID:
        parts.append(f"{OVERLAID} of {len(of.heads)} heads are laid over each other: a hue each is all there are.")
    return " ".join(parts)


def several_hidden(of: HeadValues, token: str) -> str:
    """How much of each head's numbers the hidden first token had."""
    hidden = [hidden_share(row) for row in of.hidden]
    shares = [f"{name} {percent(share.mean)}" for name, share in zip(of.names, hidden)]
    return f"The first token ({token}) is hidden; it had of {listed(shares)} (mean of {counted(hidden[0].n, *QUERY)})."


def followed(values: np.ndarray, labels: Sequence[str], locked: int | None) -> str:
    """Where the locked query looks: its three strongest keys."""
    if locked is None:
        return ""
    keys = [f"{_at(look.key, labels)} ({number(look.value)})" for look in strongest_keys(values, locked)]
    return f"Query {_at(locked, labels)} looks most at {listed(keys)}." if keys else ""


def several_heads(values: np.ndarray, names: Sequence[str], locked: int | None, labels: Sequence[str]) -> str:
    """Which of some heads is the strongest where any of them is strong, and how often they agree."""
    compared = compare_heads(values)
    order = sorted(range(len(names)), key=lambda i: -compared.leads[i])[:3]
    heads = [f"{names[i]} ({compared.leads[i]})" for i in order if compared.leads[i]]
    words = (
        f"Away from the first token, {compared.strong} pairs have at least a tenth of the largest number; the "
        f"strongest head there is most often {listed(heads)}. "
        if compared.strong
        else ""
    )
    if len(names) > 1 and compared.n:
        words += f"{'Both' if len(names) == 2 else f'All {len(names)}'} agree on the strongest key there in "
        words += f"{compared.agree} of {compared.n} queries. "
    return words + (f"Head {names[0]}: {followed(values[0], labels, locked)}" if locked is not None else "")


def all_heads(counts: HeadsByHabit, content: ContentRank, n_tokens: int) -> str:
    """What the small pictures of every head have in common."""
    return (
        f"Of {counts.n} heads, {counts.first} give more than half of their attention to the first token, "
        f"{counts.previous} to the previous one and {counts.itself} to the query itself (means of {n_tokens - 1} "
        f"queries). The most content-dependent head is {content.best}, {number(content.largest)} nats; the median head "
        f"has {number(content.median)}."
    )


def blocks_of_all(attention: TextAttention, n_tokens: int) -> str:
    """How the small pictures were thinned; "" when they were not."""
    if attention.block == 1:
        return ""
    block = attention.block
    return (
        f"{n_tokens} tokens are drawn in blocks of {block}: a cell is the largest of its {block} × {block} pairs, so "
        "thin stripes stay visible and look thicker than they are."
    )


def listed(parts: Sequence[str]) -> str:
    """ "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def _at(position: int, labels: Sequence[str]) -> str:
    return f"{position} '{labels[position]}'"


def alt_of_matrix(names: Sequence[str], part: Part, text: str) -> str:
    """A matrix in words, for those who hear it."""
    what = f"head {names[0]}" if len(names) == 1 else f"heads {listed(names)}, each cell in the hue of the strongest"
    return f"Attention of {what}: {len(part.labels)} rows of queries by as many columns of keys. {text}"
