"""The same over many prompts of a task: means with intervals, beside the other run of each pair."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st
import torch

from lens.analysis.answer.direct_attribution import DirectAttribution, task_attribution
from lens.analysis.compare import difference_over_pairs
from lens.analysis.verdicts import mean_over_pairs, rounding_of, which_differ_from_zero
from lens.arrays import as_tensor
from lens.figures.bars import Bar, bars
from lens.figures.fitted import PHONE, narrow
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.calls import analyse, call_key, is_kept
from lens.ui.estimate import forward_seconds
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.pages.attribution import TASKS, prompts_compared
from lens.ui.shared.reasons import write_label
from lens.ui.shared.tasks import TaskChoice, choose_task, show_ability
from lens.ui.shared.wording import interval, sentence
from lens.ui.waiting import started

if TYPE_CHECKING:
    from lens.analysis.stats import Estimate
    from lens.ui.pages.attribution.request import Parts, Request
    from lens.ui.view import ViewState

DRAWN = 14  # parts with a bar of their own
WAIT = 5.0  # estimated seconds above which it waits for a click
SEVERAL = "some pairs have several right or wrong answers: the first of each is taken apart"
MISREADING = (
    "The mean over prompts hides a part that pushes one answer in half of them and the other in the rest. And what is "
    "beyond chance differs between the two runs of a pair; whether the model needs it, Ablation says."
)


class Over(NamedTuple):
    """Parts over the pairs of a task."""

    clean: DirectAttribution
    other: DirectAttribution  # the same answers in the pair's other run
    mean: "Estimate"  # [part]
    difference: "Estimate"  # clean minus other run, of heads and MLPs alone: intervals that hold all of them at once
    rounding: float

    @property
    def kept(self) -> list[int]:
        """Which parts are heads and MLPs."""
        return [at for at, write in enumerate(self.clean.writes) if write.kind in ("head", "mlp")]

    @property
    def beyond(self) -> dict[int, bool] | None:
        """Whether each of them differs between the two runs by more than sampling; None without intervals."""
        found = which_differ_from_zero(self.difference, self.rounding)
        return None if found is None else dict(zip(self.kept, found.tolist()))


def show_prompts(view: "ViewState", request: "Request", _: "Parts") -> None:
    """The tab: a task, the parts of its answers with intervals."""
    task = choose_task(view, request.model, TASKS)
    show_ability(request.model, task)
    if not task.pairs.answers:
        parts.not_computed("these pairs have no answers to attribute.")
        return
    n_tokens = 2 * len(task.pairs) * task.pairs.n_pos
    seconds = forward_seconds(request.model, n_tokens, unembed=False)
    args = (request.model, task.pairs, "corrupted")
    text = f"The answers of {len(task.pairs)} pairs are not taken apart yet."
    wait = seconds if seconds > WAIT else 0.0
    if not started(call_key(task_attribution, args, {}), wait, text, is_kept(task_attribution, *args)):
        return
    if any(len(ids) > 1 for ids in (*task.pairs.answers, *task.pairs.wrong)):
        view.note(SEVERAL)
    over = over_pairs(request, task, int(view["seed"]))
    unit = "logits" if task.pairs.wrong else "nats"
    figure = bars(
        task_bars(over),
        unit,
        title="Right answer minus wrong, mean over prompts" if task.pairs.wrong else "Log-probability of the answer",
        definition="Bars sum to the number. Diamond: the same answers in the pair's other run.",
        beside="other run",
    )
    parts.chart(narrow(figure, PHONE), notice(over, unit), key="attribution:prompts")
    sample = f"{task.description}, n = {len(task.pairs)} pairs. {sentence(over.difference.note.rstrip('.'))}"
    explain(view, None, Explanation(notice(over, unit), MISREADING, asides=(("Sample", sample),)))
    rows = table(over)
    parts.table(rows, "Every part over the prompts", height=300)
    beside = st.container()
    payload = {"task": sample, "notice": notice(over, unit), "parts": rows.to_dict("records")}
    payload |= {"value": over.clean.value, "other run": over.other.value}
    export(view, Export("attribution_over_prompts", figure, rows, payload, code(task), reads_prompt=False))
    prompts_compared.draw(view, beside, prompts_compared.Attributed(request.model, task, over.clean))


def over_pairs(request: "Request", task: TaskChoice, seed: int) -> Over:
    """Means, intervals, and what is beyond chance."""
    clean, other = (analyse(task_attribution, request.model, task.pairs, side) for side in ("clean", "corrupted"))
    values, control = (as_tensor(one.parts).T for one in (clean, other))  # [part, pair]
    mean = mean_over_pairs(values, task.pairs, seed)
    kept = torch.tensor([write.kind in ("head", "mlp") for write in clean.writes])
    difference = difference_over_pairs(control[kept], values[kept], task.pairs, seed)
    return Over(clean, other, mean, difference, rounding_of(values, control))


def task_bars(over: Over) -> list[Bar]:
    """The largest parts in the order of the forward pass, the others together, and the number."""
    mean, other = np.asarray(over.mean.mean, float), np.asarray(over.other.parts, float).mean(0)
    first = set(np.argsort(-np.abs(mean), kind="stable")[:DRAWN].tolist())
    rest = [at for at in range(len(mean)) if at not in first]
    rows = [
        Bar(
            write_label(over.clean.writes[at]), mean[at], *_ends(over, at), other[at], marked=bool(_is_beyond(over, at))
        )
        for at in sorted(first)
    ]
    if rest:
        rows.append(Bar(f"{len(rest)} others", mean[rest].sum(), beside=other[rest].sum()))
    whole = float(np.mean(over.clean.value))
    return [*rows, Bar("the model's number", whole, beside=float(np.mean(over.other.value)), whole=True)]


def _ends(over: Over, at: int) -> tuple[float | None, float | None]:
    return (None, None) if over.mean.low is None else (float(over.mean.low[at]), float(over.mean.high[at]))


def _difference(over: Over, at: int) -> list[float | None]:
    """By how much a head or an MLP differs between the two runs, with the ends of the interval."""
    place = over.kept.index(at) if at in over.kept else None
    mean, low, high, *_ = over.difference
    return [None if of is None or place is None else float(of[place]) for of in (mean, low, high)]


def _is_beyond(over: Over, at: int) -> bool | None:
    beyond = over.beyond
    return None if beyond is None else beyond.get(at, False)


def notice(over: Over, unit: str) -> str:
    """The number, its largest part with interval, and how many are beyond chance."""
    mean = np.asarray(over.mean.mean, float)
    kept, beyond = over.kept, over.beyond
    at = max(kept, key=lambda one: abs(mean[one]))
    value, other = (number(float(np.mean(one.value))) for one in (over.clean, over.other))
    text = (
        f"The number is {value} {unit} ({other} in the other run). The largest part of a head or MLP: "
        f"{write_label(over.clean.writes[at])} {number(mean[at])}{interval(*_ends(over, at))}. "
    )
    if beyond is None:
        return f"{text}Too few pairs for an interval, so no part is told from chance."
    return (
        f"{text}{sum(beyond.values())} of {len(kept)} heads and MLPs differ between the two runs by more than the "
        "sampling of pairs would make the largest of them differ (95%); outlined."
    )


def table(over: Over) -> pd.DataFrame:
    """One row per part; of heads and MLPs also by how much the two runs differ."""
    rows = [
        {
            "part": str(write),
            "mean": float(over.mean.mean[at]),
            **dict(zip(("CI low", "CI high"), _ends(over, at))),
            "other run": float(np.asarray(over.other.parts)[:, at].mean()),
            **dict(zip(("minus other run", "its CI low", "its CI high"), _difference(over, at))),
            "beyond chance": _is_beyond(over, at),
        }
        for at, write in enumerate(over.clean.writes)
    ]
    return pd.DataFrame(rows)


def code(task: TaskChoice) -> str:
    """The Python of the tab."""
    sides = ", ".join(f"{name}={getattr(task.pairs, name)!r}" for name in ("clean", "corrupted", "answers", "wrong"))
    return (
        "from lens.analysis.answer.direct_attribution import task_attribution\n"
        "from lens.analysis.interventions import Pairs\n\n"
        f"pairs = Pairs({sides})\n"
        'for side in ("clean", "corrupted"):\n'
        "    found = task_attribution(model, pairs, side)\n"
        '    print(side, float(found.value.mean()), "remainder", float(found.remainder.mean()))\n'
        "    for write, part in zip(found.writes, found.parts.mean(0).tolist()):\n"
        "        print(write, part)\n"
    )
