"""The chain on Home, short: computed live for the head with the highest induction score, or the one selected."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from lens.analysis.instruments.registry import instrument
from lens.analysis.largest_head import largest_head
from lens.ui.explanation import Explanation, explain
from lens.ui.pages.home.start import BESIDE
from lens.ui.shared import heads, repeats
from lens.ui.shared import score_words as scores
from lens.ui.shared.chain.link import LINKS, Case, Finding, draw_outline, show
from lens.ui.shared.score_board import fill, on_repeats, take_away

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from streamlit.delta_generator import DeltaGenerator

    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState

NAME = "induction"


def show_first(
    view: "ViewState", model: "HookedTransformer", outline: "DeltaGenerator", places: "Sequence[DeltaGenerator]"
) -> "tuple[Case, dict[str, Finding], go.Figure]":
    """Score all heads, then show where one of them attends and how it scores; the figure is the grid of all heads."""
    left, right = places
    filling = right.empty()
    sample = repeats.sample(model, repeats.settings(view, model), partial(fill, filling))
    best = largest_head(sample.scores[NAME].score.mean)
    case = Case(view, model, heads.current(view, best), sample, full=False)
    attends, scored = LINKS[:BESIDE]
    with left:
        findings = {attends.name: show(attends, case)}
        heads.pin_button(view, case.head, "home:pin")
    draw_outline(outline, findings)
    with filling.container():
        findings[scored.name] = show(scored, case)
        heads.best_button(view, case.head, best, "Back to the strongest head,", "home:best")
    draw_outline(outline, findings)
    return case, findings, findings[scored.name].result


def show_later(
    case: Case, findings: dict[str, Finding], outline: "DeltaGenerator", places: "Sequence[DeltaGenerator]"
) -> None:
    """Fill the other links' places one after the other, and the outline with each."""
    for link, place in zip(LINKS[BESIDE:], places, strict=True):
        with place.container():
            findings[link.name] = show(link, case)
        draw_outline(outline, findings)


def conclude(case: Case, figure: "go.Figure") -> None:
    """What belongs to the numbers above: how sure they are, what not to conclude, which model, and how to take them."""
    board, said = on_repeats(case.sample), instrument(NAME)
    score = board.scores[NAME]
    explanation = Explanation(
        scores.notice(score),
        said.misreading,
        asides=(("Against chance", scores.threshold_words(score)),),
        formula=said.formula,
        where=score.kind.definition,
    )
    explain(case.view, case.model, explanation)
    take_away(case.view, board, NAME, figure)
