"""Second link: how the head scores on repeated random tokens, with its control, its rank, and chance."""

from typing import TYPE_CHECKING

import streamlit as st

from lens.analysis.largest_head import largest_head
from lens.analysis.score_summary import Standing, standing, summary
from lens.figures.fitted import narrow, small_grid
from lens.figures.grid import grid
from lens.figures.ranked import ranked
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.shared import heads, score_words
from lens.ui.shared.chain.link import Case, Finding, explain_link
from lens.ui.shared.score_board import measure
from lens.ui.shared.wording import sentence

if TYPE_CHECKING:
    from lens.analysis.score_results import HeadScore

SCORE = "induction"
WIDTH = 520  # pixels of the column, in full


def find(case: Case) -> Finding:
    """Its induction score with its rank among all heads."""
    score = case.sample.scores[SCORE]
    facts = standing(score, case.head)
    chance = ", within chance" if facts.above is False else ""
    words = f"{number(facts.value)}, rank {facts.rank} of {facts.total}{chance}"
    numbers = {"induction": facts.value, "induction rank": facts.rank, "threshold": score.threshold}
    return Finding(words, score_words.STATES[facts.above], numbers, facts)


def draw(case: Case, finding: Finding) -> Finding:
    """Short: the grid of all heads and the numbers of this one. In full: its rank first, and what exceeds chance."""
    score = case.sample.scores[SCORE]
    if case.full:
        _draw_rank(case, finding)
        _draw_numbers(score, finding.result)
        st.markdown(score_sentence(case, finding.result))
        heads.best_button(
            case.view, case.head, largest_head(score.score.mean), "Strongest induction head:", "head:best"
        )
        _draw_verdict(case)
        return finding._replace(words=f"{SCORE} {finding.words}")
    title = "2 · It scores: induction, every head"
    figure = grid(measure(score), pinned=case.view["pins"], current=case.head, title=title)
    parts.head_grid(small_grid(figure, None), case.view, key="home:grid", alt=score_words.notice(score))
    _draw_numbers(score, finding.result)
    explain_link(case, score_sentence(case, finding.result))
    return finding._replace(result=figure)


def score_sentence(case: Case, facts: Standing) -> str:
    """What the score of the head is worth."""
    score = case.sample.scores[SCORE]
    text = f"Over {case.sample.settings.seqs} such sequences, head {case.head} scores {number(facts.value)}"
    text += f"{score_words.interval(facts)}; where other tokens follow, {number(facts.control)}. "
    if not score_words.has_verdict(score):
        return f"{text}{score_words.no_verdict(score)}"
    above, threshold = summary(score).n_above, number(score.threshold)
    if not above:
        return f"{text}None of the {facts.total} heads exceeds {threshold}, what the best of them reaches by chance."
    text += f"{above} of {facts.total} heads exceed {threshold}, what the best of all heads reaches by chance. "
    best = largest_head(score.score.mean)
    return text + ("It is the strongest." if case.head == best else f"The strongest is {best}.")


def _draw_numbers(score: "HeadScore", facts: Standing) -> None:
    unit, null = score.kind.unit, f"{number(score.uniform)} for a head that looks at all keys alike"
    threshold = "none" if score.threshold is None else number(score.threshold)
    metrics = (
        ("Score", number(facts.value), parts.metric_help(score.kind.definition, unit, null)),
        ("95% interval", score_words.interval(facts).strip() or "none", score.score.note),
        ("Control", number(facts.control), score.kind.null),
        ("Threshold", threshold, score_words.threshold_words(score)),
        ("Rank", f"{facts.rank} of {facts.total}", "1 is the largest score of all heads."),
    )
    with st.container(horizontal=True, key="home-facts"):
        for label, value, help in metrics:
            st.metric(label, value, help=help, width="content")


def _draw_rank(case: Case, finding: Finding) -> None:
    """Where the head stands among all, by its induction score; a click selects another."""
    title = f"Induction: head {case.head} among all"
    figure = ranked(measure(case.sample.scores[SCORE]), case.head, title=title)
    alt = f"{title}, from the largest score down: {finding.words}"
    parts.head_grid(narrow(figure, WIDTH), case.view, key="head:rank", alt=alt)


def _draw_verdict(case: Case) -> None:
    """On what all scores were measured, and which of them are above chance."""
    scores = case.sample.scores
    st.caption(f"{scores.source}. {sentence(scores[SCORE].score.note)}")
    explain_link(case, verdict_words(case))


def verdict_words(case: Case) -> str:
    """Which of the tested scores are above chance, or why that cannot be said."""
    score = case.sample.scores[SCORE]
    if not score_words.has_verdict(score):
        return f"Whether head {case.head} scores above chance cannot be said. {score_words.no_verdict(score)}"
    tested = [each for each in case.sample.scores.scores.values() if each.kind.tested]
    above = [score_words.title(each).lower() for each in tested if standing(each, case.head).above]
    verdict = f"above chance: {', '.join(above)}" if above else "within chance on every tested score"
    return f"Of the tested scores, head {case.head} is {verdict}."
