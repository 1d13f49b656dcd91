"""One head's full OV circuit in tokens: what it would copy and suppress, and what it writes for a chosen one."""

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from lens.analysis.head_vocabulary import (
    ENTRY,
    UNIT,
    Copied,
    copied_tokens,
    copying_accuracy,
    most_top,
    own_ranks_of,
    written_for,
)
from lens.analysis.names import Head
from lens.analysis.vocabulary import cut, spellings
from lens.figures.theme import number as written
from lens.hooked import HookedTransformer
from lens.tokens import visible
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.labels import token_labels
from lens.ui.pages.ov_copying.grid import Copying
from lens.ui.pages.ov_copying.words import TOKENS_MISREADING
from lens.ui.shared.copying_words import Null
from lens.ui.shared.wording import interval
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.widgets import number, text_line

LISTED = 12  # tokens of each list
DRAWN = 256  # tokens whose ranks are computed
AMONG = (1, 10, 100)  # "is it in the top k of its row"
RANK_HELP = "Place of its own logit among all that it raises, 1 is the most; equal ones share their mean place."


def show_tokens(view: ViewState, model: HookedTransformer, copying: Copying, null: Null | None, head: Head) -> None:
    """Both ends of the diagonal, the ranks in its rows, and a row of choice."""
    left, middle, right = st.columns(3, gap="medium")
    copied = analyse(copied_tokens, model, head, view["embedding"], LISTED, progress=True)
    ends = copied.ends
    with left:
        st.markdown(f"**Head {head} would copy**", help=parts.metric_help(ENTRY, UNIT))
        rows = {"token": token_labels(model, ends.high), "entry": ends.high_value, "rank": 1 + copied.high_rank}
        _list(rows, f"Tokens that head {head} would copy most")
    with middle:
        st.markdown("**and suppress**", help="Tokens whose own logit it would lower most by attending to them.")
        rows = {"token": token_labels(model, ends.low), "entry": ends.low_value, "rank": 1 + copied.low_rank}
        _list(rows, f"Tokens that head {head} would suppress most")
    with right:
        row = _show_row(view, model, head)
    text = f"{_diagonal_words(view, model, head, copied)} {row}".strip()
    explain(view, model, Explanation(text, TOKENS_MISREADING))


def _list(rows: Mapping[str, Sequence], alt: str) -> None:
    value = st.column_config.NumberColumn(format="%.2f", help=f"{ENTRY} Unit: {UNIT}.")
    columns = dict.fromkeys(("entry", "by", "by "), value)
    columns["rank"] = st.column_config.NumberColumn(help=RANK_HELP, format="%g")
    parts.table(pd.DataFrame(rows), alt, columns, height="content")


def _diagonal_words(view: ViewState, model: HookedTransformer, head: Head, copied: Copied) -> str:
    """The whole diagonal in a sentence, with the ranks of tokens that were drawn at random."""
    args = (head.layer, model, view["embedding"], DRAWN, view["seed"])
    ranks = analyse(own_ranks_of, *args, heads=(head.head,))
    if ranks.tied:
        return "It raises all tokens alike, whichever it attends to: every rank is a tie."
    shares, most = [], most_top(ranks.d_vocab)
    for k in (k for k in AMONG if k <= most):
        share = analyse(copying_accuracy, to_torch(ranks), k)
        ends = (None, None) if share.low is None else (share.low[0], share.high[0])
        shares.append(f"top {k}: {written(float(share.share[0]))}{interval(*ends)} (chance {written(share.chance)})")
    if most < max(AMONG):
        shares.append(f"a larger k than {most}, a tenth of these {ranks.d_vocab:,} tokens, would say nothing")
    return (
        f"{copied.positive:.0%} of the vocabulary would raise its own logit. Of {len(ranks.ids)} tokens drawn at "
        f"random (seed {ranks.seed}), the share that stands in the top k of its own row is, {'; '.join(shares)}. The "
        f"median rank is {1 + float(ranks.median[0]):,.0f} of {ranks.d_vocab:,}; a head that ignores the token has "
        f"{(ranks.d_vocab + 1) // 2:,}."
    )


def _show_row(view: ViewState, model: HookedTransformer, head: Head) -> str:
    """What the head writes for a chosen token; returns the sentence for the notice."""
    token = _choose(view, model)
    if token is None:
        return ""
    row = analyse(written_for, model, head, token, view["embedding"], LISTED)
    ends, (label,) = row.ends, token_labels(model, [token])
    raised, lowered = token_labels(model, ends.high), token_labels(model, ends.low)
    rows = {"raises": raised, "by": ends.high_value, "lowers": lowered, "by ": ends.low_value}
    _list(rows, f"What head {head} writes if it attends to {label}")
    if ends.high_value[0] == ends.low_value[0]:
        return f"If it attends to {label} it raises all tokens alike."
    others = "no token more than itself" if row.own_rank == 0 else f"{row.own_rank:,.0f} tokens more than itself"
    return f"If it attends to {label} it raises {raised[0]} most, and {others}."


def _choose(view: ViewState, model: HookedTransformer) -> int | None:
    """The id of the token that is attended to; None, with a sentence, if the text is not one token."""
    if model.tokenizer is None:
        help = "This model has no tokenizer, so tokens are ids."
        return int(number(view, "token", (0, model.cfg.d_vocab - 1), "If it attends to id", help))
    help = "One token of this model. A space in front belongs to it: in a sentence most words have one."
    text = text_line(view, "attended", "If it attends to …", help)
    if not text:
        st.info("Type a token, like “ Mary” with its space.", icon=":material/edit:")
        return None
    ids = cut(model, text).ids
    if len(ids) == 1:
        return ids[0]
    single = [visible(other.text) for other in spellings(model, text) if len(other.ids) == 1]
    hint = f" {single[0]} is one token." if single else ""
    pieces = " | ".join(token_labels(model, ids))
    parts.not_computed(f"{visible(text)} is {len(ids)} tokens ({pieces}); a row needs exactly one.{hint}")
    return None
