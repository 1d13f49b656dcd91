"""First link: where the head looks, on repeated random tokens, and in full on the prompt as well."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st

from lens.analysis.habits import strongest_pair
from lens.analysis.largest_head import largest_head
from lens.analysis.score_summary import standing
from lens.analysis.streaming import uniform_pattern
from lens.figures.cells import Marks
from lens.figures.fitted import small_matrix
from lens.figures.matrix import View, matrix
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.labels import short_labels, token_labels
from lens.ui.models import Prompt, read_prompt
from lens.ui.shared import heads, repeats, score_words
from lens.ui.shared.chain.link import Case, Finding, explain_link
from lens.ui.shared.patterns import attention, stripe
from lens.ui.shared.reads import choose_reads

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lens.analysis.names import Head
    from lens.analysis.random_tokens import RepeatedTokens
    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState

SCORE = "induction"
SIDE, WIDTH = 330, 520  # pixels of the matrix, and of its column in full
LONGEST = 64  # tokens of a prompt that are drawn


class OnRepeat(NamedTuple):
    """The first of the repeated sequences. Both numbers are means over queries, 0 … 1."""

    pattern: np.ndarray  # [query, key]
    share: float  # from the second copy to the token that came next the first time
    rest: float  # from the first copy to the first token


def find(case: Case) -> Finding:
    """How much of its attention goes where an induction head looks."""
    sample = case.sample
    n, bos = sample.settings.n, sample.repeated.bos
    pattern = attention(case.model, sample.repeated.tokens[0], case.head)
    share = float(np.mean([pattern[cell] for cell in stripe(SCORE, n, bos).cells]))
    rest = float(pattern[1 : bos + n, 0].mean())
    state = score_words.STATES[standing(sample.scores[SCORE], case.head).above]
    return Finding(f"{share:.0%} on the repeat", state, {"on the repeat": share}, OnRepeat(pattern, share, rest))


def draw(case: Case, finding: Finding) -> Finding:
    """The matrix on the repeat and its sentence; in full, where the page reads it, that on the prompt with both."""
    if case.full and case.view["reads"] == "prompt":
        finding = _draw_prompt(case, finding)
    else:
        _draw_repeat(case, finding)
    if case.full:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            choose_reads(case.view)
            heads.pin_button(case.view, case.head, "head:pin")
    return finding


def _draw_repeat(case: Case, finding: Finding) -> None:
    """The matrix on the repeat and its sentence."""
    title = f"Head {case.head} attends: {case.sample.settings.n} random tokens, twice"
    title, key = (title, "head:matrix") if case.full else (f"1 · {title}", "home:matrix")
    figure = repeat_figure(case.model, case.sample.repeated, finding.result.pattern, title)
    parts.chart(figure, title, key=key)
    explain_link(case, repeat_words(case, finding.result))


def repeat_figure(
    model: "HookedTransformer", repeated: "RepeatedTokens", pattern: np.ndarray, title: str
) -> "go.Figure":
    """Where a head looks on the first repeated sequence, and where an induction head would."""
    cells, meaning = stripe(SCORE, repeated.n, repeated.bos)
    labels = short_labels(token_labels(model, repeated.tokens[0]))
    return small_matrix(matrix(pattern, labels, title=title, marks=Marks(cells, meaning)), SIDE, None)


def repeat_words(case: Case, repeat: OnRepeat) -> str:
    """What to see in the matrix on the repeat, from its numbers."""
    n, score = case.sample.settings.n, case.sample.scores[SCORE]
    above = standing(score, case.head).above
    text = (
        f"Head {case.head} reads {n} random tokens, then the same {n} again. In the second copy it gives "
        f"{repeat.share:.0%} of its attention to the token that came next the first time"
    )
    text += "" if case.full else " (orange)"  # as the cells of the matrix are outlined
    text += f"; in the first copy, where there is nothing to find, {repeat.rest:.0%} goes to the first token."
    if above is None:
        return f"Whether any head attends this way more than chance allows cannot be said from so few sequences. {text}"
    if not score.above.any():
        best = "; this is the best" if case.head == largest_head(score.score.mean) else ""
        return f"No head attends this way more than chance allows{best}. {text}"
    return text if above else f"It cannot be told from chance that this head attends this way. {text}"


def _draw_prompt(case: Case, finding: Finding) -> Finding:
    """The matrix on the prompt, with the first token hidden, and where the attention goes there and on the repeat."""
    prompt = _read(case)
    if isinstance(prompt, str):
        explain_link(case, repeat_words(case, finding.result))
        return finding._replace(words=f"{finding.words}; {prompt}")
    pattern = attention(case.model, prompt.tokens[0].cpu().numpy(), case.head)
    text, there = prompt_words(pattern, prompt.labels, str(case.head))
    figure = prompt_figure(prompt, pattern, case.head)
    parts.chart(figure, f"Attention of head {case.head}. {text}", key="head:matrix")
    explain_link(case, text, repeat_words(case, finding.result))
    words = f"{finding.words}; on the prompt {there.words}"
    return finding._replace(words=words, numbers=finding.numbers | there.numbers)


def prompt_figure(prompt: Prompt, pattern: np.ndarray, head: "Head") -> "go.Figure":
    """Where a head looks on the prompt, the first token hidden."""
    title = f"Head {head} on your prompt"
    figure = matrix(pattern, short_labels(prompt.labels), title=title, view=View(hide_first=True))
    return small_matrix(figure, SIDE, WIDTH)


def draw_ahead(view: "ViewState", model: "HookedTransformer", head: "Head") -> None:
    """The matrix alone, where there is one: the first that is seen of a head that is not scored yet."""
    if view["reads"] == "repeat":
        repeated = repeats.tokens(model, repeats.settings(view, model))
        title = f"Head {head} attends: {repeated.n} random tokens, twice"
        figure = repeat_figure(model, repeated, attention(model, repeated.tokens[0], head), title)
        parts.chart(figure, f"{title}. Its scores come next.")
        return
    if model.tokenizer is None or not view["prompt"].strip():
        return
    prompt = read_prompt(view, model, LONGEST)
    pattern = attention(model, prompt.tokens[0].cpu().numpy(), head)
    parts.chart(prompt_figure(prompt, pattern, head), f"Attention of head {head}. Its scores come next.")


def _read(case: Case) -> Prompt | str:
    """The prompt, or in a few words why there is none to draw, which the visitor is told."""
    if case.model.tokenizer is None:
        parts.not_computed("this model has no tokenizer, so it reads no prompt.")
        return "no tokenizer, no prompt"
    if not case.view["prompt"].strip():
        st.info("The prompt is empty. Type a text above to see where this head looks.", icon=":material/edit:")
        return "no prompt"
    prompt = read_prompt(case.view, case.model, LONGEST)
    if len(prompt.labels) == 1:
        text = "The prompt is one token, which can only look at itself. Type a longer text."
        st.info(text, icon=":material/edit:")
        return "one token only"
    return prompt


def prompt_words(pattern: np.ndarray, labels: list[str], name: str) -> tuple[str, Finding]:
    """Where the attention goes on a prompt, the first token apart."""
    pair, n = strongest_pair(pattern), len(pattern) - 1
    first, uniform = (float(np.mean(rows[1:, 0])) for rows in (pattern, uniform_pattern(n + 1).numpy()))
    text = (
        f"Over {n} queries head {name} gives {number(first)} of its attention to the first token ({number(uniform)} if "
        f"it looked at all alike). "
    )
    if pair is None:
        return f"{text}It looks nowhere else.", Finding(
            f"{number(first)} to the first token", "", {"first token": first}
        )
    text += (
        f"Its strongest look elsewhere is from {labels[pair.query]} to {labels[pair.key]}, positions "
        f"{pair.query} and {pair.key} of the prompt: {number(pair.value)}."
    )
    words = f"{number(first)} to the first token, else most to {labels[pair.key]}"
    return text, Finding(words, "", {"first token": first})
