"""One text, token by token: what two checkpoints make of it, its losses over training, when each token is learned."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.token_learning import (
    ACQUIRED,
    REPEATED,
    Acquired,
    Change,
    TokenCurves,
    acquired,
    change,
    common_word,
    is_repeated,
    token_curves,
)
from lens.figures.strip import Scale, token_strip
from lens.figures.theme import number as written
from lens.figures.training import Axis, Panel, Span, Trace, clicked, training
from lens.load.checkpoints import checkpoint_name
from lens.texts import PASSAGE_NAME, passage
from lens.tokens import visible
from lens.ui import checkpoint_runs, parts
from lens.ui.calls import sweep
from lens.ui.components import chips
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.limits import limits
from lens.ui.models import prepend_bos, source_named
from lens.ui.pages.training_dynamics import AFTER, AUTO, BEFORE, TEXTS, words
from lens.ui.pages.training_dynamics.figure import at, phase_of, shared_axis, title_of
from lens.ui.pages.training_dynamics.opened import main_run, open_index, open_point, read_text
from lens.ui.widgets import segmented, select

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lens.analysis.training_run import Reading
    from lens.ui.pages.training_dynamics.controls import Choices
    from lens.ui.pages.training_dynamics.run_curves import RunCurves
    from lens.ui.view import ViewState

TEXT_HELP = "What is read at every checkpoint: a shipped passage in which rare names come again, or the prompt above."
BEFORE_HELP, AFTER_HELP = (
    f"The {which} of the two checkpoints that are compared. By the rule: where the phase change {verb}, or, without "
    f"one, the {end} checkpoint."
    for which, verb, end in (("earlier", "begins", "first"), ("later", "ends", "last"))
)
MISREADING = (
    "A loss that falls says that the token is predicted better, not how: a name that comes again may be copied, or "
    "have become likely after its first letters. One text is no sample, and the token that falls most was picked "
    "because it does."
)
GAINED = "was the top guess for a while, not at the end"
HIGH = 420  # pixels of a strip that scrolls
LONG = 400  # tokens of one that does


class OneText(NamedTuple):
    """A text at all checkpoints of a run; positions count from 0, entries of ``curves`` from the second token."""

    run: RunCurves
    name: str
    read: Reading
    labels: list[str]
    curves: TokenCurves
    repeated: np.ndarray  # bool [predicted]
    common: np.ndarray  # bool [predicted]
    before: int  # place in the curves
    after: int

    @property
    def change(self) -> Change:
        """How the loss moves between the two checkpoints."""
        return change(self.curves, self.before, self.after, self.repeated)

    @property
    def moved(self) -> np.ndarray:
        """Change of the loss of every token, nats; NaN of the first, which nothing predicts."""
        return np.concatenate([[np.nan], self.curves.loss[self.after] - self.curves.loss[self.before]])

    def called(self, place: int) -> str:
        """A place in the curves in words."""
        return checkpoint_name(self.run.checkpoints, self.curves.indices[place])


def show_tokens(view: ViewState, runs: list[RunCurves], choices: Choices) -> None:
    """Strip, curves and map of one text in the view's model, what to see in them, and the way to take them away."""
    run = main_run(view, runs)
    names = {AUTO: "by the rule"} | {str(i): checkpoint_name(run.checkpoints, i) for i in run.indices}
    with st.container(horizontal=True, vertical_alignment="bottom", key="dynamics-text"):
        segmented(view, "text", tuple(TEXTS), "Text", TEXT_HELP, format_func=TEXTS.get)
        select(view, BEFORE, tuple(names), "Before", BEFORE_HELP, format_func=names.get, width=190)
        select(view, AFTER, tuple(names), "After", AFTER_HELP, format_func=names.get, width=190)
    text = one_text(view, run, choices)
    if text is None:
        return
    chosen = _chosen(view, text)
    html = strip(text, chosen)
    with st.container(height=HIGH if len(text.labels) > LONG else "content", border=False):
        chips(view, "token", html, chosen, key="dynamics:strip")
    figure, said = figure_of(view, text, choices, chosen), notice(text)
    parts.chart(figure, f"{title_of(run)}, {text.name}: {said}", "dynamics:tokens", partial(open_point, view, runs),
                read=clicked)  # fmt: skip
    learned = acquired(text.curves)
    with st.container(height=HIGH if len(text.labels) > LONG else "content", border=False):
        st.html(acquisition_strip(text, learned))
    about = (("Repeated", REPEATED), ("Top guess", ACQUIRED))
    n, n_all = len(text.labels), text.read.n_all
    sample = f"{text.name}, {f'the first {n} of {n_all}' if n_all > n else n} tokens, read by {title_of(run)} at "
    sample += f"{len(text.curves.indices)} checkpoints"
    if n_all > n:
        st.caption(f"The first {n} of {n_all} tokens: {title_of(run)} reads no more at once here.")
    explain(view, None, Explanation((said, learned_words(text, learned)), MISREADING, about, (("Sample", sample),)))
    rows = partial(table, text, learned)
    payload = text.curves._asdict() | {"tokens": text.read.words, "acquired": learned._asdict(), "html": html}
    payload |= {"before": text.called(text.before), "after": text.called(text.after), "repeated": text.repeated}
    export(view, Export("token-change", html, rows, payload, code(view, text, choices), opens_model=False))


