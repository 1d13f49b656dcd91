"""The page's figures: where the head looks, what its keys and queries read, the pairs, the cuts; and the export."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from lens.analysis.answer.head_inputs import Write
from lens.analysis.answer.pair_cut import DEFINITION as PAIR_CUT
from lens.analysis.answer.pair_cut import PairCut
from lens.analysis.answer.reasons import cell_pair, stripe_pair
from lens.figures.bars import Bar, bars
from lens.figures.cells import Marks
from lens.figures.fitted import narrow, small_matrix
from lens.figures.grid import grid
from lens.figures.matrix import View, matrix
from lens.figures.measure import Axes, Measure
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.estimate import operation_seconds
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.labels import short_labels, token_labels
from lens.ui.pages.qk_attribution import words
from lens.ui.pages.qk_attribution.request import Request
from lens.ui.shared import repeats
from lens.ui.shared.chain.copies import SAID, eigenvalues_of
from lens.ui.shared.patterns import attention, stripe
from lens.ui.shared.reasons import SCORE, SIDES, WAIT, Answer, average, side_bars, write_label
from lens.ui.store import to_torch

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lens.ui.view import ViewState

SIDE, WIDTH = 300, 360  # pixels of the pattern, and of a column
PAIRS = 9  # writes of either side in the matrix of pairs; the others share a row or a column
CUTS = 12  # cuts of either side that are drawn
UNIT = "score before the softmax"
PAIR_MISREADING = (
    "A pair is a product: its size needs both writes, and cutting either takes all of it. Negative pairs lower the "
    "score there, or raise it elsewhere."
)
CUT_MISREADING = (
    "Attention is not linear in the score: where much is left over, a large write can be cut and nothing moves; where "
    "two writes are needed, cutting either takes everything. So the cuts do not add up to the attention."
)


def show_pattern(view: "ViewState", request: Request) -> None:
    """Where the head looks, with what is asked about in orange; of a prompt, a click chooses the cell."""
    pattern = attention(request.model, request.tokens, request.head)
    labels = short_labels(token_labels(request.model, request.tokens))
    if request.prompt is None:
        marks = Marks(*stripe(SCORE, request.sample.settings.n, request.sample.repeated.bos))
        what = f"{request.sample.settings.n} random tokens, twice"
    else:
        marks, what = Marks([(request.query, request.key)], "the cell in question"), "your prompt"
    click = request.prompt is not None
    title = f"Head {request.head} on {what}"
    figure = matrix(pattern, labels, title=title, marks=marks, view=View(hide_first=True, clickable=click))
    alt = f"Attention of head {request.head}; outlined: {marks.label}."
    key = "qk:matrix" if click else None
    parts.chart(small_matrix(figure, SIDE, None), alt, key, partial(_choose_cell, view) if click else None)


def _choose_cell(view: "ViewState", cell: tuple[int, ...]) -> None:
    query, key = cell[:2]
    if 0 < key <= query and query > 1:
        view.set(query=query, key=key)


def show_side(request: Request, of: Answer, side: str) -> "go.Figure":
    """The largest writes of one side."""
    title = f"… because its {SIDES[side]} read"
    rows = side_bars(of, side)
    figure = bars(rows, UNIT, title=title, definition=words.DEFINITION)
    alt = f"{title}: " + ", ".join(f"{row.label} {row.value:.2f}" for row in rows)
    parts.chart(narrow(figure, WIDTH), alt, key=f"qk:{side}")
    return figure


def copying(view: "ViewState", request: Request, of: Answer) -> str:
    """Whether the head's weights would copy what it looks at: the other half of a circuit, and not asked here."""
    cfg, seed = request.model.cfg, int(view["seed"])
    if operation_seconds(request.model, 2 * cfg.d_vocab * cfg.d_model**2) > WAIT:
        return "Not asked here: OV copying says whether it would copy what it looks at."
    circuit = eigenvalues_of(request.model, request.head, seed)
    if circuit is None:
        return "It writes nothing: all eigenvalues of its OV circuit are 0, so nothing is copied."
    ends = (
        ""
        if circuit.of.sign > 0 or not of.mechanism.verdict.found
        else "It looks there, and as far as its weights say nothing is copied."
    )
    return f"{SAID[circuit.of.sign]} {circuit.words} {ends or 'Where it looks says nothing about that.'}"


