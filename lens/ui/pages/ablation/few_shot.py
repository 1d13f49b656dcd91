"""Few-shot tasks: which the model does, by number of shots; which heads carry one; what is left without them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import streamlit as st
from plotly.graph_objects import Figure
from streamlit.delta_generator import DeltaGenerator

from lens.analysis.few_shot.by_shots import ByShots, read_task
from lens.analysis.few_shot.function_vectors import FunctionVectors, function_vectors, vector_map, vector_null
from lens.analysis.few_shot.prompts import FewShot, few_shot, few_shot_or_reason
from lens.analysis.few_shot.removal import KINDS, RemovalCurves, removal_curves, removal_sets
from lens.analysis.few_shot.words import SHOTS, TASKS
from lens.analysis.interventions import Effect, Experiment, Sweep, effect
from lens.analysis.interventions.work import outline_of
from lens.figures.fitted import narrow, small_grid
from lens.figures.grid import grid
from lens.figures.lines import Axis, Line, Reference, lines
from lens.figures.measure import Measure
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse, call_key
from lens.ui.estimate import forward_seconds, operation_seconds
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.models import prepend_bos
from lens.ui.pages.ablation import few_shot_words as words
from lens.ui.pages.ablation.request import Request, Result
from lens.ui.shared import experiments, heads, repeats
from lens.ui.shared.computing import Cells
from lens.ui.shared.task_fields import AUTO
from lens.ui.shared.wording import sentence
from lens.ui.store import to_numpy
from lens.ui.view import ViewState
from lens.ui.waiting import started
from lens.ui.widgets import bind

WIDTH = 900  # pixels
ABOUT = (
    "Tasks that are learned from examples in the prompt: which of them the model does, which heads carry one, and what "
    "is left of it without them."
)
TASK_HELP = (
    "What the examples show: “Q: France”, “A: Paris”, an empty line, and so on; then one more question. Until one is "
    "chosen, the first task that the model does."
)
PROMPT_HELP = "Q: x, A: y and an empty line for each example, then Q: x and A: for the word that is asked."
SHOTS_MISREADING = (
    "Right answers with shuffled labels do not mean that the model ignores the examples: it may know the answer and "
    "take from them only what kind of word to say. The task is said to be done only if shuffled labels cost something."
)
MAP_MISREADING = (
    "A head with a high score holds something that makes the answer likelier wherever it is put; that it does so by "
    "itself in the right prompts needs the curves below. And a low score does not clear a head: several may have to "
    "be moved together."
)
CURVE_MISREADING = (
    "A set can be needed because it copies or keeps the format, not because it holds the task; and heads that score "
    "high for both are in neither set here, so the two curves do not add up to all of it."
)
SCORE = (
    "Rise of the answer's probability when the head's mean output at the last token of right prompts (over the other "
    "prompts) is put into prompts of shuffled labels."
)
SCORE_FORMULA = (
    r"S_h = \frac{1}{N} \sum_i \Big( p\big(y_i \mid \tilde x_i;\ z_h \leftarrow \bar z_h^{(-i)}\big) - "
    r"p\big(y_i \mid \tilde x_i\big) \Big), \qquad \bar z_h^{(-i)} = \frac{1}{N-1} \sum_{j \ne i} z_h(x_j)"
)
SCORE_WHERE = (
    "x are prompts of eight examples with right labels, x̃ the same with shuffled ones, y the answer, z_h the output of "
    "a head before W_O at the last token. The null has z̄ of the shuffled prompts. Source: Todd et al. 2024."
)
REMOVED = (
    "A removed head writes at every token its mean over prompts of shuffled labels, position by position. Random heads "
    "are of the same layers, or of the nearest where too few are left. Heads among the first of both scores are in "
    "neither set. The scores come from other prompts than the accuracy. Source: Yin and Steinhardt 2025."
)


def show_few_shot(view: ViewState, model: HookedTransformer, request: Request, result: Result) -> None:
    """The tasks, then for one that the model does its function-vector map and its removal curves."""
    st.caption(ABOUT)
    made = {name: analyse(few_shot_or_reason, model, name, view["seed"], prepend_bos(view)) for name in TASKS}
    absent = {name: one for name, one in made.items() if isinstance(one, str)}
    read = _read_tasks(view, model, {name: one for name, one in made.items() if name not in absent})
    if read is None:
        return
    name = _choose_task(view, read)
    if name is None:
        parts.table(words.task_rows(read, absent), "Every few-shot task, and why it is not applicable")
        parts.aside("Which tasks?", words.tasks_words(read, absent, model.name))
        return
    if name in absent:
        parts.not_computed(f"{TASKS[name].lower()} is not applicable: {absent[name]}. Choose another task.")
        return
    _draw_shots(view, model, read, absent, name)
    if not read[name].ability.can:
        parts.not_computed(
            f"{model.name} does not do this task: heads that carry it are looked for only where it does. Choose "
            "another task."
        )
        return
    found = _draw_map(view, model, made[name])
    if found is not None:
        _draw_removal(view, model, name, found, read[name])


def _read_tasks(view: ViewState, model: HookedTransformer, made: Mapping[str, FewShot]) -> dict[str, ByShots] | None:
    """All tasks that the tokenizer has words for, filling while they run; None while any waits for a click."""
    place = st.empty()
    work = Cells(read_task, tuple(made), (model, view["seed"], prepend_bos(view)))
    n_tokens = sum(2 * len(side) for one in made.values() for side in one.pairs.clean)
    draw = partial(_draw_so_far, place, _all_figure, "Accuracy of the tasks computed so far")
    done, missing = work.sweep(draw, forward_seconds(model, n_tokens, unembed=False))
    place.empty()
    return None if missing else done


def _draw_so_far(place: DeltaGenerator, figure: Callable[[Any], Figure], alt: str, done: Any) -> None:
    """A figure of what is ``done`` while the rest is computed."""
    with place:
        parts.chart(figure(done), alt)


def _all_figure(done: Mapping[str, ByShots]) -> Figure:
    curves = [Line(TASKS[name], np.asarray(one.accuracy.mean)[0], x=np.asarray(SHOTS)) for name, one in done.items()]
    axis = Axis("examples before the question", "share of answers that are right", y_range=(0.0, 1.02))
    return lines(curves, axis, title="Accuracy by number of shots", definition="The answer leads all other tokens.")


def _choose_task(view: ViewState, read: Mapping[str, ByShots]) -> str | None:
    """The task that is shown: the chosen one, else the first that the model does; None where there is none at all."""
    first = next((name for name, one in read.items() if one.ability.can), next(iter(read), None))
    chosen = first if view["examples"] == AUTO else view["examples"]
    if chosen is None:
        return None
    seed = bind(view, "examples", chosen)
    done = {name for name, one in read.items() if one.ability.can}
    names = {name: title if name in done else f"{title} (not done)" for name, title in TASKS.items()}
    options = tuple(TASKS)
    return st.selectbox(
        "Few-shot task", options, options.index(chosen), help=TASK_HELP, format_func=names.get, width=230, **seed
    )


def _draw_shots(
    view: ViewState, model: HookedTransformer, read: Mapping[str, ByShots], absent: Mapping[str, str], name: str
) -> None:
    one = read[name]
    figure, text = narrow(shots_figure(one, TASKS[name]), WIDTH), words.shots_words(one)
    parts.chart(figure, f"{figure.layout.title.text}. {text}", key="ablation:shots")
    asides = (("Can it do this?", one.ability.sentence), ("All tasks", words.tasks_words(read, absent, model.name)))
    sample = f"{sentence(one.task.description)} {PROMPT_HELP} {sentence(one.accuracy.note)} {sentence(one.prob.note)}"
    explain(view, model, Explanation(text, SHOTS_MISREADING, asides, (("Sample", sample),)))
    with st.expander("Every task, and one prompt"):
        parts.table(words.task_rows(read, absent), "Every few-shot task: accuracy by number of shots, and the verdict")
        st.code(model.to_string(list(one.task.pairs.clean[0])), language=None)
    payload = {"task": name, "seed": int(view["seed"]), "n": one.accuracy.n, "notice": text, "format": PROMPT_HELP}
    payload |= {"ability": one.ability.sentence, "shots": list(one.shots), "all tasks": asides[1][1]}
    payload |= {"numbers": words.shot_rows(one).to_dict("records")}
    code = f"""
