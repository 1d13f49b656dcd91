"""Two texts in one batch: where the pads stand, and the proof that they change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from lens.analysis.padding import DEFINITION, PaddingCheck, padding_check
from lens.figures.aligned import Row, aligned
from lens.tokens import visible
from lens.ui.calls import analyse
from lens.ui.limits import limits
from lens.ui.models import prepend_bos, read_prompt
from lens.ui.outcome import Explanation, Export, Outcome
from lens.ui.widgets import segmented, text_area

if TYPE_CHECKING:
    from streamlit.elements.lib.column_types import ColumnConfig

    from lens.hooked import HookedTransformer
    from lens.tokens import TokenBatch
    from lens.ui.view import ViewState

NAMES = ("prompt", "second text")
SIDE_HELP = "Where the shorter text is filled up. Right is usual for reading, left for writing on."
MISREADING = (
    "A pad has a token id, and for GPT-2 it is the id of BOS itself: which places are pads is known from the lengths "
    "of the texts only, never from the id. On the right a pad could not be seen anyway (attention looks back), so a "
    "test of the mask must pad on the left."
)
FORMULA = (
    r"\max_{t\ \text{real},\ v} \left| \text{logit}^{\text{batch}}_{t,v} - \text{logit}^{\text{alone}}_{t,v} \right|"
)


def draw(view: ViewState, model: HookedTransformer) -> Outcome | None:
    """The whole tab."""
    read_prompt(view, model)
    text_area(view, "other", "Second text", "Padded together with the prompt.", height=80)
    side = segmented(view, "pad", ("right", "left"), "Padding side", SIDE_HELP, format_func=str.capitalize)
    if not view["other"].strip():
        st.info("The second text is empty. Type one to pad it together with the prompt.", icon=":material/edit:")
        return None
    longest, ids = min(limits().prompt_tokens, model.cfg.n_ctx), model.all_ids(view["other"], prepend_bos(view))
    if len(ids) > longest:
        view.note(f"the second text has {len(ids)} tokens: showing the first {longest}")
    cut = longest if view.longest or len(ids) > longest else None
    if twice := model.two_bos(ids):
        view.note(f"in the second text, {twice.removesuffix('.')}")
    batch = model.tokenize([view["prompt"], view["other"]], prepend_bos(view), side, cut)
    html = _rows(model, batch)
    st.html(html)
    check = analyse(padding_check, model, batch.tokens, batch.mask, progress=True)
    rows = table(check)
    alt = "Losses and changes by padding of both texts"
    st.dataframe(rows, hide_index=True, column_config=_columns(rows), alt=alt)
    payload = {**check._asdict(), "tokens": batch.tokens.tolist(), "mask": batch.mask.tolist()}
    explanation = Explanation(notice(check, side), MISREADING, formula=FORMULA, where=DEFINITION)
    return Outcome(explanation, Export("padding", html, rows, payload, code(view, cut)))


def code(view: ViewState, cut: int | None = None) -> str:
    """The Python that compares the padded batch with each text alone again; ``cut``: first tokens of each text."""
    longest = f", longest={cut}" if cut else ""
    return (
        "from lens.analysis.padding import padding_check\n\n"
        f"texts = [{view['prompt']!r}, {view['other']!r}]\n"
        f"batch = model.tokenize(texts, prepend_bos={prepend_bos(view)}, padding_side={view['pad']!r}{longest})\n"
        "print(padding_check(model, batch.tokens, batch.mask))"
    )


def notice(check: PaddingCheck, side: str) -> str:
    """Whether pads were read, in numbers."""
    if not check.n_pads:
        return "Both texts have the same number of tokens: there is no pad. Change one of them."
    at, without = max(check.masked), max(check.unmasked)
    kind = "which is rounding" if at < 1e-3 * check.spread else "which is more than rounding"
    contrast = (
        f"Without the mask the same pads would move a logit by up to {without:.3g}."
        if side == "left"
        else f"Without the mask {without:.1g}: on the right, pads come too late to be seen at all. Try the left."
    )
    return (
        f"{check.n_pads} pads receive attention {check.attention:g} from every head and real token, and no logit of a "
        f"real token moves by more than {at:.1g}, {kind} (the logits spread by {check.spread:.2g}). {contrast} "
        f"Scored: {' and '.join(map(str, check.scored))} predictions, none of or from a pad."
    )


def table(check: PaddingCheck) -> pd.DataFrame:
    """One row per text."""
    columns = {
        "text": NAMES,
        "scored tokens": check.scored,
        "loss in the batch (nats)": check.loss,
        "loss alone (nats)": check.loss_alone,
        "largest change of a logit": check.masked,
        "the same without the mask": check.unmasked,
    }
    return pd.DataFrame(columns)


def _rows(model: HookedTransformer, batch: TokenBatch) -> str:
    rows = []
    for name, ids, mask in zip(NAMES, batch.tokens, batch.mask.tolist()):
        labels = list(map(visible, model.to_str_tokens(ids)))
        rows.append(Row(name, labels, [str(int(real)) for real in mask], "mask", mask))
    return aligned(rows, "Both texts token under token, pads hatched, mask below")


def _columns(rows: pd.DataFrame) -> dict[str, ColumnConfig]:
    exact = st.column_config.NumberColumn(format="%.5f")
    tiny = st.column_config.NumberColumn(format="scientific", help=DEFINITION)
    return dict(zip(rows.columns[2:], (exact, exact, tiny, tiny), strict=True))