def show_pairs(view: "ViewState", request: Request, of: Answer) -> None:
    """The matrix of pairs, and what cutting one of them does; a click chooses it."""
    left, right = st.columns([1.2, 1], gap="medium")
    asks, answers = _kept(of, 0), _kept(of, 1)
    with left:
        pair = _draw_matrix(view, of, asks, answers)
    with right:
        st.markdown(
            f"**Cut {write_label(pair[0])} × {write_label(pair[1])}.** A click on the matrix cuts another pair."
        )
        cut = chosen_cut(view, request, of, pair)
        rows = words.ways_table(request, cut)
        number = st.column_config.NumberColumn
        columns = {
            "cut": st.column_config.TextColumn(help=PAIR_CUT),
            "attention": number(format="percent", help="On the cells in question, mean."),
            "loss": number(format="%.3f", help="Nats, of the token after each query, this path alone changed."),
        }
        parts.table(rows, "Attention and loss with the pair cut", columns)
        explain(view, None, Explanation(words.pair_notice(request, cut), PAIR_MISREADING))


def _kept(of: Answer, axis: int) -> list[int]:
    """The writes with the largest pairs along one axis, in the order of the forward pass."""
    size = np.abs(np.asarray(of.reasons.read.pairs)).max(1 - axis)
    return sorted(np.argsort(-size, kind="stable")[:PAIRS].tolist())


def _draw_matrix(view: "ViewState", of: Answer, asks: list[int], answers: list[int]) -> tuple[Write, Write]:
    """The grid; returns the chosen pair: the address's, else the largest."""
    read = of.reasons.read
    names = [str(write) for write in read.writes]
    pair = chosen_pair(view, of)
    asks = sorted({*asks, read.writes.index(pair[0])})
    answers = sorted({*answers, read.writes.index(pair[1])})
    values = np.asarray(read.pairs)[np.ix_(asks, answers)]
    which = "of the text" if read is of.reasons.text else "less the control's"
    measure = Measure(
        "pair",
        f"Share of the contrast {which} that two writes make together. {len(asks)} of {len(names)} writes "
        f"asked with, {len(answers)} found by.",
        values,
        UNIT,
        signed=True,
    )
    axes = Axes("read by the query", "read by the key", [names[at] for at in asks], [names[at] for at in answers])
    at = (asks.index(read.writes.index(pair[0])), answers.index(read.writes.index(pair[1])))
    figure = grid(measure, axes, current=at, title="Pairs of writes")

    def choose(cell: tuple[int, ...]) -> None:
        view.set(asks=names[asks[cell[0]]], answers=names[answers[cell[1]]])

    alt = f"Pairs of writes. {pair[0]} with {pair[1]} is chosen."
    parts.chart(narrow(figure, WIDTH), alt, "qk:pairs", choose)
    return pair


def chosen_pair(view: "ViewState", of: Answer) -> tuple[Write, Write]:
    """The pair that the address names, else the largest; a name that is none gets a note."""
    known = {str(write): write for write in of.reasons.read.writes}
    request = view["asks"], view["answers"]
    if all(request):
        if set(request) <= known.keys():
            return known[request[0]], known[request[1]]
        view.note("the pair in the address names no two writes before this head: showing the largest")
        view.set(asks=None, answers=None)
    return of.reasons.pair.asks, of.reasons.pair.answers


def chosen_cut(view: "ViewState", request: Request, of: Answer, pair: tuple[Write, Write]) -> PairCut:
    """The cut of a pair: that of the largest is known already."""
    if pair == (of.reasons.pair.asks, of.reasons.pair.answers):
        return of.reasons.pair
    if request.prompt is None:
        return analyse(
            stripe_pair, request.model, request.head, to_torch(request.sample.repeated), *pair, progress=True
        )
    place = (request.prompt.tokens, request.query, request.key)
    return analyse(cell_pair, request.model, request.head, *place, *pair, int(view["seed"]), progress=True)


