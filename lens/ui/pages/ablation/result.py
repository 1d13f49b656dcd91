"""The result of an ablation: guess first, the ways of removing side by side, what to notice, and the export."""

import streamlit as st
from plotly.graph_objects import Figure
from streamlit.delta_generator import DeltaGenerator

from lens.analysis.interventions import ablation_to_python, change_lines, outline, to_json
from lens.figures.effects import Mark, Named, Removal, effects
from lens.figures.fitted import narrow
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import call_key
from lens.ui.ending import end_page
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.models import source_of
from lens.ui.pages.ablation import words
from lens.ui.pages.ablation.request import Request, Result
from lens.ui.pages.ablation.tabs import N_TOP, prompt_of
from lens.ui.shared.wording import sentence
from lens.ui.view import ViewState
from lens.ui.widgets import button

GUESSES = "lens:guesses"  # what this visitor expected, by ablation


def guess_first(view: ViewState, model: HookedTransformer, request: Request) -> str:
    """The guess of this visitor about this ablation, "" where none is asked for; the page waits for one."""
    if not view["predict"]:
        return ""
    guesses = st.session_state.setdefault(GUESSES, {})
    key = call_key(outline, (model, request.experiment("other")), {})
    if key in guesses:
        return guesses[key]
    with st.container(border=True, key="predict-card"):
        st.markdown(
            f"**Predict first.** {request.cells.target.label} will be replaced by what it wrote in the control run. "
            f"What happens to “{request.task.title.lower()}”?"
        )
        with st.container(horizontal=True):
            for name, label in words.GUESSES.items():
                button(label, sentence(words.BOUNDS[name]), guesses.__setitem__, key, name, key=f"guess:{name}")
    parts.empty_state("The result is computed and shown once you have said what you expect.")
    end_page()


def figure_of(model: HookedTransformer, request: Request, result: Result) -> Figure:
    """All ways of removing side by side."""
    rows, n_alone, name = [], len(result.cells.alone), result.cells.target.label
    for replacement, way in result.ways.items():
        chosen, *others = (Named(target.label, float(value)) for target, value in zip(result.cells.targets, way.value))
        _, low, high = way.at(0)
        label = words.REPLACEMENTS[replacement]
        rows.append(Removal(label, chosen, low, high, others[:n_alone], others[n_alone:]))
    kept = ", attention patterns kept" if request.frozen else ""
    title = f"Without {name}: change of the {result.metric}{kept}"
    about = f"{model.name}, {request.task.title.lower()}"
    definition = f"{about}. Diamond: the chosen with 95% interval. {result.cells.note}."
    way = result.ways["other"]
    marks = [Mark(way.gap.mean, "as in the control run")] if way.share is not None else []
    return effects(rows, result.unit, title=title, definition=definition, marks=marks)


def draw_filling(place: DeltaGenerator, model: HookedTransformer, request: Request, result: Result) -> None:
    """The ways of removing that are computed so far."""
    with place:
        parts.chart(figure_of(model, request, result), "The ways of removing so far")


def show_result(
    view: ViewState, model: HookedTransformer, request: Request, result: Result, figure: Figure, guess: str
) -> None:
    """The figure, how the guess did, and what the figure says."""
    target = result.cells.target.label
    alt = f"Change of the {result.metric} by each way of removing {target}. {words.notice(result)}"
    left, right = st.columns([1.35, 1], gap="medium")
    with left:
        parts.chart(narrow(figure, 560), alt, key="ablation:effects")
    with right:
        if request.why:
            st.caption(request.why)
        if guess:
            st.info(words.verdict(guess, result.ways["other"]), icon=":material/psychology:")
        explain(view, model, explanation(request, result))


def explanation(request: Request, result: Result) -> Explanation:
    """What is said of the result."""
    sample = (request.task.description, result.cells.note, result.ways["other"].note)
    return Explanation(
        words.notice(result),
        words.MISREADING,
        asides=(
            ("Ways", words.ways_words(result)),
            ("Backup", words.backup_words(result)),
            ("Zero", words.ZERO if "zero" in result.ways else ""),
        ),
        measured=(("Sample", " ".join(map(sentence, sample))),),
        formula=words.FORMULA,
        where=words.WHERE,
    )


def draw_export(view: ViewState, model: HookedTransformer, request: Request, result: Result, figure: Figure) -> None:
    """The export panel; the Python needs nothing but the package."""
    experiment, seed, tab, target = request.experiment("other"), int(view["seed"]), view["more"], request.cells.target
    every_head = view["put"] if tab == "grid" else None
    code = ablation_to_python(source_of(view), experiment, target, view["revision"] or None, seed, every_head)
    if tab in ("tokens", "answers"):
        prompt = prompt_of(view, request, cut=tab == "answers")
        code += change_lines(prompt.experiment, target.cell, prompt.pair, N_TOP)
    rows = words.table(result)
    payload = {
        "removed": target.label,
        "task": request.task.description,
        "seed": seed,
        "numbers": rows.to_dict("records"),
        "together": result.joint and result.joint._asdict(),
        "shares": {name: way.share and way.share._asdict() for name, way in result.ways.items()},
        "gap": result.ways["other"].gap.verdict.reason,
        "notice": words.notice(result),
        "experiment": to_json(experiment),
    }
    export(view, Export("ablation", figure, rows, payload, code, reads_prompt=False, opens_model=False))
