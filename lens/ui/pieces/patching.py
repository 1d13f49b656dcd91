"""The Patching page: what is put where, which cells, and how it is shown. Imports no torch before it computes."""

from typing import Any, NamedTuple

import streamlit as st

from lens.ui.fields import choice, flag, heads, integer, text
from lens.ui.pieces.tasks import Chosen, choose_metric, choose_task, show_ability, show_pairs, task_fields
from lens.ui.view import ViewState
from lens.ui.widgets import fold, number, segmented, select

TASKS = ("ioi", "pronouns", "greater_than", "repeated", "capitals", "own")
INTO = {"corrupted": "Denoising", "clean": "Noising"}
CELLS = {"position": "Layer × position", "head": "Layer × head", "one": "Head × position"}
STREAM = {
    "resid_pre": "Stream before the layer",
    "resid_mid": "Stream after attention",
    "resid_post": "Stream after the layer",
    "attn_out": "Attention output",
    "mlp_out": "MLP output",
}
HEAD = {"z": "Output of heads", "q": "Queries", "k": "Keys", "v": "Values", "pattern": "Attention patterns"}
SHOWN = {"share": "Share of the gap", "raw": "Change"}
INPUTS = {"final": "Final stream", "q": "Queries", "k": "Keys", "v": "Values"}
MORE = {"approximation": "Against the approximation", "path": "Path patching", "prompts": "Per prompt"}
LONGEST_LIST = 400  # characters of a typed list of heads
OPTIONS = (
    *task_fields(TASKS),
    choice("into", "corrupted", tuple(INTO)),
    choice("cells", "position", tuple(CELLS)),
    choice("stream", "resid_pre", tuple(STREAM)),
    choice("part", "z", tuple(HEAD)),
    choice("shown", "share", tuple(SHOWN)),
    heads("cell", 1),
    integer("prompt_pair", 1, low=1, high=256),
    flag("aligned", False),
    choice("input", "final", tuple(INPUTS)),
    text("receivers", "", LONGEST_LIST),
    choice("more", "approximation", tuple(MORE)),
)
INTO_HELP = (
    "**Denoising:** an activation of the clean run is put into the corrupted run. Where the answer comes back, that "
    "activation is *sufficient*. **Noising:** a corrupted activation goes into the clean run. Where the answer is "
    "lost, it is *necessary*. The two need not agree."
)
CELLS_HELP = (
    "One cell is one run with one thing replaced: the stream (or what a layer adds to it) at one position; one head at "
    "all positions; or one head of one layer at one position."
)
SITE_HELP = (
    "What is replaced. The **stream** at a position carries everything that earlier layers put there; an **output** is "
    "only what this layer adds. A head's **queries, keys, values** say through which of its inputs it matters; its "
    "**pattern** where it looks."
)
SHOWN_HELP = (
    "**Share of the gap:** 0 is the run before the change, 1 the other run, both averaged over pairs first; not "
    "clipped, so it may exceed 1. **Change:** the metric after minus before, in its own unit."
)


class Look(NamedTuple):
    """What the page is asked to compute and show."""

    chosen: Chosen
    experiment: Any  # lens.analysis.interventions.Experiment
    shown: str  # key of SHOWN

    @property
    def site(self) -> str:
        """What is replaced."""
        return self.experiment.intervention.site

    @property
    def into(self) -> str:
        """The run that is changed."""
        return self.experiment.intervention.into


def read_look(view: ViewState, model: Any) -> Look:
    """All widgets, the pairs, and the sentence on whether the model can do the task; the page may end in here."""
    chosen = choose_task(view, model, TASKS)
    with st.container(horizontal=True, vertical_alignment="bottom", key="patching-controls"):
        into = segmented(view, "into", tuple(INTO), "Direction", INTO_HELP, format_func=INTO.get)
        cells = segmented(view, "cells", tuple(CELLS), "Cells", CELLS_HELP, format_func=CELLS.get)
        site = _choose_site(view, model, cells)
        if cells == "one":
            number(view, "layer", (0, model.cfg.n_layers - 1), "Layer", "Zero-based layer of the heads.", width=110)
        metric = choose_metric(view, chosen)
        shown = segmented(view, "shown", tuple(SHOWN), "Shown", SHOWN_HELP, format_func=SHOWN.get)
    show_ability(model, chosen)
    box = fold(view, "aligned", "The pairs, token under token")
    if box.open:
        with box:
            show_pairs(model, chosen)
    return Look(chosen, _experiment(view, chosen, metric, into, site), shown)


def site_names(site: str) -> str:
    """A site in words."""
    return (STREAM | HEAD)[site]


def _choose_site(view: ViewState, model: Any, cells: str) -> str:
    from lens.analysis.interventions import available_sites

    there = available_sites(model.cfg)
    name, words = ("stream", STREAM) if cells == "position" else ("part", HEAD)
    offered = tuple(site for site in words if site in there)
    return select(view, name, offered, "Replaced", SITE_HELP, format_func=words.get, width=200)


def _experiment(view: ViewState, chosen: Chosen, metric: Any, into: str, site: str) -> Any:
    from lens.analysis.interventions import Experiment, Grid, Intervention

    grids = {
        "position": Grid(("layer", "pos")),
        "head": Grid(("layer", "head")),
        "one": Grid(("head", "pos"), layer=int(view["layer"])),
    }
    return Experiment(chosen.pairs, Intervention(site, into=into), grids[view["cells"]], metric)