def show_cuts(view: "ViewState", request: Request, of: Answer) -> None:
    """Every earlier head and MLP, and the embedding, cut alone: what is left of the attention."""
    said = []
    for column, (side, name) in zip(st.columns(2, gap="medium"), reversed(SIDES.items())):
        cuts = of.reasons.cut_from_queries if side == "q" else of.reasons.cut_from_keys
        uncut = average(cuts.uncut)
        rows = [Bar("nothing cut", uncut, whole=True)]
        rows += [Bar(write_label(write), left) for write, left in cuts.strongest(CUTS)]
        with column:
            title = f"Cut out of its {name} alone"
            figure = bars(rows, "attention that is left", title=title, definition=words.CUT)
            parts.chart(narrow(figure, WIDTH), f"{title}: attention that is left", key=f"qk:cut:{side}")
        deep = sum(average(row) < uncut / 2 for row in cuts.attention)
        said.append(f"out of the {name} {deep} of {len(cuts.writes)}")
    text = f"Of all writes cut alone, these take away more than half of the attention: {', '.join(said)}."
    explain(view, None, Explanation(text, CUT_MISREADING))


def show_table(view: "ViewState", request: Request, of: Answer) -> None:
    """Every write on either side."""
    parts.table(words.table(of), "Every write's share of the contrast by keys and by queries", height=420)


def draw_export(view: "ViewState", request: Request, of: Answer, figure: "go.Figure") -> None:
    """The numbers, and the Python that computes them again."""
    rows = words.table(of)
    payload = {
        "head": request.head,
        "where": request.place,
        "contrast": np.asarray(of.reasons.text.total),
        "control": np.asarray(of.reasons.control.total),
        "mechanism": of.mechanism._asdict() | {"unexplained": of.mechanism.unexplained},
        "notice": words.notice(request, of),
        "writes": [str(write) for write in of.reasons.text.writes],
        "pairs": np.asarray(of.reasons.read.pairs),
        "cut": words.ways_table(request, of.reasons.pair).to_dict("records"),
        "numbers": rows.to_dict("records"),
        "sample": words.sample_words(request, of),
    }
    name = f"why-{request.head.layer}-{request.head.head}"
    export(view, Export(name, figure, rows, payload, code(request, of), reads_prompt=request.prompt is not None))


def code(request: Request, of: Answer) -> str:
    """The Python of the page."""
    return reasons_code(request, of.seed) + (
        'print("contrast", float(reasons.text.total.mean()), "control", float(reasons.control.total.mean()))\n'
        'print("keys", [(str(write), value) for write, value in reasons.read.strongest("k")])\n'
        'print("queries", [(str(write), value) for write, value in reasons.read.strongest("q")])\n'
        'print("attention uncut, cut out of queries, of keys, of both", reasons.pair.attention.mean(1).tolist())\n'
        'print("loss", reasons.pair.loss.mean(1).tolist())'
    )


def reasons_code(asked: Request, seed: int) -> str:
    """The Python that makes ``reasons``."""
    head = f"({asked.head.layer}, {asked.head.head})"
    if asked.prompt is None:
        return (
            "from lens.analysis.answer.reasons import stripe_reasons\n"
            "from lens.analysis.random_tokens import repeated_tokens\n\n"
            f"repeated = {repeats.code(asked.sample.settings)}\n"
            f"reasons = stripe_reasons(model, {head}, repeated)\n"
        )
    return (
        "from lens.analysis.answer.reasons import cell_reasons\n\n"
        f"tokens = tokens[:, :{len(asked.tokens)}]\n"
        f"reasons = cell_reasons(model, {head}, tokens, query={asked.query}, key={asked.key}, seed={seed})\n"
    )