def one_text(view: ViewState, run: RunCurves, choices: Choices) -> OneText | None:
    """The chosen text at every checkpoint that is on the curves; None, with a sentence, where it cannot be shown."""
    shipped = view["text"] == "passage"
    source = passage() if shipped else view["prompt"]
    read = read_text(view, run, source, limits().prompt_tokens)
    if read is None:
        return None
    if len(read.words) < 2:
        parts.not_computed("a text of one token has none that is predicted.")
        return None
    seconds = run.seconds(len(read.words))
    done = sweep(checkpoint_runs.measure_tokens, run.cells, read.tokens, estimate=seconds).done
    for sentence in (measured.lost for measured in done.values() if measured.lost):
        view.note(f"left out of the text: {sentence.removesuffix('.')}")
    finite = {cell.index: measured.scores for cell, measured in done.items() if not measured.lost}
    if len(finite) < 2:
        parts.not_computed("two checkpoints are compared, and fewer are measured.")
        return None
    curves, ids = token_curves(run.checkpoints.labels, finite), read.tokens[0].tolist()
    skip = checkpoint_runs.run_of(source_named(run.name)).inputs(choices.setting).repeated.bos
    marks = is_repeated(ids, skip), common_word(ids, read.words, skip)
    name = PASSAGE_NAME if shipped else "the prompt"
    labels = [visible(word) for word in read.words]
    return OneText(run, name, read, labels, curves, *marks, *_compared(view, run, curves))


def strip(text: OneText, chosen: int) -> str:
    """The text, each token coloured by how its loss moves."""
    moved, marked = text.moved, np.flatnonzero(text.repeated) + 1
    largest = float(np.nanmax(np.abs(moved), initial=0)) or 1.0
    label = f"change of the loss from {text.called(text.before)} to {text.called(text.after)} (nats)"
    scale = Scale(label, high=largest, signed=True, mark="its pair stands earlier in the text")
    return token_strip(text.labels, moved, scale=scale, hover=_hovers(text), selected=[chosen], marked=marked)


def acquisition_strip(text: OneText, learned: Acquired) -> str:
    """The text, each token coloured by the checkpoint from which it stays the top guess, early ones strongest."""
    n = len(text.curves.indices)
    stays = np.concatenate([[np.nan], np.where(learned.stays < 0, np.nan, n - learned.stays)])
    ends = (text.called(n - 1), text.called(0))
    scale = Scale("stays the top guess from", 0, n, ends=ends, mark=GAINED)
    hover = ["not predicted"]
    for first, last in zip(learned.first, learned.stays):
        began = "never the top guess" if first < 0 else f"first the top guess at {text.called(first)}"
        hover.append(began + (f", stays from {text.called(last)}" if last >= 0 else ""))
    return token_strip(text.labels, stays, scale=scale, hover=hover, marked=np.flatnonzero(learned.is_lost) + 1)


def figure_of(view: ViewState, text: OneText, choices: Choices, chosen: int) -> go.Figure:
    """The losses of groups of tokens, and of the chosen one, over training; below, how many are the top guess."""
    run, curves, x = text.run, text.curves, shared_axis([text.run])
    where = at(run, x, curves.indices)
    points = np.array([(run.number, index, -1, -1) for index in curves.indices], np.int32)
    losses, guesses = [], []
    for number, (name, group) in enumerate(groups(text, chosen).items()):
        losses.append(Trace(name, where, curves.loss[:, group].mean(1), points, number, legend=True))
        if number < 2:
            guesses.append(Trace(name, where, curves.is_top[:, group].mean(1), points, number))
    phase, spans = phase_of(view, run), []
    if phase.first is not None:
        ends = at(run, x, [run.indices[phase.first], run.indices[phase.last]])
        spans.append(Span(*ends, len(losses), "phase change"))
    panels = [Panel("Loss (nats)", losses), Panel("Top guess right (share of tokens)", guesses)]
    cursor = float(at(run, x, [open_index(view, run)])[0]) if view["revision"] else None
    return training(panels, Axis(x.title, choices.log), title="", spans=spans, cursor=cursor)


def groups(text: OneText, chosen: int) -> dict[str, np.ndarray]:
    """The tokens whose mean loss is drawn, by what the legend calls them; bool [predicted]."""
    every = np.ones(len(text.repeated), bool)
    curves = {f"all {len(every)}": every}
    if text.repeated.any():
        curves[f"{text.repeated.sum()} repeated"] = text.repeated
    if text.common.any():
        word = text.labels[int(np.flatnonzero(text.common)[0]) + 1]
        curves[f"{text.common.sum()} × {word}"] = text.common
    if chosen:
        curves[f"{chosen}: {text.labels[chosen]}"] = np.arange(len(every)) == chosen - 1
    return curves


