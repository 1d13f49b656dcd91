"""Path patching: what every head, MLP and the embedding tells the chosen receivers directly, all in one sweep."""

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from lens.analysis.names import Head
from lens.figures.grid import grid
from lens.figures.measure import Measure
from lens.figures.theme import number as said
from lens.ui import parts
from lens.ui.calls import analyse, sweep
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.limits import limits
from lens.ui.models import source_of
from lens.ui.pages.patching import INPUTS
from lens.ui.pages.patching.map import head_of
from lens.ui.pages.patching.read import Found
from lens.ui.shared.tasks import METRICS
from lens.ui.store import to_numpy, to_torch
from lens.ui.view import ViewState
from lens.ui.widgets import segmented, text_line

N_SENDERS = 12
INPUT_HELP = (
    "What the direct path ends in. **Final stream:** what the logits are read from. **Queries, keys, values:** of the "
    "receivers."
)
RECEIVERS_HELP = (
    "Heads as layer.head with commas, such as 18.6, 17.3; all of them receive at once. Empty: the pinned heads; "
    "without pins, the head that is chosen in the map. Keys and values are those of the group a head belongs to. "
    "A click in the grid below selects a sender, a second one pins it; either writes the receivers here, so that they "
    "stay."
)
MISREADING = (
    "Only the sender's own write reaches the receiver: no head or MLP between them may react. So a component that acts "
    "through others shows nothing here, though its cell in the map is bright. Nor do single paths have to add up to "
    "all of them at once: the softmax and the norms are no sums."
)
FORMULA = r"x_R' = x_R + \left( w_S^{\text{other}} - w_S \right), \qquad \text{effect}_S = m(x_R') - m(x_R)"
WHERE = (
    "x_R is the stream that the receivers read, w_S what the sender writes into it, m the metric of a run in which "
    "only what the receivers make of x_R′ (their queries, keys or values, or the logits) is replaced. Sources: Wang et "
    "al. 2022, Goldowsky-Dill et al. 2023."
)


def show_paths(view: ViewState, model: Any, found: Found, chosen: tuple[int, int]) -> None:
    """The grid of all senders for the chosen receivers; it fills while it runs, and a click selects the sender."""
    from lens.analysis.interventions import Path

    through = segmented(view, "input", tuple(INPUTS), "Into", INPUT_HELP, format_func=INPUTS.get)
    experiment = found.look.experiment
    if experiment.metric.kind == "kl":
        parts.not_computed(f"{METRICS['kl'].lower()} is not offered for single paths. Choose another metric.")
        return
    heads = () if through == "final" else _choose_receivers(view, model, head_of(found, chosen))
    if heads is None:
        return
    receivers = received(model.cfg, through, heads)
    path = Path(experiment.pairs, through, receivers, None, experiment.metric, "other", found.look.into)
    into = INPUTS[through].lower() + ("" if through == "final" else " of " + _names(receivers))
    place = st.empty()

    def draw(meanwhile: Any) -> None:
        with place:
            parts.chart(_figure(view, meanwhile, into), "The senders so far")

    result = _compute(view, model, path, draw)
    if result is None:
        return
    figure = _figure(view, result, into)
    text = path_notice(result, into)
    with place.container():
        alt = f"{figure.layout.title.text}. {text}"
        parts.chart(figure, alt, "patching:paths", partial(_sender_clicked, view, heads))
    explain(view, model, Explanation(text, MISREADING, (), (("Sample", _sample(view, result)),), FORMULA, WHERE))
    rows = sender_table(result, path.metric.unit, N_SENDERS)
    st.dataframe(rows, hide_index=True, alt=f"Senders by their direct effect on the {into}")
    _take_away(view, result, figure, text)


def _choose_receivers(view: ViewState, model: Any, chosen: tuple[int, int] | None) -> tuple[Head, ...] | None:
    """The typed heads, else the pinned ones, else the one chosen in the map, else the current one; None: refused."""
    from lens.analysis.names import parse_heads

    first = view["pins"] or (Head(*(chosen or (view["layer"], view["head"]))),)
    typed = text_line(view, "receivers", "Receivers", RECEIVERS_HELP, width=420, placeholder=_names(first))
    try:
        heads = tuple(parse_heads(typed, model.cfg))
    except ValueError as error:
        parts.not_computed(f"the receivers cannot be read. {error}")
        return None
    return heads or tuple(first)