from lens.analysis.few_shot.by_shots import by_shots

{_task_code(view, name)}
found = by_shots(model, task, seed={view["seed"]})
print(found.ability.sentence)
print("accuracy:", found.accuracy.mean.tolist())  # right labels, shuffled labels; by number of shots
print("probability:", found.prob.mean.tolist())
"""
    export(view, Export("few-shot-accuracy", figure, partial(words.shot_rows, one), payload, code, reads_prompt=False))


def shots_figure(one: ByShots, title: str) -> Figure:
    """Accuracy and probability of the answer, with right and with shuffled labels, by number of shots."""
    curves = []
    for what, found in (("accuracy", one.accuracy), ("probability of the answer", one.prob)):
        for side, labels in enumerate(("", ", shuffled labels")):
            ends = [None if end is None else np.asarray(end)[side] for end in (found.low, found.high)]
            dash = "dot" if side else None
            curves.append(Line(f"{what}{labels}", np.asarray(found.mean)[side], *ends, np.asarray(one.shots), dash))
    axis = Axis("examples before the question", "share, probability", y_range=(0.0, 1.02))
    definition = "Accuracy: the answer leads all other tokens after “A:”. Bands: 95% intervals over the words asked."
    return lines(curves, axis, title=f"{title} from examples", definition=definition)


def _task_code(view: ViewState, name: str) -> str:
    bos = prepend_bos(view)
    return f"""from lens.analysis.few_shot.prompts import few_shot

