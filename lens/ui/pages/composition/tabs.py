"""Beside and below the composition matrix: feeders of the chosen head, graph, virtual weights, prefix matching."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from lens.analysis.composition import strongest_pairs
from lens.analysis.head_weights import why_not_bilinear
from lens.analysis.names import Head
from lens.analysis.prefix_matching import NULL, prefix_matching
from lens.analysis.rank_correlation import HOW, rank_correlation
from lens.analysis.virtual_tokens import ENDS, virtual_tokens
from lens.figures.layered import Edge, layered_graph
from lens.figures.measure import Measure
from lens.figures.scatter import scatter
from lens.figures.theme import number as said
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.labels import token_labels
from lens.ui.pages.composition import words
from lens.ui.pages.composition.board import Board, choose_pair, measure
from lens.ui.shared import heads, score_board
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.widgets import bind, number

HEIGHT = 400  # pixels of a table
P_HELP = "How often a random rotation between the two heads gives as much or more, for this one pair."
LISTED = 500  # pairs in the table; the export has all


def show_feeders(view: ViewState, board: Board, scores: Any | None) -> None:
    """Every earlier head by what it passes to the chosen one; ``scores``: HeadScores once they are known."""
    name = f"{board.receiver[0]}.{board.receiver[1]}"
    if board.sender is None:
        st.html(f'<div class="lens-empty">{words.LAYER_0.format(name)}</div>')
        return
    previous = None if scores is None else scores["previous"]
    table = words.feeder_table(board.found, board.receiver, previous)
    st.markdown(f"**Feeders of {name}** through {words.MODES[board.found.mode]}")
    if scores is not None:
        heads.pin_button(view, board.receiver, "composition:pin")
    if scores is None:
        st.dataframe(table, hide_index=True, height=HEIGHT, column_config=_columns(board, None))
        return
    _choose_sender(view, board, table)
    st.dataframe(
        table,
        hide_index=True,
        height=HEIGHT,
        column_config=_columns(board, previous),
        key="composition:feeders",
        on_select=partial(_row_chosen, view, board, table),
        selection_mode="single-row",
        alt=f"Earlier heads by what they pass to head {name}, largest first, with their previous-token scores",
    )


def _choose_sender(view: ViewState, board: Board, table: pd.DataFrame) -> None:
    """Which feeder the pair is made of, as a list; the table and the matrix choose it too."""
    names = table["head"].tolist()
    chosen = f"{board.sender[0]}.{board.sender[1]}"
    seed = bind(view, "sender", chosen, partial(_sender_chosen, view))
    help = "The earlier head of the pair, strongest first. Virtual weights are shown for this pair."
    st.selectbox("Sender", names, names.index(chosen), help=help, width=140, **seed)


def _sender_chosen(view: ViewState, key: str) -> None:
    view.set(sender=view.field("sender").read(st.session_state[key]))


def _row_chosen(view: ViewState, board: Board, table: pd.DataFrame) -> None:
    rows = st.session_state["composition:feeders"]["selection"]["rows"]
    if rows:
        layer, head = table["head"].iloc[rows[0]].split(".")
        choose_pair(view, (int(layer), int(head)), board.receiver)


def _columns(board: Board, previous: Any | None) -> dict[str, Any]:
    """What each column means."""
    found, show = board.found, partial(st.column_config.NumberColumn, format="%.3f")
    null = f"{said(found.null)}, the root mean square under random rotations"
    help = parts.metric_help(found.definition, "share, 0 to 1", null)
    bar = partial(st.column_config.ProgressColumn, format="%.3f", min_value=0)
    columns = {
        "head": st.column_config.TextColumn(help="layer.head of the sender. Click a row to choose it.", width=52),
        "sender": st.column_config.TextColumn(help="layer.head of the earlier head.", width=70),
        "receiver": st.column_config.TextColumn(help="layer.head of the later head.", width=70),
        "score": bar(help=help, max_value=float(np.nanmax(found.scores)), width=102),
        "− null": show(help=f"The score minus {null}.", width=62),
        "z": show(help=words.definition(found, "z"), width=56),
        "p": st.column_config.NumberColumn(format="%.2g", help=P_HELP, width=62),
        "null sd of score²": show(
            help="Standard deviation of the squared score under random rotations.", format="%.5f", width=120
        ),
    }
    if previous is not None:
        kind = previous.kind
        line = "" if previous.threshold is None else f"; threshold {previous.threshold:.3f}"
        help = parts.metric_help(kind.definition, kind.unit, f"{kind.null}{line}")
        columns["previous token"] = bar(help=help, max_value=1, width=102)
    return columns


def show_graph(view: ViewState, model: Any, board: Board, scores: Any) -> None:
    """The strongest pairs of the whole model as a graph."""
    help = "How many of the strongest pairs of the whole model are drawn."
    count = int(number(view, "edges", (1, 200), "Edges", help, width=110))
    drawn = measure(view, board.found)
    pairs = strongest_pairs(drawn.values, count)
    text = words.edges_notice(pairs, board.receiver)
    title = f"The {len(pairs)} strongest pairs by {drawn.name}: {model.name}"
    definition = "A line is a pair, wider where the number is larger; orange lines enter the chosen head."
    shape = (model.cfg.n_layers, model.cfg.n_heads)
    edges = [Edge(*pair) for pair in pairs]
    figure = layered_graph(edges, shape, name=drawn.name, pinned=board.receiver, title=title, definition=definition)
    parts.head_grid(figure, view, key="composition:graph", alt=f"{title}. {text}")
    explain(view, model, Explanation(text, words.GRAPH_MISREADING))


def show_virtual(view: ViewState, model: Any, board: Board, scores: Any) -> None:
    """The tokens at both ends of the strongest directions from the sender to the receiver."""
    if board.sender is None:
        parts.not_computed(f"head {board.receiver[0]}.{board.receiver[1]} has no earlier head to be fed by.")
        return
    pair = (Head(*board.sender), Head(*board.receiver))
    found = analyse(virtual_tokens, model, pair, *board.asked)
    rows, columns = [], ["direction", "share of ‖·‖²", "end", f"{pair[0]} reads (embedding)", found.columns]
    for i, share in enumerate(found.share):
        for end, sign in enumerate(ENDS):
            texts = [_tokens(model, ids[i, end]) for ids in (found.read, found.written)]
            rows.append([i + 1, float(share), sign, *texts])
    st.dataframe(
        pd.DataFrame(rows, columns=columns),
        hide_index=True,
        column_config={columns[1]: st.column_config.NumberColumn(format="%.3f", width=90), columns[0]: {"width": 70}},
        alt=f"Tokens of the strongest directions from head {pair[0]} to head {pair[1]}",
    )
    at = f"{pair[0]} → {pair[1]}"
    text = (
        f"{at} through {board.found.mode}: the first of the directions carries {said(100 * float(found.share[0]))}% of "
        f"the squared norm, the {len(found.share)} shown {said(100 * float(found.share.sum()))}%; its + end goes from "
        f"{_tokens(model, found.read[0, 0][:3])} to {_tokens(model, found.written[0, 0][:3])}."
    )
    explain(view, model, Explanation(text, words.VIRTUAL_MISREADING))


def _tokens(model: Any, ids: Any) -> str:
    return "  |  ".join(token_labels(model, ids))


def show_prefix(view: ViewState, model: Any, board: Board, scores: Any) -> Any | None:
    """Prefix matching from weights beside induction scores. Returns it; None where refused."""
    reason = why_not_bilinear(model.cfg)
    if reason is not None:
        parts.not_computed(f"{reason}.")
        return None
    previous = to_torch(scores["previous"].score.mean)
    found = analyse(prefix_matching, model, previous, board.offset, board.asked.weights, progress=True)
    agreement = analyse(rank_correlation, found.score, scores["induction"].score.mean, model.cfg.group_size)
    text = words.prefix_notice(found, scores, agreement)
    turn = "" if found.offset is None else f" δ = {found.offset}{' (rotation ignored)' if found.offset == 0 else ''}."
    name = "prefix matching from weights"
    y = Measure(name, f"{found.definition} Chance: {NULL}.{turn}", found.score, "sd of an entry", signed=True)
    x = score_board.measure(scores["induction"])
    title = f"Prefix matching: weights against activations, {model.name}"
    figure = scatter(x, y, pinned=view["pins"], current=board.receiver, title=title)
    parts.head_grid(figure, view, key="composition:prefix", alt=f"{title}. {text}")
    measured = (("Scores", f"{scores.source}. Rank correlation: tested {HOW}."),)
    explain(view, model, Explanation(text, words.PREFIX_MISREADING, measured=measured))
    return found


def show_table(view: ViewState, model: Any, board: Board, scores: Any) -> None:
    """The largest of all pairs; a click on a row chooses the pair."""
    rows = words.pair_table(board.found, measure(view, board.found).values, LISTED)
    st.dataframe(
        rows,
        hide_index=True,
        height=HEIGHT,
        column_config=_columns(board, None),
        key="composition:pairs",
        on_select=partial(_pair_chosen, view, rows),
        selection_mode="single-row",
        alt=f"The {len(rows)} strongest pairs of heads",
    )
    st.caption(f"The {len(rows)} largest of {board.found.n_pairs:,} pairs; the export has all of them.")


def _pair_chosen(view: ViewState, rows: pd.DataFrame) -> None:
    chosen = st.session_state["composition:pairs"]["selection"]["rows"]
    if chosen:
        row = rows.iloc[chosen[0]]
        sender, receiver = (tuple(map(int, row[side].split("."))) for side in ("sender", "receiver"))
        choose_pair(view, sender, receiver)


TABS = {
    "graph": ("Strongest edges", show_graph),
    "virtual": ("Virtual weights", show_virtual),
    "prefix": ("Prefix matching", show_prefix),
    "table": ("All pairs", show_table),
}


def take_away(view: ViewState, board: Board, sample: Any, figure: Any, prefix: Any) -> None:
    """The export panel; ``prefix``: the ``PrefixMatching`` of its tab, where that is open."""
    found, scores = board.found, sample.scores
    payload = {
        "mode": found.mode,
        "definition": found.definition,
        "null": found.null,
        "offset": found.offset,
        "weights": found.weights,
        "notes": list(found.notes),
        "chosen": {"sender": board.sender, "receiver": board.receiver},
        "scores": found.scores,
        "p": found.p,
        "z": found.z,
        "previous_token": scores["previous"].score.mean,
        "previous_token_source": scores.source,
    }
    if prefix is not None:
        payload["prefix_matching"] = {"score": prefix.score, "z": prefix.z, "reach": prefix.reach}
        payload["prefix_matching"] |= {"definition": prefix.definition, "null": NULL}
    python = code(board) if prefix is None else f"{code(board)}\n\n{prefix_code(board, sample, prefix)}"
    table = partial(words.pair_table, found)
    export(view, Export(f"composition-{found.mode}", figure, table, payload, python, reads_prompt=False))


def prefix_code(board: Board, sample: Any, prefix: Any) -> str:
    """The Python that computes prefix matching again, with the head that has the largest score."""
    n, seqs, seed, bos = sample.settings
    layer, head = prefix.strongest or (0, 0)
    return (
        "from lens.analysis.head_scores import head_scores\n"
        "from lens.analysis.prefix_matching import prefix_matching\n"
        "from lens.analysis.random_tokens import repeated_tokens\n\n"
        f"repeated = repeated_tokens(model, n={n}, n_seqs={seqs}, seed={seed}, prepend_bos={bos})\n"
        'previous = head_scores(model, repeated)["previous"].score.mean\n'
        f'prefix = prefix_matching(model, previous, offset={board.offset}, weights="{board.asked.weights}")\n'
        f"print(float(prefix.score[{layer}, {head}]), float(prefix.z[{layer}, {head}]), prefix.reach)"
    )


def code(board: Board) -> str:
    """The Python that computes the chosen pair again."""
    mode, offset, weights = board.asked
    pair = board.found.strongest.place if board.sender is None else (*board.sender, *board.receiver)
    index = ", ".join(map(str, pair))
    return (
        f"from lens.analysis.composition import composition, virtual_weights\n\n"
        f'found = composition(model, "{mode}", offset={offset}, weights="{weights}")\n'
        f"print(found.scores[{index}], found.null, found.z[{index}])\n"
        f"virtual = virtual_weights(model, {pair[:2]}, {pair[2:]}, "
        f'"{mode}", offset={offset}, weights="{weights}")'
    )
