"""Beside and below the composition matrix: feeders of the chosen head, graph, virtual weights, prefix matching."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure

from lens.analysis.composition import pair_columns, strongest_pairs
from lens.analysis.head_weights import why_not_bilinear
from lens.analysis.prefix_matching import NULL, PrefixMatching, prefix_matching
from lens.analysis.rank_correlation import HOW, rank_correlation
from lens.analysis.score_results import HeadScore, HeadScores
from lens.analysis.virtual_tokens import ENDS, virtual_tokens
from lens.analysis.weights_export import composition_to_python, prefix_to_python
from lens.figures.layered import Edge, layered_graph
from lens.figures.measure import Measure
from lens.figures.scatter import scatter
from lens.figures.theme import number as written
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.labels import token_labels
from lens.ui.pages.composition import words
from lens.ui.pages.composition.board import Board, choose_pair, measure
from lens.ui.shared import heads, repeats, score_board
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.widgets import bind, number

HEIGHT, FEW = 400, 10  # pixels of a table, and its rows that need fewer
P_HELP = "How often a random rotation between the two heads gives as much or more, for this one pair."
LISTED = 500  # pairs in the table; the export has all


def show_feeders(view: ViewState, board: Board, scores: HeadScores | None) -> None:
    """Every earlier head by what it passes to the chosen one; ``scores`` once they are known."""
    name = str(board.receiver)
    if board.sender is None:
        st.html(f'<div class="lens-empty">{words.LAYER_0.format(name)}</div>')
        return
    previous = None if scores is None else scores["previous"]
    rows = words.feeder_table(board.result, board.receiver, previous)
    alt = f"Earlier heads by what they pass to head {name}, largest first, with their previous-token scores"
    st.markdown(f"**Feeders of {name}** through {words.MODES[board.result.mode]}")
    if scores is None:
        parts.table(rows, alt, _columns(board), _height(rows))
        return
    heads.pin_button(view, board.receiver, "composition:pin")
    _choose_sender(view, board, rows["head"].tolist())

    def choose(row: int) -> None:
        choose_pair(view, heads.from_label(rows["head"].iloc[row]), board.receiver)

    parts.table(rows, alt, _columns(board, previous), _height(rows), "composition:feeders", choose)


def _height(rows: pd.DataFrame) -> int | str:
    """Pixels of a table that scrolls; one of few rows is as high as they are."""
    return HEIGHT if len(rows) > FEW else "auto"


def _choose_sender(view: ViewState, board: Board, names: list[str]) -> None:
    """Which feeder the pair is made of, as a list; the table and the matrix choose it too."""

    def write(key: str) -> None:
        view.set(sender=view.field("sender").read(st.session_state[key]))

    help = "The earlier head of the pair, strongest first. Virtual weights are shown for this pair."
    seed = bind(view, "sender", str(board.sender), write)
    st.selectbox("Sender", names, names.index(str(board.sender)), help=help, width=140, **seed)


def _columns(board: Board, previous: HeadScore | None = None) -> parts.Columns:
    """What each column means."""
    result, value = board.result, partial(st.column_config.NumberColumn, format="%.3f")
    bar = partial(st.column_config.ProgressColumn, format="%.3f", min_value=0, width=102)
    null = f"{written(result.null)}, the root mean square under random rotations"
    help = parts.metric_help(result.definition, "share, 0 to 1", null)
    spread = "Standard deviation of the squared score under random rotations."
    columns = {
        "head": st.column_config.TextColumn(help="layer.head of the sender. Click a row to choose it.", width=52),
        "sender": st.column_config.TextColumn(help="layer.head of the earlier head.", width=70),
        "receiver": st.column_config.TextColumn(help="layer.head of the later head.", width=70),
        "score": bar(help=help, max_value=float(np.nanmax(result.scores))),
        "− null": value(help=f"The score minus {null}.", width=62),
        "z": value(help=words.definition(result, "z"), width=56),
        "p": value(format="%.2g", help=P_HELP, width=62),
        "null sd of score²": value(help=spread, format="%.5f", width=120),
    }
    if previous is not None:
        kind = previous.kind
        line = "" if previous.threshold is None else f"; threshold {previous.threshold:.3f}"
        help = parts.metric_help(kind.definition, kind.unit, f"{kind.null}{line}")
        columns["previous token"] = bar(help=help, max_value=1)
    return columns


def show_graph(view: ViewState, board: Board, scores: HeadScores) -> None:
    """The strongest pairs of the whole model as a graph."""
    help = "How many of the strongest pairs of the whole model are drawn."
    count, cfg = int(number(view, "edges", (1, 200), "Edges", help, width=110)), board.model.cfg
    drawn = measure(view, board.result)
    pairs = strongest_pairs(drawn.values, count)
    text = words.edges_notice(pairs, board.receiver)
    title = f"The {len(pairs)} strongest pairs by {drawn.name}: {board.model.name}"
    definition = "A line is a pair, wider where the number is larger; orange lines enter the chosen head."
    labels = {"name": drawn.name, "title": title, "definition": definition}
    edges = [Edge(*pair) for pair in pairs]
    figure = layered_graph(edges, (cfg.n_layers, cfg.n_heads), pinned=board.receiver, **labels)
    parts.head_grid(figure, view, key="composition:graph", alt=f"{title}. {text}")
    explain(view, board.model, Explanation(text, words.GRAPH_MISREADING))


def show_virtual(view: ViewState, board: Board, scores: HeadScores) -> None:
    """The tokens at both ends of the strongest directions from the sender to the receiver."""
    model, sender, receiver, mode = board.model, board.sender, board.receiver, board.result.mode
    if sender is None:
        parts.not_computed(f"head {receiver} has no earlier head to be fed by.")
        return
    offset = 0 if mode == "V" else board.offset
    virtual = analyse(virtual_tokens, model, (sender, receiver), mode, offset, board.result.weights)

    def tokens(ids: Sequence[int]) -> str:
        return "  |  ".join(token_labels(model, ids))

    columns = ["direction", "share of ‖·‖²", "end", f"{sender} reads (embedding)", virtual.columns]
    rows = [
        (i + 1, float(share), sign, tokens(virtual.read[i, end]), tokens(virtual.written[i, end]))
        for i, share in enumerate(virtual.share)
        for end, sign in enumerate(ENDS)
    ]
    config = {columns[1]: st.column_config.NumberColumn(format="%.3f", width=90), columns[0]: {"width": 70}}
    alt = f"Tokens of the strongest directions from head {sender} to head {receiver}"
    parts.table(pd.DataFrame(rows, columns=columns), alt, config)
    text = (
        f"{sender} → {receiver} through {mode}: the first of the directions carries "
        f"{written(100 * float(virtual.share[0]))}% of the squared norm, the {len(virtual.share)} shown "
        f"{written(100 * float(virtual.share.sum()))}%; its + end goes from {tokens(virtual.read[0, 0][:3])} to "
        f"{tokens(virtual.written[0, 0][:3])}."
    )
    explain(view, model, Explanation(text, words.VIRTUAL_MISREADING))


def show_prefix(view: ViewState, board: Board, scores: HeadScores) -> PrefixMatching | None:
    """Prefix matching from weights beside induction scores. Returns it; None where refused."""
    model, induction = board.model, scores["induction"]
    reason = why_not_bilinear(model.cfg)
    if reason is not None:
        parts.not_computed(f"{reason}.")
        return None
    previous = to_torch(scores["previous"].score.mean)
    prefix = analyse(prefix_matching, model, previous, board.offset, board.result.weights, progress=True)
    agreement = analyse(rank_correlation, prefix.score, induction.score.mean, model.cfg.group_size)
    text = words.prefix_notice(prefix, scores, agreement)
    definition = f"{prefix.definition} Chance: {NULL}.{words.turn(prefix.offset)}"
    y = Measure("prefix matching from weights", definition, prefix.score, "sd of an entry", signed=True)
    title = f"Prefix matching: weights against activations, {model.name}"
    x = score_board.measure(induction)
    figure = scatter(x, y, pinned=view["pins"], current=board.receiver, title=title)
    parts.head_grid(figure, view, key="composition:prefix", alt=f"{title}. {text}")
    measured = (("Scores", f"{scores.source}. Rank correlation: tested {HOW}."),)
    explain(view, model, Explanation(text, words.PREFIX_MISREADING, measured=measured))
    return prefix


def show_table(view: ViewState, board: Board, scores: HeadScores) -> None:
    """The largest of all pairs; a click on a row chooses the pair."""
    pairs = strongest_pairs(measure(view, board.result).values, LISTED)
    rows, alt = pd.DataFrame(pair_columns(board.result, pairs)), f"The {len(pairs)} strongest pairs of heads"

    def choose(row: int) -> None:
        choose_pair(view, pairs[row].sender, pairs[row].receiver)

    parts.table(rows, alt, _columns(board), _height(rows), "composition:pairs", choose)
    st.caption(f"The {len(rows)} largest of {board.result.n_pairs:,} pairs; the export has all of them.")


TABS = {
    "graph": ("Strongest edges", show_graph),
    "virtual": ("Virtual weights", show_virtual),
    "prefix": ("Prefix matching", show_prefix),
    "table": ("All pairs", show_table),
}


def draw_export(
    view: ViewState, board: Board, sample: repeats.Sample, figure: Figure, prefix: PrefixMatching | None
) -> None:
    """The export panel; ``prefix`` where its tab is open."""
    result, scores = board.result, sample.scores
    names = ("mode", "definition", "null", "offset", "weights", "notes", "scores", "p", "z")
    payload = {name: getattr(result, name) for name in names} | {
        "chosen": {"sender": board.sender, "receiver": board.receiver},
        "previous_token": scores["previous"].score.mean,
        "previous_token_source": scores.source,
    }
    strongest = result.strongest
    pair = (strongest.sender, strongest.receiver) if board.sender is None else (board.sender, board.receiver)
    python = composition_to_python(result, *pair)
    if prefix is not None:
        numbers = {name: getattr(prefix, name) for name in ("score", "z", "reach", "definition")}
        payload["prefix_matching"] = numbers | {"null": NULL}
        python += f"\n\n{prefix_to_python(prefix, *sample.settings)}"
    name = f"composition-{result.mode}"
    export(view, Export(name, figure, lambda: pd.DataFrame(pair_columns(result)), payload, python, reads_prompt=False))
