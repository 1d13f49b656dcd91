"""Below the grid of OV copying: full against residual, and the table of all heads."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from lens.analysis.copying_on_data import CopyingScores
from lens.analysis.copying_verdicts import DIFFER, RULE
from lens.analysis.head_vocabulary import TopShares, copying_accuracy, most_top, own_ranks_of, top_shares
from lens.analysis.names import Head
from lens.analysis.ov_copying import DRAWS, share_outside
from lens.analysis.rank_correlation import HOW, rank_correlation
from lens.analysis.sequential_null import COMMON, FIRST
from lens.figures.measure import Measure
from lens.figures.scatter import scatter
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.estimate import operation_seconds
from lens.ui.explanation import Explanation, explain
from lens.ui.pages.ov_copying import data, words
from lens.ui.pages.ov_copying.grid import Copying
from lens.ui.shared.computing import Cells, compute
from lens.ui.shared.copying_words import DEFINITIONS, Null, OnData
from lens.ui.shared.heads import TABLE_HEIGHT, head_table
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.widgets import number

RANKED = 64  # tokens whose ranks are computed for every head
TOP = 1000  # the largest k
TOP_HELP = (
    "For the last column: is the logit of the token itself among the k that the head would raise most by attending to "
    "it? Over the whole vocabulary, for tokens drawn at random. At most a tenth of the vocabulary, since chance alone "
    "reaches k/d_vocab."
)
OUTSIDE = "Outside these two. By chance so many heads are: " + ", ".join(
    f"{share_outside(n):.0%} with {n} rotations" for n in (DRAWS, COMMON, FIRST)
)


def show_scatter(view: ViewState, model: HookedTransformer, copying: Copying, null: Null | None, head: Head) -> None:
    """The two circuits of every head against each other."""
    full, residual = copying.scores.full.score, copying.scores.residual.score
    x = Measure("residual copying", DEFINITIONS["residual"], residual, signed=True)
    y = Measure("full copying", DEFINITIONS["full"], full, signed=True)
    text = words.scatter_words(full, residual, analyse(rank_correlation, full, residual, model.cfg.group_size))
    figure = scatter(x, y, pinned=view["pins"], current=view.current(), title="Full against residual OV copying")
    parts.head_grid(figure, view, key="ov:scatter", alt=text)
    measured = (("Rank correlation", f"Tested {HOW}."),)
    explain(view, model, Explanation(text, words.SCATTER_MISREADING, measured=measured))


def show_table(
    view: ViewState, model: HookedTransformer, copying: Copying, null: Null | None, head: Head
) -> dict[str, OnData | TopShares]:
    """All heads, with what they do on text and in their own rows beside the score; a click on a row selects it.

    Returns what it has beside the scores: "text" and "top", where they were computed.
    """
    cfg, computed, ranks = model.cfg, {}, _rank_cells(view, model)
    k = int(number(view, "topk", (1, min(TOP, most_top(cfg.d_vocab))), "Top k", TOP_HELP, width=130))
    place, columns = st.empty(), _columns(k)

    def draw(**part: OnData | TopShares) -> None:
        """The table so far; it cannot be clicked yet."""
        with place:
            rows = words.table(copying.scores, null, copying.circuit, **computed | part)
            parts.table(rows, "All heads so far", columns, TABLE_HEIGHT)

    def on_text(scores: CopyingScores, kept: bool) -> OnData:
        return data.on_data(scores, copying.chosen.score, kept)

    if model.tokenizer is not None:
        cells = data.text_cells(view, model)
        if not cells.are_kept():
            draw()
        scores = data.text_scores(cells, lambda scores: draw(text=on_text(scores, kept=False)))
        computed |= {} if scores is None else {"text": on_text(scores, kept=True)}
    if not ranks.are_kept():
        draw()
    top = _top_shares(model, ranks, k, lambda shares: draw(top=shares))
    computed |= {} if top is None else {"top": top}
    rows, text = words.table(copying.scores, null, copying.circuit, **computed), computed.get("text")
    with place.container():
        alt = f"All {len(rows)} heads by their {copying.circuit} OV copying score, largest first; sortable"
        head_table(view, rows, "ov:table", columns, alt)
    if text is None:
        reason = data.NO_TEXT if model.tokenizer is None else "no document has been read"
        parts.not_computed(f"{reason}: the column on text is missing.")
    notices = [] if text is None else [words.disagreements(null, text)]
    notices += [] if top is None else [words.top_words(top, cfg.d_vocab)]
    source = "" if text is None else f"{text.scores.source}. {RULE} {DIFFER}"
    explain(view, model, Explanation(tuple(notices), words.TABLE_MISREADING, measured=(("On text", source),)))
    return computed


def _rank_cells(view: ViewState, model: HookedTransformer) -> Cells:
    """The ranks of random tokens in their own rows, layer by layer."""
    return Cells(own_ranks_of, range(model.cfg.n_layers), (model, view["embedding"], RANKED, view["seed"]))


def _top_shares(model: HookedTransformer, ranks: Cells, k: int, show: Callable[[TopShares], None]) -> TopShares | None:
    """Top-k copying accuracy of every head, layer by layer; None if none is computed. ``show`` draws it meanwhile."""
    cfg = model.cfg

    def shares(done: dict, kept: bool) -> TopShares:
        layers = {layer: compute(copying_accuracy, to_torch(one), k, kept=kept) for layer, one in done.items()}
        return top_shares(layers, next(iter(done.values())), cfg)

    each = 2 * cfg.d_vocab * cfg.d_head * (cfg.d_model + RANKED)
    seconds = operation_seconds(model, each * cfg.n_layers * cfg.n_heads)
    done = ranks.sweep(lambda done: show(shares(done, kept=False)), seconds).done
    return shares(done, kept=True) if done else None


def _columns(k: int) -> parts.Columns:
    column = st.column_config
    value, fine = (partial(column.NumberColumn, format=form) for form in ("%.3f", "%.4f"))
    return {
        "head": column.TextColumn(help="layer.head, both from 0. Click a row to select it.", width=70),
        "full": value(help=DEFINITIONS["full"]),
        "residual": value(help=DEFINITIONS["residual"]),
        "positive share": value(help="Share of Σ|λ| of the chosen circuit with positive real part; .5 by chance."),
        "largest |λ|": value(help="Of the chosen circuit. Scales differ between heads; the score does not see them."),
        "null low": value(help="2.5th percentile of the head's own random rotations."),
        "null high": value(help="97.5th percentile."),
        "rotations": column.NumberColumn(help="Random rotations of this head that its null rests on."),
        "outside null": column.CheckboxColumn(help=OUTSIDE),
        "by weights": column.TextColumn(help=RULE, width=80),
        "on text": fine(help=words.TEXT),
        "text logit": fine(help=words.TEXT_LOGIT),
        "by text": column.TextColumn(help=RULE, width=80),
        "differ": column.CheckboxColumn(help=DIFFER),
        "in top k": value(label=f"in top {k}", help=words.TOP.format(k)),
        "rank": column.NumberColumn(help="1 is the largest score of the chosen circuit."),
    }
