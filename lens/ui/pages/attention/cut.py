"""The section that cuts cells of the patterns of one head or of several, and shows what the model then predicts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.answer.knockout import RESTS as REST_WORDS
from lens.analysis.answer.knockout import Beside, allowed_of, beside, knockout_of, why_not_cut
from lens.analysis.names import HeadCell, PatternCell
from lens.figures.cells import MAX_CLICKABLE
from lens.figures.strip import Scale, token_strip
from lens.figures.theme import number as written
from lens.ui import parts
from lens.ui.calls import analyse, call_key, is_kept
from lens.ui.estimate import forward_seconds
from lens.ui.labels import token_labels
from lens.ui.limits import limits
from lens.ui.outcome import Explanation, Export, Outcome, conclude
from lens.ui.pages.attention import RESTS
from lens.ui.pages.attention.cells import cells_box, of_heads, seen_cells, toggle
from lens.ui.pages.attention.views import LONG
from lens.ui.shared.wording import signed
from lens.ui.waiting import started
from lens.ui.widgets import bind, button, fold, number, segmented

if TYPE_CHECKING:
    from collections.abc import Collection

    from lens.analysis.answer.knockout import Cut, Knockout
    from lens.analysis.names import Head
    from lens.ui.pages.attention.cells import Followed
    from lens.ui.view import ViewState

CELLS_HELP = (
    "Written query-key, both positions counted from 0: 6-2 is what query 6 looks at key 2 with. Several are separated "
    "by commas. A click on the matrix cuts a cell too, when 'A click on a cell' says so.\n\n"
    "A cell is of the head above, and goes along when you choose another. 1.1:6-2 is of head 1.1 and stays there: so "
    "cells of several heads are cut at once."
)
KEEP_HELP = "Writes head {} before its cells. They stay cut while you choose another head and cut cells of it too."
REST_HELP = "What becomes of the attention that a cut cell had.\n\n" + "\n\n".join(
    f"**{RESTS[rest]}:** {meaning}." for rest, meaning in REST_WORDS.items()
)
SEED_HELP = "Of the control: which other cells are cut in its place."
PLACE_HELP = "The position whose prediction is shown: a query of a cut cell, or the last one."
COLUMNS = {
    "uncut": ("Probability as the model is.", "percent"),
    "cut": ("Probability with the cells cut.", "percent"),
    "control": ("Probability with other cells of the same queries cut, mean of the draws.", "percent"),
    "logit": ("What the cut adds to the logit.", "%+.3f"),
}
NOTHING = (
    f"No cell is cut. Write one, or take the strongest. Where the matrix has at most {MAX_CLICKABLE} tokens a click "
    "cuts too: 'A click on a cell' stands under it."
)
MISREADING = (
    "A cut cell that changes nothing is not shown to be unused: another head may fetch the same, or a later layer may "
    "make up for it. One that changes much changes it in this run, not in every text. Control cells mostly had less "
    "attention than a bright one, so a bright cell changes more than they do even where what it fetches is nothing "
    "special: compare the attention that was taken away."
)
LAST_LAYER = "All that is cut stands in the last layer, so a cut reaches only the prediction at its own query."
SAME = 1e-7  # nats of KL: below, what differs is rounding
FORMULA = (
    r"\tilde A_{q,\cdot} = \operatorname{softmax}\big(s_{q,\cdot} + m_{q,\cdot}\big),\; m_{q,k} = -\infty \text{ where "
    r"cut} \qquad \text{or, not renormalised,} \qquad \tilde A_{q,k} = 0"
)
WHERE = (
    "s: the head's scores; the run goes on from its layer with this one pattern changed. Loss: −ln of the probability "
    "of the actual next token, nats. KL: Σ p ln (p / p̃) of the next-token distributions, uncut against cut, nats. "
    "Source: attention knockout, Geva et al. 2023."
)


def draw(view: ViewState, of: Followed) -> None:
    """The folded section; its label names no head, since one that changes would close it."""
    box = fold(view, "cutting", "Cut cells: what if the head could not look there?")
    if not box.open:
        return
    with box:
        _choose(view, of)
        cut = seen_cells(view, "cut", of, limits().cut_cells)
        if not cut:
            st.info(NOTHING, icon=":material/content_cut:")
            return
        if why := why_not_cut(allowed_of(of.model, cut, len(of.prompt.labels)), cut, view["rest"]):
            parts.not_computed(f"{why}. Choose '{RESTS['lost']}', or leave it a key.")
            return
        result = _compute(view, of, cut)
        if result is not None:
            conclude(view, None, _show(view, of, result))  # the model is named under the matrix


def _choose(view: ViewState, of: Followed) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        cells_box(view, "cut", "Cells to cut", CELLS_HELP, view["cut"], width=260)
        best = of.strongest(view.query)
        help = "The cell with the most attention away from the first token, of the locked query where one is locked."
        if HeadCell(of.head, *best) not in of_heads(view["cut"], of.head):
            button(f"Cut {best}, the strongest", help, toggle, view, best, key="attention:cut-strongest")
        if any(isinstance(cell, PatternCell) for cell in view["cut"]):
            keep = partial(view.set, cut=of_heads(view["cut"], of.head))
            button(f"Keep for head {of.head}", KEEP_HELP.format(of.head), keep, key="attention:cut-keep")
        if view["cut"]:
            button("Cut nothing", "Take all cuts back.", partial(view.set, cut=()), key="attention:cut-nothing")
        segmented(view, "rest", tuple(RESTS), "The other keys", REST_HELP, format_func=RESTS.get)
        number(view, "seed", (0, 2**31 - 1), "Seed", SEED_HELP, width=110)


def _compute(view: ViewState, of: Followed, cut: Cut) -> Knockout | None:
    """What the cut changes; None while long work waits for a click."""
    args = (of.model, cut, of.prompt.tokens, view["rest"], int(view["seed"]))
    cfg, n_tokens = of.model.cfg, len(of.prompt.labels)
    first = min(cell.head.layer for cell in cut)
    seconds = forward_seconds(of.model, int(n_tokens * (1 + 18 * (1 - first / cfg.n_layers))))
    whose = heads_words({cell.head for cell in cut})
    sentence = f"{len(cut)} cells of {whose} are not cut yet: a run of the text for the cut, and 16 as control."
    if not started(call_key(knockout_of, args, {}), seconds, sentence, is_kept(knockout_of, *args)):
        return None
    with st.container():
        return analyse(knockout_of, *args, progress=True)


def heads_words(heads: Collection[Head]) -> str:
    """ "head 1.1", "heads 0.2 and 1.1"."""
    *others, last = map(str, sorted(heads))
    return f"heads {', '.join(others)} and {last}" if others else f"head {last}"


def _show(view: ViewState, of: Followed, result: Knockout) -> Outcome:
    left, right = st.columns([3, 2], gap="large")
    with left:
        strip = _strips(of, result)
        st.html(f'<div class="lens-window">{strip}</div>' if len(of.prompt.labels) > LONG else strip)
    with right:
        place = _choose_place(view, of, result)
        rows = prediction(of, result, place)
        st.markdown(f"Prediction after **{result.places[place]}**, the likeliest and the one that follows")
        columns = {
            name: st.column_config.NumberColumn(help=help, format=form) for name, (help, form) in COLUMNS.items()
        }
        parts.table(rows, f"Likeliest tokens after position {result.places[place]}, uncut, cut and control", columns)
    explanation = Explanation(
        notice(of, result), MISREADING, asides=(("Control", control_words(result)),), formula=FORMULA, where=WHERE
    )
    return Outcome(explanation, _export(of, result, strip))


def _choose_place(view: ViewState, of: Followed, result: Knockout) -> int:
    """Which of the places is shown: the one that the cut moves most, unless the view names another."""
    places, labels, most = list(result.places), of.prompt.labels, result.most_moved
    if view["place"] is not None and view["place"] not in places:
        view.note(f"place {view['place']} is no query of a cut cell and not the last: showing {places[most]}")
        view.set(place=None)
    if len(places) == 1:
        return 0
    names = [f"{at}: {labels[at]}" for at in places]
    at = most if view["place"] is None else places.index(view["place"])
    seed = bind(view, "place", names[at], lambda key: view.set(place=int(st.session_state[key].split(":")[0])))
    st.selectbox("Prediction at", names, at, help=PLACE_HELP, width=200, **seed)
    return at


def _strips(of: Followed, result: Knockout) -> str:
    """The text twice: how much more surprising each token became by the cut, and by the controls, on one scale."""
    labels, change = of.prompt.labels, result.changed
    nothing, rows = np.array([np.nan]), {"cut: change of loss (nats); cut queries framed": change[1]}
    if len(result.runs) > 2:
        rows["control, mean of the draws: change of loss (nats)"] = change[2:].mean(0)
    high = float(np.abs([*rows.values()]).max()) or 1.0
    queries = {cell.query for cell in result.runs[1]}
    return "".join(
        token_strip(
            labels,
            np.concatenate([nothing, row]),
            scale=Scale(name, high=high, signed=True),
            selected=queries,
        )
        for name, row in rows.items()
    )


def prediction(of: Followed, result: Knockout, place: int) -> pd.DataFrame:
    """The likeliest tokens at one place: probability uncut, cut and in the control, and the change of the logit."""
    ids, prob = result.tokens[place], np.exp(result.logprob[:, place])
    columns = {"token": token_labels(of.model, ids), "uncut": prob[0], "cut": prob[1]}
    if len(result.runs) > 2:
        columns["control"] = prob[2:].mean(0)
    columns["logit"] = result.logit[1, place] - result.logit[0, place]
    columns["is"] = ["next" if token == result.following[place] else "" for token in ids]
    order = np.argsort(-prob[:2].max(0), kind="stable")
    return pd.DataFrame(columns).iloc[order].reset_index(drop=True)


def notice(of: Followed, result: Knockout) -> tuple[str, ...]:
    """What the cut takes away, what it changes where it changes most and at the end, and how the loss changes."""
    cut, heads = result.runs[1], result.heads
    named = [of.name(cell[1:]) if len(heads) == 1 else f"{of.name(cell[1:])} in {cell.head}" for cell in cut]
    listed = ", ".join(named[:3]) + (f" and {len(cut) - 3} more" if len(cut) > 3 else "")
    first = f"Cutting {listed} takes {written(result.removed[1])} of attention from {heads_words(heads)}."
    places = sorted({result.most_moved, len(result.places) - 1})
    last = LAST_LAYER if heads[0].layer == of.model.cfg.n_layers - 1 else ""
    said = [first, *(at_place(of, result, place) for place in places), last]
    return (" ".join(sentence for sentence in said if sentence), loss_words(of, result))


def at_place(of: Followed, result: Knockout, place: int) -> str:
    """How the prediction at one place changes: of the token that follows, or after the last of the likeliest one."""
    at, ids = result.places[place], result.tokens[place].tolist()
    following = int(result.following[place])
    token = ids.index(following) if following >= 0 else int(result.logprob[0, place].argmax())
    kind = "the token that follows" if following >= 0 else "the likeliest next token"
    where, kl = f"{at} '{of.prompt.labels[at].strip()}'", beside(result.kl[:, place])
    if kl.cut < SAME:
        return f"After {where} the prediction stays as it was."
    before, after = np.exp(result.logprob[:2, place, token])
    word = token_labels(of.model, [ids[token]])[0].strip()
    return (
        f"After {where}, {kind}, '{word}', goes from probability {written(before)} to "
        f"{written(after)}; the whole prediction moves by {written(kl.cut)} nats of KL{control_change(kl)}."
    )


def loss_words(of: Followed, result: Knockout) -> str:
    """How the loss of what comes after the first cut query changes, and where most."""
    start = min(cell.query for cell in result.runs[1])
    change = result.changed[:, start:]
    if not change.shape[1]:
        return "Nothing follows the cut query, so no loss changes."
    if np.abs(change[1]).max() < SAME:
        return f"The loss of the {change.shape[1]} tokens after query {start} stays as it was."
    mean, worst = beside(change.mean(1)), int(np.abs(change[1]).argmax())
    at = start + worst + 1
    return (
        f"Loss of the {change.shape[1]} tokens after query {start}: {signed(mean.cut)} nats on average"
        f"{control_change(mean)}. It changes most at {at} '{of.prompt.labels[at].strip()}': "
        f"{signed(float(change[1, worst]))} nats{control_change(beside(change[:, worst]))}."
    )


def control_change(of: Beside) -> str:
    """The same change in the control, in brackets."""
    if not of.n:
        return " (no control)"
    rank = "each less" if not of.larger else f"{of.larger} as much or more"
    controls = f"{of.n} {'control' if of.n == 1 else 'controls'}"
    return f" ({controls}: {written(of.mean)} [{written(of.low)}, {written(of.high)}], {rank})"


def control_words(result: Knockout) -> str:
    """What the control is, and how much attention it takes away."""
    n = len(result.runs) - 2
    rest = f"n = 1 text. {RESTS[result.rest]}: {REST_WORDS[result.rest]}."
    if not n:
        return f"These queries see no other key, so there is none. {rest}"
    had, size = beside(result.removed), len(result.runs[2])  # of every draw
    cells = f"{size} other {'cell' if size == 1 else 'cells'}"
    return (
        f"{n} different draws of {cells} of the same queries, cut in the same way: they had "
        f"{written(had.mean)} [{written(had.low)}, {written(had.high)}] of attention, the cut ones "
        f"{written(had.cut)}. In brackets: mean and range of the draws, no interval. {rest} A cell that was picked "
        "because it stands out carries no test."
    )


def loss_table(of: Followed, result: Knockout) -> pd.DataFrame:
    """One row per predicted token: its loss in every run, and the change."""
    labels, loss = of.prompt.labels, result.loss
    columns = {"position": np.arange(1, len(labels)), "token": labels[1:], "uncut": loss[0], "cut": loss[1]}
    columns["change"] = loss[1] - loss[0]
    if len(result.runs) > 2:
        columns["control"] = loss[2:].mean(0)
    return pd.DataFrame(columns)


def _export(of: Followed, result: Knockout, strip: str) -> Export:
    payload = {
        "heads": result.heads,
        "cells": result.runs[1],
        "controls": result.runs[2:],
        "rest": result.rest,
        "attention_taken": result.removed,
        "tokens": of.prompt.labels,
        "loss": result.loss,
        "kl": dict(zip(result.places, result.kl.T)),
        "predictions": {at: prediction(of, result, i).to_dict("records") for i, at in enumerate(result.places)},
        "notice": notice(of, result),
    }
    rows = partial(loss_table, of, result)
    return Export("attention_cut", strip, rows, payload, of.code + code(of, result), reads_prompt=not of.code)


def code(of: Followed, result: Knockout) -> str:
    """The Python that makes the same cut."""
    tokens, how = f"tokens[:, :{len(of.prompt.labels)}]", f"rest={result.rest!r}, seed={result.seed}"
    if len(result.heads) == 1:
        cells = ", ".join(f"({cell.query}, {cell.key})" for cell in result.runs[1])
        call = (
            "from lens.analysis.answer.knockout import beside, knockout\n\n"
            f"cut = knockout(model, {tuple(result.heads[0])}, {tokens}, [{cells}], {how})\n"
        )
    else:
        cells = ", ".join(f"HeadCell(Head{tuple(head)}, {query}, {key})" for head, query, key in result.runs[1])
        call = (
            "from lens.analysis.answer.knockout import beside, knockout_of\n"
            "from lens.analysis.names import Head, HeadCell\n\n"
            f"cut = knockout_of(model, [{cells}], {tokens}, {how})\n"
        )
    return call + (
        "print(float(cut.removed[1]), float(cut.removed[2:].mean()))  # attention taken away, and by the control\n"
        "print(cut.loss[1] - cut.loss[0])  # nats; entry p is about the token at p + 1\n"
        "print(beside(cut.changed.mean(1).numpy()))  # beside the control runs\n"
        "print(cut.places, cut.kl[1])  # nats"
    )
