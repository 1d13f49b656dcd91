"""The pinned heads' OV circuits summed: what they copy together, beside each alone and beside rotated ones."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure

from lens.analysis.effective_ov import (
    DEFINITION,
    ROTATIONS,
    EffectiveOV,
    SetAccuracy,
    effective_ov,
    effective_ov_to_python,
    operations,
)
from lens.analysis.names import Head
from lens.figures.effects import Named, Removal, effects
from lens.figures.fitted import narrow
from lens.figures.theme import number as written
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse, call_key, is_kept
from lens.ui.estimate import operation_seconds
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.pages.ov_copying.grid import Copying
from lens.ui.shared.copying_words import Null
from lens.ui.shared.wording import interval, percent, sentence
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.waiting import started

WIDTH = 900  # pixels
OFFER = "What {} heads would copy together is not computed yet."
PICKED = "Heads that were picked for what they do are described, not judged: pin two for a verdict."
AXIS = "share of tokens"
MISREADING = (
    "The sum takes the heads as if they attended to the same token at once, and their weights as they are: in a text "
    "each looks where its pattern says, and the norms scale what each layer reads. Heads that copy well together need "
    "not work together, and a large head can drown the others."
)
FORMULA = (
    r"\operatorname{mean}_t \Big[ \operatorname{rank}_t \Big( W_E \sum_{h \in S} W_V^h W_O^h \, W_U \Big)_{t,\cdot} "
    r"< k \Big]"
)
WHERE = (
    "S are the heads. Alone: S is one of them. Grey: every head's W_V R W_O with a Haar rotation R of its own, which "
    "keeps what it reads and where it writes. Interval: exact binomial over tokens (Clopper and Pearson 1934)."
)


def show_together(view: ViewState, model: HookedTransformer, copying: Copying, null: Null | None, head: Head) -> None:
    """Top-1 and top-5 accuracy on the diagonal of the summed circuits, each head alone beside it."""
    chosen = chosen_heads(view["pins"], head, np.asarray(copying.chosen.score))
    heads = chosen.heads
    if chosen.why:
        st.caption(chosen.why)
    args, seed = (model, heads, view["embedding"]), view["seed"]
    seconds, done = operation_seconds(model, operations(model.cfg, len(heads))), is_kept(effective_ov, *args, seed=seed)
    if not started(call_key(effective_ov, args, {"seed": seed}), seconds, OFFER.format(len(heads)), done):
        return
    found = to_torch(analyse(effective_ov, *args, seed=seed, progress=True))
    if not found.ks:
        parts.not_computed(f"a vocabulary of {found.d_vocab} is too small: the top 1 is more than a tenth of it.")
        return
    shares = {k: found.accuracy(k) for k in found.ks}
    names = ", ".join(map(str, found.heads))
    figure, texts = _figure(found, shares, names), set_words(found, chosen)
    parts.chart(narrow(figure, WIDTH), f"{figure.layout.title.text}. {' '.join(texts)}", key="ov:together")
    n = len(found.ids)
    sample = f"{n} tokens drawn at random (seed {found.seed}), {found.description}; {ROTATIONS} rotations of each head."
    explain(view, model, Explanation(tuple(texts), MISREADING, (), (("Sample", sample),), FORMULA, WHERE))
    rows = partial(share_rows, found, shares)
    parts.table(rows(), f"Each of {names} alone and their sum")
    payload = {"heads": list(map(str, found.heads)), "notice": " ".join(texts), "seed": found.seed, "tokens": n}
    payload |= {"numbers": rows().to_dict("records"), "embedding": view["embedding"]}
    payload |= {f"rotated, top {k}": one.rotated.tolist() for k, one in shares.items()}
    code = effective_ov_to_python(heads, view["embedding"], int(view["seed"]))
    export(view, Export("effective-ov", figure, rows, payload, code, reads_prompt=False))


class Chosen(NamedTuple):
    """The heads that are summed."""

    heads: tuple[tuple[int, int], ...]
    why: str = ""  # why these, where the page picked some of them; "" where all are pinned


def chosen_heads(pins: Sequence[tuple[int, int]], head: tuple[int, int], score: np.ndarray) -> Chosen:
    """The pinned heads; where fewer than two are, two of: the pinned, the shown, and those of the highest ``score``."""
    pinned = tuple((int(layer), int(at)) for layer, at in pins)
    if len(pinned) >= 2:
        return Chosen(pinned)
    score = np.nan_to_num(score, nan=-np.inf)
    order = [tuple(int(i) for i in np.unravel_index(at, score.shape)) for at in np.argsort(-score, axis=None)[:2]]
    reasons = [*((pin, "is pinned") for pin in pinned), (tuple(head), "is shown")]
    reasons += zip(order, ("copies most", "copies second most"))
    roles: dict[tuple[int, int], list[str]] = {}
    for one, role in reasons:
        roles.setdefault(one, []).append(role)
    heads = tuple(roles)[:2]
    names = " and ".join(str(Head(*one)) for one in heads)
    each = ", ".join(f"{Head(*one)} {' and '.join(roles[one])}" for one in heads)
    return Chosen(heads, f"Fewer than two heads are pinned: {names} are taken. By the page's score {each}. {PICKED}")


def _figure(found: EffectiveOV, shares: dict[int, SetAccuracy], names: str) -> Figure:
    rows = []
    for k, one in shares.items():
        low, high = (None, None) if one.found.low is None else (float(one.found.low[-1]), float(one.found.high[-1]))
        alone = [Named(str(head), float(share)) for head, share in zip(found.heads, one.found.share)]
        rotated = [Named(f"rotation {at}", float(share)) for at, share in enumerate(one.rotated, 1)]
        rows.append(Removal(f"top {k}", Named(f"{names} summed", one.together), low, high, alone, rotated))
    title = f"What {names} would copy together"
    return effects(rows, "", title=title, definition=DEFINITION, axis=AXIS)


def set_words(found: EffectiveOV, chosen: Chosen) -> list[str]:
    """A sentence for each top k. One verdict in all, for the smallest k; none for heads that the page picked."""
    picked = bool(chosen.why)
    return [share_words(found.accuracy(k), not picked and k == found.ks[0]) for k in found.ks]


def share_words(one: SetAccuracy, judged: bool) -> str:
    """One top k in a sentence: the sum and the best head alone; where ``judged``, whether it is more than chance."""
    k, found = one.found.k, one.found
    ends = (None, None) if found.low is None else (found.low[-1], found.high[-1])
    best = float(found.share[:-1].max())
    among = "raised most" if k == 1 else f"among the {k} raised most"
    text = f"Top {k}: summed, {percent(one.together)}{interval(*ends)} of {found.n} tokens are {among}"
    text += f"; the best alone, {one.best}, {percent(best)}; by chance {written(found.chance)}. "
    if not judged:
        return f"{text}Beside rotated heads: {one.beside_rotations}; described, not judged."
    copies = {"found": "More than with rotated heads", "none": "No more than with rotated heads"}
    text += f"{copies.get(one.copies.state, 'No verdict')}: {one.copies.reason}. "
    verdict = one.more_than_best
    if verdict.state == "unknown":
        return text + sentence(verdict.reason)
    more = (
        "The sum copies more than the best alone"
        if verdict.found
        else "That it copies more than the best alone is not shown"
    )
    return f"{text}{more}: {verdict.reason}."


def share_rows(found: EffectiveOV, shares: dict[int, SetAccuracy]) -> pd.DataFrame:
    """One row per head, and the sum."""
    names = [*map(str, found.heads), "summed"]
    rows = pd.DataFrame({"heads": names})
    for k, one in shares.items():
        rows[f"top {k}"] = one.found.share.tolist()
        if one.found.low is not None:
            rows[f"top {k} CI low"], rows[f"top {k} CI high"] = one.found.low.tolist(), one.found.high.tolist()
    return rows
