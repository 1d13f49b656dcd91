"""Train on stage: two small models trained side by side while people watch, then a sequence that neither has seen."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lens.analysis.names import Head
from lens.figures.cells import Marks
from lens.figures.fitted import small_matrix
from lens.figures.matrix import View, matrix
from lens.figures.playing import Course, playing
from lens.figures.strip import Scale, token_strip
from lens.figures.training import Axis, Level, Panel, Trace, training
from lens.load.staged import LAYERS, Staged
from lens.tokens import visible
from lens.train.periods import make_tokenizer, sequences
from lens.train.staged import MEASURED, Curve, Curves, unseen
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.limits import limits
from lens.ui.pages.training_dynamics import MOST_UNSEEN, trainee_words
from lens.ui.pages.training_dynamics.controls import Choices
from lens.ui.pages.training_dynamics.figure import NOTHING
from lens.ui.pages.training_dynamics.run_curves import RunCurves
from lens.ui.staged_runs import steps_offered, train_pair
from lens.ui.view import ViewState
from lens.ui.widgets import button, number, select

if TYPE_CHECKING:
    from lens.train.staged import Unseen

SIDE = 330  # pixels of a pattern
SEED_HELP = "Decides the first weights and the sequences. The same seed gives the same models, for everyone."
STEPS_HELP = "How long both are trained."
UNSEEN_HELP = "Another number draws another sequence. None of them is ever trained on."
OPEN_HELP = "{} with its checkpoints on this page, {} beside it; the other pages then open it as well."
BEST = "attention of head {} of the {} model"


def show_training(view: ViewState, runs: list[RunCurves], choices: Choices) -> None:
    """The tab: what is trained, its curves as they form, and what both models can do."""
    st.caption(trainee_words.TASK)
    with st.container(horizontal=True, vertical_alignment="bottom", key="trainee-controls"):
        seed = number(view, "train_seed", (0, limits().staged_seed), "Seed", SEED_HELP, width=110)
        steps = select(view, "train_steps", steps_offered(), "Steps", STEPS_HELP, width=110)
    staged, place = Staged(int(seed), int(steps)), st.container()
    filling, buttons = st.empty(), st.container(horizontal=True)
    with place:
        curves = train_pair(staged, partial(_draw_filling, filling, staged, choices))
    if curves is None:
        return
    with filling.container():
        figure = _draw_pair(staged, curves, choices, finished=True)
    with buttons:
        _offer_models(view, staged, curves)
    of = trainee_words.lines()
    measured = (("How they were trained", trainee_words.measured(staged)),)
    explain(
        view,
        None,
        Explanation(
            trainee_words.notice(curves, of.guess), trainee_words.MISREADING, (), measured, trainee_words.FORMULA,
            trainee_words.WHERE,
        ),
    )  # fmt: skip
    _draw_unseen(view, staged)
    table, payload = partial(trainee_words.table, curves), trainee_words.payload(curves, of)
    code = trainee_words.code(staged)
    export(view, Export("train-on-stage", figure, table, payload, code, opens_model=False))


def _draw_filling(place: DeltaGenerator, staged: Staged, choices: Choices, curves: Curves) -> None:
    with place.container():
        _draw_pair(staged, curves, choices, finished=False)


def _draw_pair(staged: Staged, curves: Curves, choices: Choices, finished: bool) -> go.Figure:
    """The curves of both models beside what the best head of the two-layer one looks at; returns the curves."""
    two, of = curves.of[2], trainee_words.lines()
    figure = curves_figure(curves, of, staged.steps, choices.log)
    left, right = st.columns([1.5, 1], gap="medium")
    with left:
        words = trainee_words.notice(curves, of.guess)
        alt = f"Loss on later copies and induction score of both models over {two.steps[-1]} steps. {words}"
        parts.chart(figure, alt, "trainee:curves" if finished else None)
    with right:
        head, labels, marks = Head(*two.best), *_first_sequence()
        title = BEST.format(head, trainee_words.COUNT[2]).capitalize()
        if finished:
            frames = _playing(two, head, labels, marks, of.even, choices.log)
            parts.chart(frames, f"{title}, step by step", "trainee:play")
            st.caption("The first of the measured sequences. Outlined: the words after an earlier occurrence.")
        else:
            parts.chart(_stripe(two.pattern[-1][head], labels, title, marks), f"{title} at step {two.steps[-1]}")
    return figure


def curves_figure(curves: Curves, of: trainee_words.Lines, steps: int, log: bool) -> go.Figure:
    """Loss and induction score of both models over their steps."""
    loss, score = [], []
    for colour, (n_layers, curve) in enumerate(curves.of.items()):
        x, name = curve.steps.astype(np.float64), trainee_words.COUNT[n_layers]
        loss.append(Trace(name, x, curve.loss.mean(1), NOTHING, colour, legend=True))
        best = curve.induction.reshape(len(x), -1).max(1)
        score.append(Trace(f"{name}, best head at each step", x, best, NOTHING, colour))
    levels = [Level(of.guess, "guess among the repeated", right=True), Level(of.distance, "guess by distance")]
    panels = [
        Panel("Loss on later copies (nats)", loss, levels, ends=(0.0, 4.2)),
        Panel("Induction, best head (probability)", score, [Level(of.even, "all words alike")], ends=(0.0, 1.02)),
    ]
    return training(panels, Axis("training steps", log, steps), title="")


def _stripe(pattern: np.ndarray, labels: list[str], title: str, marks: Marks) -> go.Figure:
    return small_matrix(matrix(pattern, labels, title=title, marks=marks, view=View(hide_first=True)), SIDE, None)


def _playing(curve: Curve, head: Head, labels: list[str], marks: Marks, even: float, log: bool) -> go.Figure:
    score = curve.induction[:, head.layer, head.head]
    names = [f"step {step}" for step in curve.steps]
    course = Course(curve.steps.astype(np.float64), score, names, "training steps", "induction", log, even)
    title = f"Head {head} of the two-layer model"
    return playing(curve.pattern[:, head.layer, head.head], labels, course, title=title, marks=marks)


def _first_sequence() -> tuple[list[str], Marks]:
    given = sequences(1, MEASURED)
    tokens, period = given.tokens[0, :-1].tolist(), int(given.period)
    return _labels(tokens), _marks(len(tokens), period)


def _labels(tokens: list[int]) -> list[str]:
    tokenizer = make_tokenizer()
    return [visible(tokenizer.id_to_token(token)).lstrip("·") for token in tokens]


def _marks(n: int, period: int) -> Marks:
    cells = [(q, k) for q in range(period + 1, n) for k in range(q - period + 1, 0, -period)]
    return Marks(cells, "the word after an earlier occurrence")


def _offer_models(view: ViewState, staged: Staged, curves: Curves) -> None:
    """Buttons that open one of the trained models, its best head selected, the other one beside it."""
    for n_layers in reversed(LAYERS):
        name, other = staged.name(n_layers), staged.name(3 - n_layers)
        layer, head = curves.of[n_layers].best
        change = {"model": name, "revision": None, "layer": layer, "head": head, "query": None, "beside": (other,)}
        button(f"Open {name}", OPEN_HELP.format(name, other), partial(view.set, **change), key=f"open:{name}")


def _draw_unseen(view: ViewState, staged: Staged) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", key="unseen-controls"):
        chosen = number(view, "unseen", (0, MOST_UNSEEN), "Unseen sequence", UNSEEN_HELP, width=170)
    read: Unseen = analyse(unseen, staged, int(chosen))
    words = [visible(word).lstrip("·") for word in read.words]
    for n_layers in LAYERS:
        scale = Scale(f"loss of the {trainee_words.COUNT[n_layers]} model (nats)", 0.0, 5.0)
        values = np.concatenate([[np.nan], read.loss[n_layers]])
        st.html(token_strip(words, values, scale=scale))
    columns, marks = st.columns(2, gap="medium"), _marks(len(words) - 1, read.period)
    for n_layers, column in zip(LAYERS, columns):
        head = Head(*read.heads[n_layers])
        title = BEST.format(head, trainee_words.COUNT[n_layers]).capitalize()
        with column:
            figure = _stripe(read.pattern[n_layers], words[:-1], title, marks)
            parts.chart(figure, f"{title} on an unseen sequence", f"trainee:unseen:{n_layers}")
    parts.notice(trainee_words.unseen_notice(read))
