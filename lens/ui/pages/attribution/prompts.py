"""The same over many prompts of a task: means with intervals, beside the other run of each pair."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch

from lens.analysis.answer.direct_attribution import DirectAttribution, task_attribution
from lens.analysis.interventions.ablation import reach_by_chance
from lens.analysis.verdicts import mean_over_pairs, rounding_of
from lens.figures.bars import Bar, bars
from lens.figures.fitted import narrow
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.calls import analyse, call_key, is_kept
from lens.ui.estimate import forward_seconds
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.pages.attribution import TASKS
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
    beyond: np.ndarray | None  # [part], of heads and MLPs: clean minus other, farther from 0 than any gets by sampling
    note: str


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
    parts.chart(narrow(figure, 760), notice(over, unit), key="attribution:prompts")
    sample = f"{task.description}, n = {len(task.pairs)} pairs. {sentence(over.note.rstrip('.'))}"
    explain(view, None, Explanation(notice(over, unit), MISREADING, asides=(("Sample", sample),)))
    rows = table(over)
    parts.table(rows, "Every part over the prompts", height=300)
    payload = {"task": sample, "notice": notice(over, unit), "parts": rows.to_dict("records")}
    payload |= {"value": over.clean.value, "other run": over.other.value}
    export(view, Export("attribution_over_prompts", figure, rows, payload, code(task), reads_prompt=False))


def over_pairs(request: "Request", task: TaskChoice, seed: int) -> Over:
    """Means, intervals, and what is beyond chance."""
    clean, other = (analyse(task_attribution, request.model, task.pairs, side) for side in ("clean", "corrupted"))
    values, control = (torch.as_tensor(np.array(one.parts)).T for one in (clean, other))  # [part, pair]
    mean = mean_over_pairs(values, task.pairs, seed)
    kept = torch.tensor([write.kind in ("head", "mlp") for write in clean.writes])
    change = (values - control)[kept]
    chance = reach_by_chance(change, task.pairs, rounding_of(values, control), seed)
    beyond = None
    if chance.reach is not None:
        beyond = np.zeros(len(values), bool)
        beyond[kept.numpy()] = (change.mean(-1).abs() > chance.reach).numpy()
    return Over(clean, other, mean, beyond, chance.note)


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


def _is_beyond(over: Over, at: int) -> bool | None:
    return None if over.beyond is None else bool(over.beyond[at])


def notice(over: Over, unit: str) -> str:
    """The number, its largest part with interval, and how many are beyond chance."""
    mean = np.asarray(over.mean.mean, float)
    kept = [at for at, write in enumerate(over.clean.writes) if write.kind in ("head", "mlp")]
    at = max(kept, key=lambda one: abs(mean[one]))
    value, other = (number(float(np.mean(one.value))) for one in (over.clean, over.other))
    text = (
        f"The number is {value} {unit} ({other} in the other run). The largest part of a head or MLP: "
        f"{write_label(over.clean.writes[at])} {number(mean[at])}{interval(*_ends(over, at))}. "
    )
    if over.beyond is None:
        return f"{text}Too few pairs for an interval, so no part is told from chance."
    return (
        f"{text}{int(over.beyond.sum())} of {len(kept)} heads and MLPs differ between the two runs by more than the "
        "sampling of pairs would make the largest of them differ (95%); outlined."
    )


def table(over: Over) -> pd.DataFrame:
    """One row per part."""
    rows = [
        {
            "part": str(write),
            "mean": float(over.mean.mean[at]),
            **dict(zip(("CI low", "CI high"), _ends(over, at))),
            "other run": float(np.asarray(over.other.parts)[:, at].mean()),
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
