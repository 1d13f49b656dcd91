"""Below the result: every single head, the loss of every token, and the answers before and after."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.interventions.inspect import loss_moves
from lens.figures.theme import number as written
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.labels import token_labels
from lens.ui.pages.ablation import SHORT, words
from lens.ui.pages.ablation.head_set import show_set
from lens.ui.pages.ablation.read import Asked, Found, measure_name
from lens.ui.shared import experiments, heads
from lens.ui.view import ViewState
from lens.ui.widgets import number, select

WIDTH = 900  # pixels
TOP = 8  # tokens before and after
GRID_MISREADING = (
    "A dark head may still be part of the circuit: where another can do its work, removing one alone changes nothing. "
    "And effects of heads that need each other count the same loss twice, so their sum is no total."
)
ONE_PROMPT = (
    "One prompt is an example, not a result: another may move the other way. Losses of tokens that are hard to predict "
    "anyway move most, whatever is removed."
)
ANSWER_MISREADING = (
    "A probability moves also when other tokens gain or lose: the softmax divides one whole. Read the logits for what "
    "the removal does to this token, and the ranks for what the model would write."
)
CLICKS = "A click selects a head, a second one pins or unpins it; pinned heads are removed together."


def show_grid(view: ViewState, model: Any, asked: Asked) -> None:
    """The change by every head removed alone; fills while it runs."""
    place = st.empty()

    def draw(result: Any) -> None:
        with place:
            parts.chart(_grid(view, model, asked, result)[0], "The heads that are removed so far")

    result, _ = experiments.run(model, asked.heads(view["put"]), show=draw)
    figure, values, reach, note = _grid(view, model, asked, result)
    if not np.isfinite(values).any():
        return
    from lens.analysis.interventions import gap_of

    text = words.grid_words(values, reach, gap_of(result, view["seed"]), asked.metric.unit)
    with place.container():
        if view.selected:
            heads.pin_button(view, view.selected, "ablation:pin")
        parts.head_grid(figure, view, "ablation:grid", f"{figure.layout.title.text}. {text}")
    chance = (("Chance", f"{note[:1].upper()}{note[1:]}."),)
    explain(view, model, Explanation(text, GRID_MISREADING, (("Clicks", CLICKS),), chance))


def _grid(view: ViewState, model: Any, asked: Asked, result: Any) -> tuple[Any, np.ndarray, np.ndarray | None, str]:
    from lens.analysis.interventions import effect
    from lens.analysis.interventions.ablation import chance
    from lens.figures.fitted import small_grid
    from lens.figures.grid import grid
    from lens.figures.measure import Measure
    from lens.ui.store import to_numpy

    found, band = to_numpy((effect(result, view["seed"]), chance(result, view["seed"])))
    name = f"change of the {measure_name(asked)}"
    put = words.PUTS[view["put"]].lower()
    definition = f"Metric without this head minus with it, mean over {found.n} pairs ({put})."
    null = None if band.reach is None else (-band.reach, band.reach)
    measure = Measure(
        "change", definition, found.value, asked.metric.unit, found.low, found.high, None, None, True, null
    )
    figure = grid(
        measure, pinned=view["pins"], current=view.selected, title=f"Each head of {model.name} removed alone: {name}"
    )
    return small_grid(figure, WIDTH), found.value, band.reach, band.note


def show_tokens(view: ViewState, model: Any, asked: Asked) -> None:
    """The loss of every token of one prompt, before and after."""
    from lens.figures.strip import Scale, token_strip
    from lens.ui.components import chips

    pair = _pair(view, asked)
    change = _change(model, asked, view["put"], pair, None)
    labels = token_labels(model, change.tokens.tolist())
    loss = np.concatenate([np.full((2, 1), np.nan), change.loss], axis=1)
    more = loss[1] - loss[0]
    largest = float(np.nanmax(np.abs(more), initial=0)) or 1.0
    hover = [
        f"position {at} · loss {written(float(before))} → {written(float(after))} nats"
        for at, (before, after) in enumerate(loss.T)
    ]
    scale = Scale(
        "change of the loss (nats)", high=largest, signed=True, mark="the metric reads what is predicted here"
    )
    read = _read(asked, len(labels))
    strip = token_strip(labels, more, scale=scale, hover=hover, marked=read)
    chips(view, "token", strip, view["token"], "ablation:strip")
    st.caption("Choose a token to see, under Answers, what the model expects after it.")
    moves = loss_moves(change)
    text = f"On prompt {pair} no token's loss changes at all."
    if moves.at:
        text = (
            f"On prompt {pair} the loss changes most at token {moves.at}, {labels[moves.at]}: from "
            f"{written(moves.before)} to {written(moves.after)} nats. The loss of {moves.rises} of {moves.n} tokens "
            f"rises by more than 0.1 nats, of {moves.falls} it falls as much. One prompt: no interval."
        )
    explain(view, model, Explanation(text, ONE_PROMPT))


def show_answers(view: ViewState, model: Any, asked: Asked) -> None:
    """The likeliest next tokens of one prompt before and after, with how their ranks move."""
    pair = _pair(view, asked)
    length = len(asked.task.pairs.clean[pair])
    if view["token"] is not None and view["token"] >= length:
        view.note(f"token {view['token']} does not exist in this prompt ({length} tokens): showing the last one read")
        view.set(token=None)
    at = _position(view, asked, pair)
    change = _change(model, asked, view["put"], pair, at)
    labels = token_labels(model, change.top.tolist())
    right, wrong = _answers(asked, pair, at)
    rows = pd.DataFrame(
        {
            "token": labels,
            "is": ["right" if one in right else "wrong" if one in wrong else "" for one in change.top.tolist()],
            "rank before": change.rank[0],
            "rank after": change.rank[1],
            "rank moves": change.rank[1] - change.rank[0],
            "prob before": change.prob[0],
            "prob after": change.prob[1],
            "logit change": change.logit[1] - change.logit[0],
        }
    )
    context = "".join(token_labels(model, change.tokens.tolist())[-12:])
    st.caption(f"After … {context} (position {at} of prompt {pair}). Ranks are zero-based; 0 is the likeliest.")
    form = {name: st.column_config.NumberColumn(format="%.3f") for name in rows.columns[-3:]}
    st.dataframe(rows, hide_index=True, column_config=form, alt=f"Likeliest tokens at position {at} before and after")
    explain(view, model, Explanation(_moved(change, labels, rows), ANSWER_MISREADING))


def show_table(view: ViewState, model: Any, asked: Asked, found: Found) -> None:
    """The change by every set and way of removing."""
    st.dataframe(words.table(found), hide_index=True, alt="Change by every set and way of removing")


def _moved(change: Any, labels: list[str], rows: pd.DataFrame) -> str:
    if max(change.tied) > 1:
        sides = zip(change.tied, ("before", "after"))
        return " ".join(f"{n} of these tokens are equally likely {side}." for n, side in sides if n > 1)
    before, after = change.likeliest
    text = f"Likeliest before: {labels[before]} ({written(float(change.prob[0, before]))}); after: {labels[after]} "
    text += f"({written(float(change.prob[1, after]))})."
    if before == after:
        text = f"The likeliest token stays {labels[before]}: {written(float(change.prob[0, before]))} before, "
        text += f"{written(float(change.prob[1, after]))} after."
    for _, row in rows[rows["is"] == "right"].iterrows():
        text += f" The right answer {row['token']} goes from rank {row['rank before']} to {row['rank after']}."
    return text


def _pair(view: ViewState, asked: Asked) -> int:
    last = len(asked.task.pairs) - 1
    return int(number(view, "sequence", (0, last), "Prompt", "Which pair of the task, zero-based.", width=110))


def _read(asked: Asked, length: int) -> list[int]:
    """Positions of a prompt where the metric is read."""
    where, loss = asked.metric.where, asked.metric.kind == "loss"
    last = length - 1 - int(loss)
    if where == "all":
        return list(range(last + 1))
    return [last] if where == "last" else [at if at >= 0 else length + at for at in where]


def _answers(asked: Asked, pair: int, at: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids of the right and wrong answers at a position: the task's at the end, the prompt's own next token before."""
    pairs = asked.task.pairs
    if at + 1 < len(pairs.clean[pair]):
        return (pairs.clean[pair][at + 1],), ()
    return tuple(side[pair] if side else () for side in (pairs.answers, pairs.wrong))