def notice(text: OneText) -> str:
    """How the text's loss moves between the two checkpoints, of repeated tokens and of the others."""
    of, run = text.change, title_of(text.run)
    one, other = (text.run.contents[text.curves.indices[place]] for place in (text.before, text.after))
    if one == other:
        ends = f"{text.called(text.before)} and {text.called(text.after)}"
        return f"{ends} of {run} are the same files, so no loss changes."
    said = f"From {text.called(text.before)} to {text.called(text.after)} the mean loss of {run} on {text.name} goes "
    said += f"from {written(of.before)} to {written(of.after)} nats"
    if of.n_repeated and of.n_others:
        said += f": by {written(of.repeated)} on the {of.n_repeated} tokens whose pair stands earlier in the text, by "
        said += f"{written(of.others)} on the other {of.n_others}"
    loss = text.curves.loss[[text.before, text.after], of.at]
    kind = "Of those that repeat, it" if of.n_repeated else "It"
    said += f". {kind} falls most at token {of.at + 1}, {text.labels[of.at + 1]}: from {written(float(loss[0]))} to "
    return f"{said}{written(float(loss[1]))} nats. One text: no interval."


def learned_words(text: OneText, learned: Acquired) -> str:
    """How many tokens become the top guess, and how many stay it."""
    n, n_first = len(learned.first), int((learned.first >= 0).sum())
    stays = learned.stays[learned.stays >= 0]
    said = (
        f"Of {n} tokens {n_first} are the top guess of {title_of(text.run)} at some checkpoint; {len(stays)} of them "
    )
    said += "at every one from some point to the last"
    if not len(stays):
        return f"{said}."
    half = int(np.sort(stays)[(len(stays) - 1) // 2])
    return f"{said}, half of these since {text.called(half)} or before."


def table(text: OneText, learned: Acquired) -> pd.DataFrame:
    """One row per predicted token."""
    names = [text.called(place) for place in range(len(text.curves.indices))]
    before, after = (text.curves.loss[place] for place in (text.before, text.after))
    return pd.DataFrame({
        "position": np.arange(1, len(text.labels)),
        "token": text.labels[1:],
        "loss before (nats)": before,
        "loss after (nats)": after,
        "change (nats)": after - before,
        "pair stands earlier": text.repeated,
        "first the top guess": [names[place] if place >= 0 else "" for place in learned.first],
        "stays from": [names[place] if place >= 0 else "" for place in learned.stays],
    })  # fmt: skip


def code(view: ViewState, text: OneText, choices: Choices) -> str:
    """The Python that reads the text again."""
    lines = ["from lens.analysis.token_learning import acquired, token_dynamics"]
    lines += ["from lens.texts import passage"] * (view["text"] == "passage")
    source = "passage()" if view["text"] == "passage" else repr(view["prompt"])
    return (
        f"{words.opening(source_named(text.run.name), *lines)}"
        f"read = run.read({source}, {prepend_bos(view)}, {limits().prompt_tokens})\n"
        f"curves = token_dynamics(run, read.tokens, {text.curves.indices})\n"
        f"print(curves.loss[{text.after}] - curves.loss[{text.before}])  # nats; entry p is about position p + 1\n"
        "print(acquired(curves))"
    )


def _hovers(text: OneText) -> list[str]:
    losses = text.curves.loss[[text.before, text.after]].T
    hover = ["position 0 · not predicted"]
    for position, (before, after) in enumerate(losses, start=1):
        said = f"position {position} · loss {written(float(before))} → {written(float(after))} nats"
        hover.append(said + (" · its pair stands earlier" if text.repeated[position - 1] else ""))
    return hover


def _chosen(view: ViewState, text: OneText) -> int:
    """The position that is followed: the view's, else that whose loss falls most."""
    n = len(text.labels)
    if view["token"] is not None and view["token"] >= n:
        view.note(f"token {view['token']} does not exist in this text ({n} tokens)")
        view.set(token=None)
    return text.change.at + 1 if view["token"] is None else view["token"]


def _compared(view: ViewState, run: RunCurves, curves: TokenCurves) -> tuple[int, int]:
    """The two places in the curves that are compared: chosen, else the ends of the phase change, else of the run."""
    phase, last = phase_of(view, run), len(curves.indices) - 1
    places = []
    for name, edge, end in ((BEFORE, phase.first, 0), (AFTER, phase.last, last)):
        index = run.indices[edge] if view[name] == AUTO and edge is not None else None
        index = int(view[name]) if view[name] != AUTO else index
        places.append(curves.indices.index(index) if index in curves.indices else end)
    return places[0], places[1]