def received(cfg: Any, through: str, heads: tuple[Head, ...]) -> tuple[Head, ...]:
    """The receivers of these heads: themselves, or the groups that share their keys and values."""
    share = cfg.group_size if through in ("k", "v") else 1
    return tuple(dict.fromkeys(Head(layer, head // share) for layer, head in heads))


def _compute(view: ViewState, model: Any, path: Any, draw: Any) -> Any | None:
    """The effects as far as they are computed; None, with the reason, if none is."""
    from lens.analysis.interventions import path_group, path_outline, with_senders

    first = analyse(path_outline, model, path)
    if first.n_computed > limits().patched_rows:
        most = limits().patched_rows
        parts.not_computed(f"{first.n_computed:,} changed runs are needed, at most {most:,} here: use fewer pairs.")
        return None

    def filled(done: dict) -> Any:
        return with_senders(to_torch(first.empty), [part for group in done.values() for part in to_torch(group)])

    done = sweep(
        path_group,
        range(first.n_groups),
        model,
        path,
        show=lambda done: draw(filled(done)),
        estimate=first.seconds,
    )
    return filled(done.done) if done.done else None


def _figure(view: ViewState, result: Any, into: str) -> Any:
    from lens.analysis.interventions.path import path_effect, path_summary

    summary, unit = path_summary(result), result.path.metric.unit
    found = to_numpy(path_effect(result, view["seed"]))
    definition = (
        f"Change of the metric when only the direct path from a head to the {into} is patched. All senders at once: "
        f"{_with_unit(summary.together, unit)}."
    )
    measure = Measure("direct effect", definition, found.value, unit, found.low, found.high, signed=True)
    largest = max((abs(effect) for _, effect in summary.strongest), default=0) or 1.0  # beside MLPs and the embedding
    title = f"Direct paths into the {into}"
    return grid(measure, pinned=view["pins"], current=view.selected, title=title, ends=(-largest, largest))


def _sender_clicked(view: ViewState, heads: tuple[Head, ...], sender: tuple[int, ...]) -> None:
    """A click selects the sender, a second one pins it; the receivers, which may be either, stay what they were."""
    view.click(*sender)
    if heads:
        view.set(receivers=_names(heads))


def sender_table(result: Any, unit: str, most: int | None = None) -> pd.DataFrame:
    """The senders, the largest direct effect first."""
    from lens.analysis.interventions import senders_in_order

    rows = list(senders_in_order(result))[:most]
    names, effects = [sender_name(sender) for sender, _ in rows], [effect for _, effect in rows]
    return pd.DataFrame({"sender": names, f"direct effect ({unit})": effects})


def sender_name(sender: Any) -> str:
    """A component that writes, in words."""
    if sender.kind == "head":
        return f"head {sender.layer}.{sender.head}"
    return "embedding" if sender.kind == "embed" else f"MLP {sender.layer}"


def path_notice(result: Any, into: str) -> str:
    """The strongest senders, and how far all direct paths together go."""
    from lens.analysis.interventions.path import path_summary

    found, unit = path_summary(result), result.path.metric.unit
    if not found.acts:
        return f"No component changes the metric through a direct path into the {into}."
    top = ", ".join(f"{sender_name(sender)} ({said(effect)})" for sender, effect in found.strongest)
    return (
        f"Strongest direct senders into the {into}: {top}. All senders at once do {_with_unit(found.together, unit)}, "
        f"their single paths add up to {said(found.total)}; the two runs differ by {_with_unit(found.gap, unit)}."
        + (f" {found.n_missing} heads are not computed yet." if found.n_missing else "")
    )


def _with_unit(value: float, unit: str) -> str:
    return f"{said(value)} {unit}".strip()


def _sample(view: ViewState, result: Any) -> str:
    from lens.analysis.interventions import path_effect

    found = path_effect(result, view["seed"])
    note = f"{found.note[:1].upper()}{found.note[1:]}"
    return f"n = {found.n} pairs. {note}. Put in: what the sender wrote in the other run."


def _names(heads: tuple[Head, ...]) -> str:
    return ", ".join(f"{layer}.{head}" for layer, head in heads)


def _take_away(view: ViewState, result: Any, figure: Any, text: str) -> None:
    from lens.analysis.interventions import paths_to_python

    path = result.path
    payload = {
        name: to_numpy(getattr(result, name)) for name in ("heads", "mlps", "embed", "together", "base", "other")
    }
    payload |= {"input": path.input, "receivers": path.receivers, "unit": path.metric.unit, "notice": text}
    code = paths_to_python(source_of(view), path, view["revision"] or None, view["seed"])
    table = partial(sender_table, result, path.metric.unit)
    export(view, Export("paths", figure, table, payload, code, reads_prompt=False, opens_model=False))
