"""The result of an ablation: guess first, the ways of removing side by side, what to notice, and the export."""

from typing import Any

import streamlit as st

from lens.ui import parts
from lens.ui.calls import call_key
from lens.ui.ending import end_page
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.models import source_of
from lens.ui.pages.ablation import words
from lens.ui.pages.ablation.read import Asked, Found
from lens.ui.view import ViewState
from lens.ui.widgets import button

GUESSED = "lens:guesses"  # what this visitor expected, by ablation


def guess_first(view: ViewState, model: Any, asked: Asked) -> str:
    """The guess of this visitor about this ablation, "" where none is asked for; the page waits for one."""
    if not view["predict"]:
        return ""
    from lens.analysis.interventions import outline

    guesses = st.session_state.setdefault(GUESSED, {})
    key = call_key(outline, (model, asked.experiment("other")), {})
    if key in guesses:
        return guesses[key]
    with st.container(border=True, key="predict-card"):
        st.markdown(
            f"**Predict first.** {asked.cells.target.label} will be replaced by what it wrote in the control run. "
            f"What happens to “{asked.task.title.lower()}”?"
        )
        row = st.container(horizontal=True)
        with row:
            for name, label in words.GUESSES.items():
                button(label, words.BOUNDS[name].capitalize() + ".", _guess, key, name, key=f"guess:{name}")
    parts.empty_state("The result is computed and shown once you have said what you expect.")
    end_page()
    return ""


def _guess(key: str, name: str) -> None:
    st.session_state[GUESSED][key] = name


def figure_of(asked: Asked, found: Found, model: Any) -> Any:
    """All ways of removing side by side."""
    from lens.figures.effects import Mark, Named, Removal, effects

    cells, rows = found.cells, []
    for put, one in found.removed.items():
        named = [Named(t.label, float(v)) for t, v in zip((cells.target, *cells.alone, *cells.controls), one.value)]
        first = found.first_control
        _, low, high = one.at(0)
        rows.append(Removal(words.PUTS[put], named[0], low, high, named[1:first], named[first:]))
    kept = ", attention patterns kept" if asked.frozen else ""
    title = f"Without {cells.target.label}: change of the {found.metric}{kept}"
    definition = f"{model.name}, {asked.task.title.lower()}. Diamond: the chosen with 95% interval. {cells.note}."
    one = found.removed["other"]
    marks = [Mark(one.gap.mean, "as in the control run")] if one.share is not None else []
    return effects(rows, found.unit, title=title, definition=definition, marks=marks)


def draw_filling(place: Any, asked: Asked, found: Found, model: Any) -> None:
    """The ways of removing that are computed so far."""
    with place:
        parts.chart(figure_of(asked, found, model), "The ways of removing so far")


def show_result(view: ViewState, model: Any, asked: Asked, found: Found, figure: Any, guess: str) -> None:
    """The figure, how the guess did, and what the figure says."""
    from lens.figures.fitted import narrow

    alt = f"Change of the {found.metric} by each way of removing {found.cells.target.label}. {words.notice(found)}"
    left, right = st.columns([1.35, 1], gap="medium")
    with left:
        parts.chart(narrow(figure, 560), alt, key="ablation:effects")
    with right:
        if asked.why:
            st.caption(asked.why)
        if guess:
            st.info(words.verdict(guess, found.removed["other"]), icon=":material/psychology:")
        explain(view, model, explanation(asked, found))


def explanation(asked: Asked, found: Found) -> Explanation:
    """What is said of the result."""
    sample = (asked.task.description, found.cells.note, found.removed["other"].note)
    return Explanation(
        words.notice(found),
        words.MISREADING,
        asides=(
            ("Ways", words.ways_words(found)),
            ("Backup", words.backup_words(found)),
            ("Zero", words.ZERO if "zero" in found.removed else ""),
        ),
        measured=(("Sample", " ".join(f"{one[:1].upper()}{one[1:]}." for one in sample)),),
        formula=words.FORMULA,
        where=words.WHERE,
    )


def take_away(view: ViewState, model: Any, asked: Asked, found: Found, figure: Any) -> None:
    """The export panel; the Python needs nothing but the package."""
    from lens.analysis.interventions import ablation_to_python, change_lines, to_json
    from lens.ui.pages.ablation.tabs import TOP, looked_at

    experiment, seed, more = asked.experiment("other"), int(view["seed"]), view["more"]
    target = asked.cells.target
    every_head = view["put"] if more == "grid" else None
    code = ablation_to_python(source_of(view), experiment, target, view["revision"] or None, seed, every_head)
    if more in ("tokens", "answers"):
        one, index = looked_at(view, asked, more == "answers")
        code += change_lines(one, target.cell, index, TOP)
    rows = words.table(found)
    payload = {
        "removed": target.label,
        "task": asked.task.description,
        "seed": seed,
        "numbers": rows.to_dict("records"),
        "together": None if found.joint is None else found.joint._asdict(),
        "shares": {put: one.share and one.share._asdict() for put, one in found.removed.items()},
        "gap": found.removed["other"].gap.verdict.reason,
        "notice": words.notice(found),
        "experiment": to_json(experiment),
    }
    export(view, Export("ablation", figure, rows, payload, code, reads_prompt=False, opens_model=False))
