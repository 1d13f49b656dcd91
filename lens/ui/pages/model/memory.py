"""The Model page: what a prompt of any length takes in memory, and whether it fits on this machine."""

from typing import Any

import pandas as pd
import streamlit as st

from lens.analysis.memory import Activation, Forecast, activations, forecast
from lens.figures.facts import Verdict, size, verdicts
from lens.load.ram import MachineMemory, machine_memory
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.limits import limits
from lens.ui.pages.model import DTYPES
from lens.ui.view import ViewState
from lens.ui.widgets import number, segmented

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


def show_memory(view: ViewState, model: Any) -> None:
    """The whole tab."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        number(view, "length", (1, model.cfg.n_ctx), "Tokens", "Length of each prompt, BOS counted.", width=140)
        number(view, "batch", (1, MOST_BATCH), "Prompts", "How many prompts are read together.", width=140)
        dtype_help = "Number format of weights and activations; norms keep their scale in float32 in all of them."
        segmented(view, "dtype", DTYPES, "Number format", dtype_help)
    dtype = _dtype(view["dtype"])
    found = analyse(forecast, model, view["batch"], view["length"], dtype)
    rows = analyse(activations, model.cfg, view["batch"], view["length"], dtype)
    machine = machine_memory()
    st.html(verdicts(lines(found, machine), "Memory, forecast from the shapes"))
    table = by_kind(rows)
    _table(table)
    explain(view, model, Explanation(notice(view, found, table, machine), MISREADING, formula=FORMULA, where=WHERE))
    payload = {**found._asdict(), "total": found.total, "machine": machine._asdict()}
    export(view, Export("memory", verdicts(lines(found, machine), "Memory"), table, payload, code(view), False))


def code(view: ViewState) -> str:
    """The Python that forecasts again."""
    return (
        "import torch\n\nfrom lens.analysis.memory import forecast\n\n"
        f"print(forecast(model, batch={view['batch']}, pos={view['length']}, dtype=torch.{view['dtype']}))"
    )


def _dtype(name: str) -> Any:
    from lens.load.device import pick_dtype

    return pick_dtype(name)


def lines(found: Forecast, machine: MachineMemory) -> list[Verdict]:
    """What is needed, line by line, and how it compares with what is free."""
    rows = [
        Verdict("weights", "none", "", size(found.weights), "All weights in this format"),
        Verdict("run_with_cache", "none", "", size(found.cache), "All activations that a cache keeps"),
        Verdict("logits", "none", "", size(found.logits), "Of every position; pages that need one position skip most"),
        Verdict("keys and values", "none", "", size(found.key_values), "What generating keeps in place of a cache"),
    ]
    total = f"{size(found.total)}"
    fits = found.total < machine.available
    free = f"weights, cache and logits; {size(machine.available)} are free now"
    whole = f" of {size(machine.total)}"
    return [*rows, Verdict("total", "good" if fits else "bad", "fits" if fits else "too large", total, free + whole)]


def by_kind(rows: list[Activation]) -> pd.DataFrame:
    """The activations that a cache keeps, layers taken together, largest first."""
    kept = [row for row in rows if not row.on_request]
    kinds: dict[str, list[Activation]] = {}
    for row in kept:
        kinds.setdefault(_kind(row.name), []).append(row)
    frame = pd.DataFrame(
        [
            (name, len(group), str(list(group[0].shape)), sum(one.bytes for one in group))
            for name, group in kinds.items()
        ],
        columns=["activation", "places", "shape", "bytes"],
    )
    frame["share"] = frame["bytes"] / max(1, frame["bytes"].sum())
    return frame.sort_values("bytes", ascending=False, ignore_index=True)


def _kind(name: str) -> str:
    return ".".join("L" if part.isdigit() else part for part in name.split("."))


def _table(table: pd.DataFrame) -> None:
    config = {
        "activation": st.column_config.TextColumn(help="Name, L for every layer", width=240),
        "places": st.column_config.NumberColumn(help="Layers that have it", width=70),
        "shape": st.column_config.TextColumn(help="Of one of them"),
        "bytes": st.column_config.NumberColumn(format="bytes", help="Of all of them; 0: the tensor before it"),
        "share": st.column_config.ProgressColumn(format="percent", help="Of the cache", min_value=0, max_value=1),
    }
    st.dataframe(table, hide_index=True, column_config=config, height=300, alt="Activations by size, largest first")


def notice(view: ViewState, found: Forecast, table: pd.DataFrame, machine: MachineMemory) -> str:
    """What to see, from the numbers."""
    first, text = table.iloc[0], "prompt" if view["batch"] == 1 else "prompts"
    words = (
        f"Keeping all activations of {view['batch']:,} {text} of {view['length']:,} tokens takes {size(found.cache)}, "
        f"{found.cache / found.weights:.2g} times the weights; {first['activation']} alone is {first['share']:.0%} of "
        "that."
    )
    share = found.total / machine.available
    fits = f"With the weights that is {share:.0%} of what is free" if share < 1 else "With the weights that is too much"
    most = f" A page reads at most {limits().prompt_tokens:,} tokens."
    return f"{words} {fits}.{most}"
