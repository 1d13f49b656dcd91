"""The page of one head: which head it is, and the chain in full."""

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from lens.analysis.instruments.registry import instrument
from lens.analysis.largest_head import largest_head
from lens.analysis.names import Head
from lens.figures.grid import grid
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.pages.head.export import python
from lens.ui.shared import copying_words, heads, known, repeats
from lens.ui.shared.chain import attends
from lens.ui.shared.chain.link import LINKS, STYLE, Case, Finding, draw_outline, heading, show
from lens.ui.shared.score_board import fill, measure
from lens.ui.widgets import number

if TYPE_CHECKING:
    import pandas as pd
    from streamlit.delta_generator import DeltaGenerator

    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState

A_ROW = 2  # links side by side
PICKER = "Zero-based. Nothing chosen and nothing pinned: the strongest induction head."
MISREADING = (
    "The links are separate claims. A head can attend to the right token and copy nothing, copy and never look, or do "
    "both while the model has another way to the same answer. Only an intervention shows that it matters, and only "
    "checkpoints show when it came."
)


class Above(NamedTuple):
    """The row above the links: which head, and what was found of it."""

    picker: "DeltaGenerator"
    outline: "DeltaGenerator"


def draw_row() -> Above:
    """Both places side by side; what a link found, as far as it fits: its whole words stand with the link."""
    st.html(STYLE)
    left, right = st.columns([1, 2], gap="medium")
    picker = left.container(horizontal=True, vertical_alignment="bottom", key="head-controls", gap="xsmall")
    with right.container(key="head-outline"):
        return Above(picker, st.empty())


def choose_head(view: "ViewState", model: "HookedTransformer", place: "DeltaGenerator") -> Case:
    """The head the page is about, and the scores that name it when none is chosen."""
    sample = _score(view, model)
    best = largest_head(sample.scores["induction"].score.mean)
    heads.go(view, heads.current(view, best))
    with place:
        head = Head(_picker(view, "layer", model.cfg.n_layers), _picker(view, "head", model.cfg.n_heads))
        known.draw_badge(view, head)
    return Case(view, model, head, sample, full=True)


def _score(view: "ViewState", model: "HookedTransformer") -> repeats.Sample:
    """The scores of all heads; while they are computed, where the head looks and how the scores fill."""
    chosen, ahead = repeats.settings(view, model), st.empty()
    if repeats.is_read(model, chosen):
        return repeats.sample(model, chosen)
    with ahead.container():
        left, right = st.columns(A_ROW, gap="medium")
        if view.current() is not None:
            with left:
                attends.draw_ahead(view, model, view.current())
        with right:
            filling = st.empty()
    sample = repeats.sample(model, chosen, partial(fill, filling))
    ahead.empty()
    return sample


def _picker(view: "ViewState", name: str, size: int) -> int:
    return int(number(view, name, (0, size - 1), name.capitalize(), PICKER, width=100))


def show_chain(case: Case, outline: "DeltaGenerator") -> dict[str, Finding]:
    """All links, two side by side; the outline above them fills as they are found."""
    findings: dict[str, Finding] = {}
    draw_outline(outline, findings)
    for first in range(0, len(LINKS), A_ROW):
        for column, link in zip(st.columns(A_ROW, gap="medium"), LINKS[first : first + A_ROW]):
            with column.container(border=True, height="stretch"):
                st.html(heading(link))
                findings[link.name] = show(link, case)
            draw_outline(outline, findings)
    return findings


def summary(head: "Head", findings: dict[str, Finding]) -> str:
    """What the links say together."""
    said = [f"{name}: {finding.words}" for name, finding in findings.items() if finding.state != "later"]
    later = [name for name, finding in findings.items() if finding.state == "later"]
    asks = [f"{'when' if name == 'was born' else 'whether'} it {name}" for name in later]
    text = f"Head {heads.label(head)}. {'; '.join(said)}."
    return f"{text} Not shown: {' and '.join(asks)}." if asks else text


def conclude(case: Case, findings: dict[str, Finding], rows: "pd.DataFrame") -> None:
    """What belongs to all links together, their formulas, and the export panel with the ``rows`` of the table."""
    head, measured = case.head, case.sample.scores
    explanation = Explanation(
        summary(head, findings),
        MISREADING,
        formula=rf"{instrument('induction').formula} \\[1em] {copying_words.FORMULA}",
        where=f"h is head {head}. {copying_words.WHERE}",
    )
    explain(case.view, case.model, explanation)
    links = {name: {"words": finding.words, "numbers": finding.numbers} for name, finding in findings.items()}
    payload = {"head": head, "links": links, "source": measured.source, "seed": measured.seed}
    payload["instruments"] = rows.to_dict("records")
    title = f"Induction: head {head} among all"
    figure = grid(measure(measured["induction"]), pinned=case.view["pins"], current=head, title=title)
    name = f"head-{head.layer}-{head.head}"
    export(case.view, Export(name, figure, rows, payload, python(case, findings), reads_prompt=False))
