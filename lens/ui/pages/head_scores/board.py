"""The Head scores page: which instrument, measured on what, and the grid of all heads."""

from dataclasses import replace
from functools import partial

import plotly.graph_objects as go
import torch
from streamlit.delta_generator import DeltaGenerator

from lens.analysis.instruments import sample as samples_of
from lens.analysis.instruments.instrument import Instrument, SampleName
from lens.analysis.instruments.registry import instrument
from lens.analysis.instruments.sample import Sample
from lens.analysis.interventions.tasks import Task
from lens.analysis.score_results import HeadScore
from lens.analysis.score_summary import strongest
from lens.figures.fitted import small_grid
from lens.figures.grid import grid
from lens.hooked import HookedTransformer
from lens.tokens import TokenBatch
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.ending import end_page
from lens.ui.explanation import Explanation, explain
from lens.ui.models import prepend_bos, read_prompt
from lens.ui.pages.head_scores import TASKS
from lens.ui.pages.head_scores.controls import CHAPTERS, LONGEST, sample_name
from lens.ui.shared import heads, instruments, repeats
from lens.ui.shared import score_words as words
from lens.ui.shared.score_board import (
    GRID_WIDTH,
    Board,
    Python,
    fill,
    measure,
    on_repeats,
    repeats_python,
    task_python,
)
from lens.ui.shared.tasks import choose_task, show_ability
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.waiting import started

WHERE = "A is the attention pattern, q the query and k the key position, both from 0. Then the mean over sequences."


def read_board(view: ViewState, model: HookedTransformer, instrument: Instrument, place: DeltaGenerator) -> Board:
    """Measure what the view asks for; the grid fills in ``place`` meanwhile. Where it cannot be, or waits for a click,
    the page says what it is and ends.
    """
    name = sample_name(view, instrument)
    why = instrument.needs.why_not(model, name)
    if why:
        _describe(instrument, name)
        parts.not_computed(f"{why}.")
        end_page()
    if name == "repeats" and instrument.pattern is not None:
        show = partial(fill, place) if instrument.name == "induction" else None  # others wait until all are computed
        sample = repeats.sample(model, repeats.settings(view, model), show)
        if sample.settings.seqs < sample.requested:
            view.note(f"{sample.settings.seqs} of {sample.requested} sequences are computed: showing these")
        board = on_repeats(sample)
    else:
        board = _measured(view, model, instrument, name)
    if instrument.name not in board.scores.scores:
        parts.not_computed(board.scores.missing[instrument.name].removeprefix("not computed because ") + ".")
        _describe(instrument, name)
        end_page()
    return board


def _measured(view: ViewState, model: HookedTransformer, instrument: Instrument, name: SampleName) -> Board:
    """Any instrument on any other sample; what takes long first waits for a click."""
    sample, board = _sample(view, model, name)
    samples = [] if sample is None else [sample]
    key, done = instruments.work_key(model, instrument, samples), instruments.is_measured(model, instrument, samples)
    sentence = f"**{instrument.title}.** {instrument.words(name).definition}"
    if not started(key, instruments.seconds(model, instrument, samples), sentence, done):
        _describe(instrument, name, defined=True)
        end_page()
    return board._replace(scores=instruments.measured(model, instrument, samples))


def _sample(view: ViewState, model: HookedTransformer, name: SampleName) -> tuple[Sample | None, Board]:
    """The sample, and the board that is to hold the scores on it."""
    if name == "weights":
        return None, Board(None, name, Python("", "[]"))
    if name == "repeats":
        chosen = repeats.settings(view, model)
        repeated = repeats.tokens(model, chosen)
        return samples_of.repeats(to_torch(repeated)), Board(None, name, repeats_python(chosen))
    if name == "task":
        chosen = choose_task(view, model, TASKS)
        show_ability(model, chosen)
        task = Task(chosen.title, chosen.pairs, (), chosen.description, (), chosen.metric)
        return samples_of.task_sample(task), Board(None, name, task_python(chosen.pairs, chosen.metric))
    imports = "from lens.analysis.instruments.sample import "
    if name == "text":
        tokens = read_prompt(view, model).tokens
        texts = TokenBatch(tokens, torch.ones_like(tokens, dtype=torch.bool))
        python = Python(
            f"import torch\n\n{imports}text\nfrom lens.tokens import TokenBatch\n",
            f"[text(TokenBatch(tokens[:, :{tokens.shape[1]}], torch.ones(1, {tokens.shape[1]}, dtype=torch.bool)))]",
        )
        return samples_of.text(texts), Board(None, name, python, tokens.cpu().numpy())
    bos = prepend_bos(view)
    texts = analyse(samples_of.shipped_text, model, CHAPTERS, LONGEST, bos)
    sample = replace(texts, texts=to_torch(texts.texts))
    call = f"shipped_text(model, n={CHAPTERS}, longest={LONGEST}, prepend_bos={bos})"
    python = Python(f"{imports}shipped_text\n", f"[{call}]")
    return sample, Board(None, name, python, texts.texts.tokens, None, texts.texts.mask)


def _describe(instrument: Instrument, name: SampleName, defined: bool = False) -> None:
    """What an instrument is, where it has no number; ``defined``: its definition stands above already."""
    words_of = instrument.words(name)
    if not defined:
        parts.aside(instrument.title, words_of.definition)
    parts.aside("Against chance", f"Null: {words_of.null}.")
    parts.misreading(words_of.misreading)
    parts.formula(words_of.formula, f"Source: {instrument.source}." if instrument.source else "")


def show_grid(view: ViewState, board: Board, score: HeadScore, model: HookedTransformer) -> go.Figure:
    """The clickable grid; returns the figure."""
    difference = is_difference(view, score)
    if view["shown"] == "difference" and score.n_queries and score.effect is None:
        where = "a prompt" if board.on == "text" else "these texts"
        view.note(f"on {where} this score has no control: showing the score itself")
    title = f"{words.title(score)}{' minus its control' if difference else ''}: every head of {model.name}"
    current = heads.current(view, strongest(score))
    figure = small_grid(grid(measure(score, difference), pinned=view["pins"], current=current, title=title), GRID_WIDTH)
    parts.head_grid(figure, view, key="scores:grid", alt=f"{title}. {notice(view, board, score)}")
    return figure


def is_difference(view: ViewState, score: HeadScore) -> bool:
    """Whether the score minus its control is drawn."""
    return view["shown"] == "difference" and score.effect is not None and score.n_queries > 0


def notice(view: ViewState, board: Board, score: HeadScore) -> str:
    """What to see in the grid."""
    return words.notice_difference(score) if is_difference(view, score) else words.notice(score, board.on == "text")


def explain_grid(view: ViewState, model: HookedTransformer, board: Board, score: HeadScore) -> None:
    """What to notice, what not to conclude, where the numbers come from, and the formula."""
    kind = instrument(score.kind.name)
    words_of = kind.words(board.on)
    explanation = Explanation(
        notice(view, board, score),
        words_of.misreading,
        measured=(("Against chance", words.threshold_words(score)), ("Sample", f"{board.scores.source}.")),
        formula=words_of.formula,
        where=f"{score.kind.definition} {WHERE if kind.pattern is not None else ''}",
    )
    explain(view, model, explanation)