task = few_shot(model, {name!r}, seed={view["seed"]}, prepend_bos={bos})"""


def _vector_code(view: ViewState, name: str) -> str:
    return f"""
from lens.analysis.few_shot.function_vectors import function_vectors, vector_map, vector_null
from lens.analysis.interventions import run_sweep

{_task_code(view, name)}
sweeps = [run_sweep(model, one(task.pairs)) for one in (vector_map, vector_null)]
found = function_vectors(*sweeps, seed={view["seed"]})
"""


def _may_start(model: HookedTransformer, works: list[Experiment], said: str) -> bool:
    """Whether this work is short, asked for or done; else its button is drawn, with the time it takes."""
    outlines = [analyse(outline_of, model, one) for one in works]
    every_logit = 2 * model.cfg.d_model * model.cfg.d_vocab * sum(one.n_computed for one in outlines)
    seconds = sum(one.seconds for one in outlines) + operation_seconds(model, every_logit)
    done = all(experiments.is_computed(model, one) for one in works)
    return started(f"few-shot-{call_key(outline_of, (model, works[-1]), {})}", seconds, said, done)


def _draw_map(view: ViewState, model: HookedTransformer, task: FewShot) -> FunctionVectors | None:
    """The function-vector map of a task, filling while it runs; None while it waits for a click."""
    works = [vector_map(task.pairs), vector_null(task.pairs)]
    n_heads = model.cfg.n_layers * model.cfg.n_heads
    if not _may_start(model, works, f"Which of {n_heads} heads carry it: the function-vector map is not computed yet."):
        return None
    place, seed = st.empty(), view["seed"]

    def figure_of(sweep: Sweep) -> Figure:
        return _map_figure(view, model, task, to_numpy(effect(sweep, seed)), None)

    draw = partial(_draw_so_far, place, figure_of, "The heads computed so far")
    runs = [experiments.run(model, one, show, agreed=True) for one, show in zip(works, (draw, None))]
    if not all(one.complete for one in runs):
        return None
    found = analyse(function_vectors, *(one.sweep for one in runs), seed)
    figure, text = _map_figure(view, model, task, found.score, found), words.vectors_words(found)
    with place.container():
        if view.selected:
            heads.pin_button(view, view.selected, "ablation:vector-pin")
        parts.head_grid(figure, view, "ablation:vectors", f"{figure.layout.title.text}. {text}")
    measured = (
        ("Sample", f"{sentence(task.description)} {sentence(found.score.note)}"),
        ("Null", sentence(found.note)),
    )
    explain(view, model, Explanation(text, MAP_MISREADING, (), measured, SCORE_FORMULA, SCORE_WHERE))
    payload = {"task": task.name, "seed": int(seed), "n": found.score.n, "notice": text, "note": found.note}
    payload |= {"threshold": found.threshold, "numbers": words.vector_rows(found).to_dict("records")}
    code = f"""{_vector_code(view, task.name)}
