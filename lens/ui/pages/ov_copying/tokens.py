"""One head's full OV circuit in tokens: what it would copy and suppress, and what it writes for a chosen one."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.head_vocabulary import (
    ENTRY,
    UNIT,
    copied_tokens,
    copying_accuracy,
    most_top,
    own_ranks_of,
    written_for,
)
from lens.analysis.names import Head
from lens.analysis.vocabulary import cut, spellings
from lens.figures.theme import number as said
from lens.tokens import visible
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.labels import token_labels
from lens.ui.pages.ov_copying.read import Copying
from lens.ui.pages.ov_copying.words import TOKENS_MISREADING
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.widgets import number, text_line

SHOWN = 12  # tokens of each list
DRAWN = 256  # tokens whose ranks are computed
AMONG = (1, 10, 100)  # "is it in the top k of its row"


def show_tokens(view: ViewState, model: Any, found: Copying, null: Any, head: Head) -> None:
    """Both ends of the diagonal, the ranks in its rows, and a row of choice."""
    left, middle, right = st.columns(3, gap="medium")
    copied = analyse(copied_tokens, model, head, view["embedding"], SHOWN, progress=True)
    name, ends = f"{head[0]}.{head[1]}", copied.ends
    with left:
        st.markdown(f"**Head {name} would copy**", help=parts.metric_help(ENTRY, UNIT))
        _list(model, ends.high, ends.high_value, copied.high_rank, f"Tokens that head {name} would copy most")
    with middle:
        st.markdown("**and suppress**", help="Tokens whose own logit it would lower most by attending to them.")
        _list(model, ends.low, ends.low_value, copied.low_rank, f"Tokens that head {name} would suppress most")
    with right:
        written = _row(view, model, head)
    text = f"{_diagonal_words(view, model, head, copied)} {written}".strip()
    explain(view, model, Explanation(text, TOKENS_MISREADING))


def _list(model: Any, ids: np.ndarray, values: np.ndarray, ranks: np.ndarray | None, alt: str) -> None:
    frame = pd.DataFrame({"token": token_labels(model, ids), "entry": values})
    if ranks is not None:
        frame["rank"] = ranks
    help = "Tokens whose logit it raises more than this one's own, and half of those as much; 0: none."
    config = {
        "entry": st.column_config.NumberColumn(format="%.2f", help=f"{ENTRY} Unit: {UNIT}."),
        "rank": st.column_config.NumberColumn(help=help, format="%g"),
    }
    st.dataframe(frame, hide_index=True, height="content", column_config=config, alt=alt)


def _diagonal_words(view: ViewState, model: Any, head: Head, found: Any) -> str:
    """The whole diagonal in a sentence, with the ranks of tokens that were drawn at random."""
    ranks = analyse(own_ranks_of, head[0], model, view["embedding"], DRAWN, view["seed"], heads=(head[1],))
    shares, most = [], most_top(ranks.d_vocab)
    for k in AMONG:
        if k > most:
            continue
        share = analyse(copying_accuracy, to_torch(ranks), k)
        ends = "" if share.low is None else f" [{said(float(share.low[0]))}, {said(float(share.high[0]))}]"
        shares.append(f"top {k}: {said(float(share.share[0]))}{ends} (chance {said(share.chance)})")
    if most < max(AMONG):
        shares.append(f"a larger k than {most}, a tenth of these {ranks.d_vocab:,} tokens, would say nothing")
    if ranks.tied:
        return "It raises all tokens alike, whichever it attends to: every rank is a tie."
    return (
        f"{found.positive:.0%} of the vocabulary would raise its own logit. Of {len(ranks.ids)} tokens drawn at random "
        f"(seed {ranks.seed}), the share that stands in the top k of its own row is, {'; '.join(shares)}. The median "
        f"rank is {float(ranks.median[0]):,.0f} of {ranks.d_vocab:,}; a head that ignores the token has "
        f"{ranks.d_vocab // 2:,}."
    )


def _row(view: ViewState, model: Any, head: Head) -> str:
    """What the head writes for a chosen token; returns the sentence for the notice."""
    token = _choose(view, model)
    if token is None:
        return ""
    row = analyse(written_for, model, head, token, view["embedding"], SHOWN)
    label = token_labels(model, np.array([token]))[0]
    frame = pd.DataFrame(
        {
            "raises": token_labels(model, row.ends.high),
            "by": row.ends.high_value,
            "lowers": token_labels(model, row.ends.low),
            "by ": row.ends.low_value,
        }
    )
    value = st.column_config.NumberColumn(format="%.2f", help=f"{ENTRY} Unit: {UNIT}.")
    alt = f"What head {head[0]}.{head[1]} writes if it attends to {label}"
    st.dataframe(frame, hide_index=True, height="content", column_config={"by": value, "by ": value}, alt=alt)
    if row.ends.high_value[0] == row.ends.low_value[0]:
        return f"If it attends to {label} it raises all tokens alike."
    others = "no token more than itself" if row.own_rank == 0 else f"{row.own_rank:,.0f} tokens more than itself"
    return f"If it attends to {label} it raises {token_labels(model, row.ends.high[:1])[0]} most, and {others}."


def _choose(view: ViewState, model: Any) -> int | None:
    """The id of the token that is attended to; None, with a sentence, if the text is not one token."""
    if model.tokenizer is None:
        last = model.cfg.d_vocab - 1
        help = "This model has no tokenizer, so tokens are ids."
        return int(number(view, "token", (0, last), "If it attends to id", help))
    help = "One token of this model. A space in front belongs to it: in a sentence most words have one."
    text = text_line(view, "attended", "If it attends to …", help)
    if not text:
        st.info("Type a token, like “ Mary” with its space.", icon=":material/edit:")
        return None
    one = cut(model, text)
    if len(one.ids) == 1:
        return one.ids[0]
    single = [visible(other.text) for other in spellings(model, text) if len(other.ids) == 1]
    hint = f" {single[0]} is one token." if single else ""
    pieces = " | ".join(token_labels(model, np.array(one.ids)))
    parts.not_computed(f"{visible(text)} is {len(one.ids)} tokens ({pieces}); a row needs exactly one.{hint}")
    return None