def _change(model: Any, asked: Asked, put: str, pair: int, at: int | None) -> Any:
    """What the chosen set does to one prompt, cut after position ``at`` (None: whole)."""
    from lens.analysis.interventions import cell_change

    experiment, index = _one(asked, put, pair, at)
    return analyse(cell_change, model, experiment, asked.cells.target.cell, index, 0, TOP)


def looked_at(view: ViewState, asked: Asked, cut: bool) -> tuple[Any, int]:
    """The experiment on the prompt that the tab of tokens, or (``cut``) of answers, shows, and its index there."""
    pair = int(view["sequence"])
    at = _position(view, asked, pair) if cut else None
    return _one(asked, view["put"], pair, at)


def _position(view: ViewState, asked: Asked, pair: int) -> int:
    """The chosen token of a prompt, else the last one that the metric reads."""
    length = len(asked.task.pairs.clean[pair])
    return max(_read(asked, length)) if view["token"] is None else int(view["token"])


def _one(asked: Asked, put: str, pair: int, at: int | None) -> tuple[Any, int]:
    """The experiment on one prompt alone, cut after ``at``; a mean needs all prompts. And the prompt's index in it."""
    from lens.analysis.interventions import Metric

    right, wrong = ((), ()) if at is None else _answers(asked, pair, at)
    pairs = asked.task.pairs if put == "mean" else asked.task.pairs.take([pair])
    stop = None if at is None else at + 1
    cut = {side: tuple(ids[:stop] for ids in getattr(pairs, side)) for side in ("clean", "corrupted")}
    n = len(pairs)
    pairs = replace(pairs, **cut, answers=(right,) * n if right else (), wrong=(wrong,) * n if wrong else ())
    return replace(asked.experiment(put), pairs=pairs, metric=Metric("kl")), pair if put == "mean" else 0


def put_first(draw_tab: Callable[..., None]) -> Callable[..., None]:
    """The tab below a list of what is put in the place of a head."""

    def draw(view: ViewState, model: Any, asked: Asked, found: Found) -> None:
        select(view, "put", tuple(SHORT), "Put in place", words.PUT_HELP, format_func=words.PUTS.get, width=230)
        draw_tab(view, model, asked)

    return draw


TABS = {
    "grid": ("All single heads", put_first(show_grid)),
    "set": ("A set of heads", put_first(show_set)),
    "tokens": ("Loss by token", put_first(show_tokens)),
    "answers": ("Answers", put_first(show_answers)),
    "table": ("All numbers", show_table),
}