print("scores:", found.score.value.tolist())  # [layer, head]
print("with means of shuffled labels:", found.null.value.tolist())
print(found.note)
print("carry the task:", None if found.found is None else found.found.nonzero().tolist())
"""
    rows = partial(words.vector_rows, found)
    export(view, Export("few-shot-heads", figure, rows, payload, code, reads_prompt=False))
    return found


def _map_figure(
    view: ViewState, model: HookedTransformer, task: FewShot, score: Effect, found: FunctionVectors | None
) -> Figure:
    ends = (score.value, "probability", score.low, score.high)
    control = None if found is None else found.null.value
    muted = None if found is None or found.found is None else ~np.asarray(found.found)
    measure = Measure("rise", SCORE, *ends, signed=True, control=control, within=muted)
    title = f"{TASKS[task.name]}: which heads of {model.name} carry the task"
    return small_grid(grid(measure, pinned=view["pins"], current=view.selected, title=title), WIDTH)


def _draw_removal(view: ViewState, model: HookedTransformer, name: str, found: FunctionVectors, read: ByShots) -> None:
    """Accuracy without the heads of either score, on prompts of another seed."""
    settings = repeats.settings(view, model)
    task = analyse(few_shot, model, name, view["seed"] + 1, prepend_bos(view))
    place = st.empty()
    induction = repeats.sample(model, settings).scores["induction"].score.mean
    sets = removal_sets(model.cfg, task.pairs, found.score.value, induction, view["seed"])
    said = f"What is left without them: {len(sets.sets)} sets of heads are not removed yet."
    if not _may_start(model, [sets.experiment], said):
        return

    def figure_of(sweep: Sweep) -> Figure:
        return _removal_figure(removal_curves(sets, sweep), read, name)

    draw = partial(_draw_so_far, place, figure_of, "The sets removed so far")
    sweep, complete, _ = experiments.run(model, sets.experiment, draw, agreed=True)
    if not complete:
        return
    curves = analyse(removal_curves, sets, sweep)
    figure, text = narrow(_removal_figure(curves, read, name), WIDTH), words.removal_words(curves)
    with place.container():
        parts.chart(figure, f"{figure.layout.title.text}. {text}", key="ablation:removal")
    asides = (("Sets", words.sets_words(sets)),)
    sample = (
        f"{sentence(task.description)} {sentence(curves.curves[0].accuracy.note)} Induction: {repeats.code(settings)}."
    )
    measured = (("Sample", sample), ("Removed", REMOVED))
    explain(view, model, Explanation(text, CURVE_MISREADING, asides, measured))
    payload = {"task": name, "seed": int(view["seed"]), "n": curves.curves[0].accuracy.n, "notice": text}
    payload |= {"sets": words.sets_words(sets), "numbers": words.removal_rows(curves).to_dict("records")}
    code = f"""{_vector_code(view, name)}
from lens.analysis.few_shot.removal import removal_curves, removal_sets
from lens.analysis.head_scores import head_scores
from lens.analysis.random_tokens import repeated_tokens

induction = head_scores(model, {repeats.code(settings)}).scores["induction"].score.mean
others = few_shot(model, {name!r}, seed={view["seed"] + 1}, prepend_bos={prepend_bos(view)})
sets = removal_sets(model.cfg, others.pairs, found.score.value, induction, seed={view["seed"]})
curves = removal_curves(sets, run_sweep(model, sets.experiment))
for curve in curves.curves:
    print(curve.kind, "random" if curve.random else "highest", curve.accuracy.mean.tolist(), "without", curves.ks)
print(curves.beside, curves.verdict.reason)
"""
    rows = partial(words.removal_rows, curves)
    export(view, Export("few-shot-removal", figure, rows, payload, code, reads_prompt=False))


def _removal_figure(found: RemovalCurves, read: ByShots, name: str) -> Figure:
    curves = []
    for one in found.curves:
        title = f"random, layers of {KINDS[one.kind]}" if one.random else KINDS[one.kind]
        ends = [None if end is None else np.asarray(end) for end in (one.accuracy.low, one.accuracy.high)]
        curves.append(
            Line(title, np.asarray(one.accuracy.mean), *ends, np.asarray(found.ks), "dot" if one.random else None)
        )
    axis = Axis("heads replaced by their mean", "share of answers that are right", y_range=(0.0, 1.02))
    shuffled = Reference(float(np.asarray(read.accuracy.mean)[1, -1]), "shuffled labels")
    definition = "Accuracy of prompts of eight examples without the k heads of highest score. Bands: 95% intervals."
    title = f"{TASKS[name]} without the heads of either score"
    return lines(curves, axis, title=title, definition=definition, references=[shuffled])
