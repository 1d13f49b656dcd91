"""The Model page: what a prompt of any length takes in memory, and whether it fits on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from lens.analysis.memory import Forecast, activations, by_kind, forecast
from lens.figures.facts import Verdict, size, verdicts
from lens.load.device import pick_dtype
from lens.load.ram import MachineMemory, machine_memory
from lens.ui.calls import analyse
from lens.ui.limits import limits
from lens.ui.outcome import Explanation, Export, Outcome
from lens.ui.pages.model import DTYPES
from lens.ui.widgets import number, segmented

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState

MOST_BATCH = 4096
MISREADING = (
    "This is what is held when the run is over. While it runs, a layer needs room for its own intermediate results "
    "beside that, and on a processor the softmax in half precision is taken in float32. A cache of a few names "
    "(names_filter) holds only those: what a page of Lens reads is a small part of the whole."
)
FORMULA = (
    r"\text{bytes} = \sum_{\text{hook points}} \text{batch} \cdot \text{pos} \cdot \dots \cdot \text{bytes per number}"
)
WHERE = (
    "One term for every hook point, with the shape that a run of the model's own forward pass gives it; a stream that "
    "goes unchanged from one layer to the next is counted once. Patterns grow with the square of the length."
)


def draw(view: ViewState, model: HookedTransformer) -> Outcome:
    """The whole tab."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        number(view, "length", (1, model.cfg.n_ctx), "Tokens", "Length of each prompt, BOS counted.", width=140)
        number(view, "batch", (1, MOST_BATCH), "Prompts", "How many prompts are read together.", width=140)
        dtype_help = "Number format of weights and activations; norms keep their scale in float32 in all of them."
        segmented(view, "dtype", DTYPES, "Number format", dtype_help)
    batch, pos, dtype = view["batch"], view["length"], pick_dtype(view["dtype"])
    needed, machine = analyse(forecast, model, batch, pos, dtype), machine_memory()
    st.html(verdicts(lines(needed, machine), "Memory, forecast from the shapes"))
    kinds = by_kind(analyse(activations, model.cfg, batch, pos, dtype))
    table = pd.DataFrame(kinds).rename(columns={"name": "activation"})
    table["shape"] = [str(list(kind.shape)) for kind in kinds]
    table["share"] = table["bytes"] / max(1, table["bytes"].sum())
    _draw_table(table)
    payload = {**needed._asdict(), "total": needed.total, "machine": machine._asdict()}
    files = Export("memory", verdicts(lines(needed, machine), "Memory"), table, payload, code(view), reads_prompt=False)
    return Outcome(Explanation(notice(view, needed, table, machine), MISREADING, formula=FORMULA, where=WHERE), files)


def code(view: ViewState) -> str:
    """The Python that forecasts again."""
    return (
        "import torch\n\nfrom lens.analysis.memory import forecast\n\n"
        f"print(forecast(model, batch={view['batch']}, pos={view['length']}, dtype=torch.{view['dtype']}))"
    )


def lines(needed: Forecast, machine: MachineMemory) -> list[Verdict]:
    """What is needed, line by line, and how it compares with what is free."""
    of_each = (
        ("weights", needed.weights, "All weights in this format"),
        ("run_with_cache", needed.cache, "All activations that a cache keeps"),
        ("logits", needed.logits, "Of every position; pages that need one position skip most"),
        ("keys and values", needed.key_values, "What generating keeps in place of a cache"),
    )
    state, word = ("good", "fits") if needed.total < machine.available else ("bad", "too large")
    free = f"weights, cache and logits; {size(machine.available)} are free now of {size(machine.total)}"
    rows = [Verdict(name, "none", "", size(n_bytes), meaning) for name, n_bytes, meaning in of_each]
    return [*rows, Verdict("total", state, word, size(needed.total), free)]


def _draw_table(table: pd.DataFrame) -> None:
    config = {
        "activation": st.column_config.TextColumn(help="Name, L for every layer", width=240),
        "places": st.column_config.NumberColumn(help="Layers that have it", width=70),
        "shape": st.column_config.TextColumn(help="Of one of them"),
        "bytes": st.column_config.NumberColumn(format="bytes", help="Of all of them; 0: the tensor before it"),
        "share": st.column_config.ProgressColumn(format="percent", help="Of the cache", min_value=0, max_value=1),
    }
    st.dataframe(table, hide_index=True, column_config=config, height=300, alt="Activations by size, largest first")


def notice(view: ViewState, needed: Forecast, table: pd.DataFrame, machine: MachineMemory) -> str:
    """What to see, from the numbers."""
    first, text = table.iloc[0], "prompt" if view["batch"] == 1 else "prompts"
    words = (
        f"Keeping all activations of {view['batch']:,} {text} of {view['length']:,} tokens takes {size(needed.cache)}, "
        f"{needed.cache / needed.weights:.2g} times the weights; {first['activation']} alone is {first['share']:.0%} "
        "of that."
    )
    share = needed.total / machine.available
    fits = f"With the weights that is {share:.0%} of what is free" if share < 1 else "With the weights that is too much"
    most = f" A page reads at most {limits().prompt_tokens:,} tokens."
    return f"{words} {fits}.{most}"
