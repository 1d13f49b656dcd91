"""Self-repair: what each head does by itself against what is lost without it, who makes up for one, and pairs."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure

from lens.analysis.answer.self_repair import (
    MOST_PAIRED,
    Interaction,
    Part,
    SelfRepair,
    Split,
    direct_paths_of,
    interactions,
    largest_parts,
    self_repair,
    split,
    two_by_two,
    why_not,
)
from lens.analysis.counts import counted
from lens.analysis.interventions import Metric, PathSweep, Share, effect, path_effect, repair_to_python
from lens.analysis.interventions.results import Effect
from lens.analysis.names import Head
from lens.figures.bars import Bar, bars
from lens.figures.fitted import narrow
from lens.figures.measure import Measure
from lens.figures.scatter import scatter
from lens.figures.theme import number as written
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.models import source_of
from lens.ui.pages.ablation import words
from lens.ui.pages.ablation.request import Request
from lens.ui.shared import experiments, heads
from lens.ui.shared.reasons import write_label
from lens.ui.shared.wording import interval, sentence, signed
from lens.ui.store import to_numpy
from lens.ui.view import ViewState

WIDTH = 340  # pixels of a column on a telephone
LARGEST = 3  # parts that the sentence names
MOST_BARS = 8  # later parts with a bar of their own
DIRECT = "Change of the metric if only the head's write to the final stream is replaced, at the old final scale."
TOTAL = "Change when the head is replaced and everything after it reacts."
STRAIGHT = (
    "logit_diff",
    "logit",
)  # kinds of metric in which effects of two heads that know nothing of each other add up
SATURATING = ("prob", "prob_diff")  # those that also bend the other way
MISREADING = (
    "A point off the diagonal is not self-repair by itself: a head that works through later ones has a total effect "
    "and no direct one. Nor does compensation mean that something watches for the loss of a head: a norm that divides "
    "by less compensates for any head that wrote much, and a part may react to what was put in place of the head."
)
FORMULA = (
    r"\mathrm{TE}_h - \mathrm{DE}_h = \sum_{c > h} \big(w_c' - w_c\big) \cdot \bar g \; + \; "
    r"m(x', \sigma') - m(x', \sigma), \qquad \mathrm{DE}_h = m(x + w_h' - w_h, \sigma) - m(x, \sigma)"
)
WHERE = (
    "x is the final stream, σ what the final norm divides by, w_c what part c writes, m the metric; a prime marks the "
    "run without the head. ḡ is the slope of the metric at σ: of a logit one number, of a loss or probability its mean "
    "on the straight way from x + w_h′ − w_h to x′, so that all parts sum up. A norm after attention belongs to the "
    "write. Sources: McGrath et al. 2023; Rushing and Nanda 2024; Sundararajan et al. 2017 (the mean slope)."
)
CLICKS = "A click on a point takes that head apart, a second one pins it; pinned heads are removed two by two."


def show_repair(view: ViewState, model: HookedTransformer, request: Request) -> None:
    """The scatter of all heads, the chosen one taken apart, pinned heads two by two, what they say, and the export."""
    if why := why_not(request.metric):
        parts.not_computed(f"{why}. Choose another metric.")
        return
    place, experiment, seed = st.empty(), request.heads(view["put"]), view["seed"]
    removed = experiments.run(model, experiment)
    if not removed.complete:
        return
    total = effect(removed.sweep, seed)

    def draw(paths: PathSweep) -> None:
        with place:
            drawn = _scatter(view, request, to_numpy(path_effect(paths, seed)), to_numpy(total), None)
            parts.chart(drawn, "The heads computed so far")

    direct = experiments.run(model, direct_paths_of(request.task.pairs, request.metric, view["put"]), draw)
    if not direct.complete:
        return
    found = analyse(self_repair, direct.sweep, removed.sweep, seed)
    head = view.selected or _first(found)
    apart = analyse(split, model, experiment, head)
    largest = tuple(Part(*part) for part in analyse(largest_parts, apart, request.task.pairs, LARGEST, seed))
    share = apart.share(request.task.pairs, seed) if found.verdict(head).found else None
    figure, text = _scatter(view, request, found.direct, found.total, head), all_words(found, request.measure)
    with place.container():
        left, right = st.columns([1.25, 1], gap="medium")
    with left:
        alt = f"{figure.layout.title.text}. {text}"
        parts.chart(figure, alt, "ablation:repair", lambda cell: view.click(*cell))
    with right:
        one = head_words(found, apart, largest, share, request.metric.unit)
        parts.chart(narrow(_bars(apart, request.metric.unit), WIDTH), one, "ablation:compensation")
        heads.pin_button(view, head, "ablation:repair-pin")
    pairs = _interactions(view, model, request)
    asides = (("Pairs", pair_words(pairs, found, request.metric)), ("Clicks", CLICKS))
    sample = f"n = {counted(found.direct.n, 'pair')}. {sentence(found.note)} Put in place: {_put(view)}."
    explain(view, model, Explanation((text, one), MISREADING, asides, (("Sample", sample),), FORMULA, WHERE))
    if len(pairs) > 1:
        parts.table(pair_rows(pairs), "Every two pinned heads, removed together and alone")
    _draw_export(view, request, found, apart, pairs, figure, (text, one))


def _first(found: SelfRepair) -> Head:
    """The head that most is made up for, else the one that does most by itself."""
    size = np.abs(np.asarray(found.direct.value))
    made_up = np.zeros(size.shape, bool) if found.compensated is None else np.asarray(found.compensated)
    if made_up.any():
        size = np.where(made_up, np.abs(np.asarray(found.rest.value)), -1)
    return Head(*(int(i) for i in np.unravel_index(int(size.argmax()), size.shape)))


def _scatter(view: ViewState, request: Request, direct: Effect, total: Effect, head: Head | None) -> Figure:
    ends = {"unit": request.metric.unit, "signed": True}
    x = Measure("direct effect", DIRECT, direct.value, low=direct.low, high=direct.high, **ends)
    y = Measure("total effect", TOTAL, total.value, low=total.low, high=total.high, **ends)
    title = "Each head: total against direct effect"
    return narrow(scatter(x, y, pinned=view["pins"], current=head, title=title, diagonal=True), WIDTH)


def rows_of(apart: Split) -> list[Bar]:
    """The waterfall from the direct effect to the total one: the largest later parts, the others, the final scale."""
    values = np.asarray(apart.parts).mean(-1) if len(apart.writes) else np.zeros(0)
    own = set(np.argsort(-np.abs(values), kind="stable")[:MOST_BARS].tolist())
    rows = [Bar("direct effect", float(np.mean(apart.direct)), whole=True)]
    rows += [Bar(write_label(apart.writes[at]), float(values[at])) for at in sorted(own)]
    for name, kind in (("heads", "head"), ("MLPs", "mlp")):
        rest = [at for at, write in enumerate(apart.writes) if write.kind == kind and at not in own]
        if rest:
            label = f"{len(rest)} other {name}" if len(rest) > 1 else write_label(apart.writes[rest[0]])
            rows.append(Bar(label, float(values[rest].sum())))
    rows.append(Bar("final scale", float(np.mean(apart.scale))))
    left = float(np.asarray(apart.remainder).mean())
    rows += [Bar("remainder", left)] if abs(left) > 1e-4 * abs(float(np.mean(apart.total))) else []
    return [*rows, Bar("total effect", float(np.mean(apart.total)), whole=True)]


def _bars(apart: Split, unit: str) -> Figure:
    definition = "By how much each later part's own direct effect changes, mean over pairs."
    title = f"Without {apart.head}: from its direct effect to the total one"
    return bars(rows_of(apart), unit, title=title, definition=definition, running=True)


def all_words(found: SelfRepair, measure: str) -> str:
    """How many heads are compensated for, and how many work through others."""
    n = np.asarray(found.direct.value).size
    if found.compensated is None:
        return (
            f"Whether any of {n} heads is compensated for cannot be told: {found.note.removeprefix('no interval: ')}."
        )
    if not found.gap.found:
        return f"There is nothing that later parts could compensate for: {found.gap.verdict.reason}."
    own, others = (int(np.asarray(mask).sum()) for mask in (found.compensated, found.through_others))
    text = f"None of {n} heads is compensated for beyond chance."
    if own:
        text = (
            f"{own} of {n} heads {'is' if own == 1 else 'are'} compensated for beyond chance"
            f"{_names(found.compensated)}: without them later parts move the {measure} the other way than the loss "
            "of their own writes does."
        )
    if not others:
        return text
    return (
        f"{text} For {others} other {'head' if others == 1 else 'heads'} what comes after has an effect beyond chance"
        f"{_names(found.through_others)} without being that: they work through later parts."
    )


def _names(mask: np.ndarray, most: int = 6) -> str:
    cells = np.argwhere(np.asarray(mask)).tolist()
    more = f" and {len(cells) - most} more" if len(cells) > most else ""
    return f" ({', '.join(f'{layer}.{head}' for layer, head in cells[:most])}{more})" if cells else ""


def parts_words(largest: tuple[Part, ...]) -> str:
    """The largest parts of the difference with their intervals; "" where too few pairs carry any."""
    if not largest:
        return ""
    names = ["final scale" if part.write is None else write_label(part.write) for part in largest]
    listed = ", ".join(
        f"{name} {signed(part.value)}{interval(part.low, part.high)}{'' if part.beyond else ' (within chance)'}"
        for name, part in zip(names, largest)
    )
    return f"The largest parts: {listed}. "


def head_words(found: SelfRepair, apart: Split, largest: tuple[Part, ...], share: Share | None, unit: str) -> str:
    """The chosen head: both effects, the largest parts of the difference, and whether that makes up for it."""
    direct, total, rest = (_at(one, apart.head) for one in (found.direct, found.total, found.rest))
    text = f"Head {apart.head} does {direct} {unit} by its own write, and {total} in all: what comes after it does "
    text += f"{rest}. "
    verdict = found.verdict(apart.head)
    if found.through_others is None or verdict.found or found.through_others[apart.head]:
        text += parts_words(largest)
    if share is not None:
        return f"{text}They compensate for {words.share_words(share)} of its direct effect."
    return text + ("No verdict: " if verdict.state == "unknown" else "Not compensated for: ") + f"{verdict.reason}."


def _at(one: Effect, head: Head) -> str:
    low, high = (None if end is None else float(end[head]) for end in (one.low, one.high))
    return f"{written(float(one.value[head]))}{interval(low, high)}"


def _interactions(view: ViewState, model: HookedTransformer, request: Request) -> tuple[Interaction, ...]:
    if len(view["pins"]) < 2:
        return ()
    sweep, complete, _ = experiments.run(model, two_by_two(request.heads(view["put"]), view["pins"]))
    return tuple(analyse(interactions, sweep, view["seed"])) if complete else ()


def pair_words(pairs: tuple[Interaction, ...], found: SelfRepair, metric: Metric) -> str:
    """What removing two pinned heads together does beyond the sum of each alone."""
    if not pairs:
        return "Pin two heads to see whether they stand in for each other: joint effect minus the sum of each alone."
    first = max(pairs, key=lambda pair: abs(pair.extra))
    text = (
        "" if len(pairs) == 1 else f"Of {len(pairs)} pairs of pinned heads (the first {MOST_PAIRED} pins) the largest: "
    )
    text += (
        f"{first.heads[0]} and {first.heads[1]} together {written(first.together)}, the sum of each alone "
        f"{written(first.sum_alone)}: {written(first.extra)}{interval(first.low, first.high)} {metric.unit} "
        "beyond the sum. "
    )
    if first.beyond is None:
        return f"{text}Too few pairs of prompts for a verdict."
    if not found.gap.found:
        return f"{text}There is nothing they could stand in for: {found.gap.verdict.reason}."
    if not first.beyond:
        return f"{text}No more than the sampling of pairs would make."
    more, curve = (first.extra > 0) == (found.gap.mean > 0), "in this unit that can be the curve of the softmax"
    if more and metric.kind not in STRAIGHT:
        return f"{text}More than the sum; {curve}. Logits would show whether they stand in for each other."
    if not more and metric.kind in SATURATING:
        return f"{text}Less than the sum; {curve}."
    if more:
        return f"{text}They stand in for each other: while one is left, it does work of the other."
    return f"{text}Less than the sum: they are links of one path, and losing one already loses the other."


def pair_rows(pairs: tuple[Interaction, ...]) -> pd.DataFrame:
    """One row for every two heads."""
    rows = [(f"{one.heads[0]}, {one.heads[1]}", *one[1:6], one.beyond) for one in pairs]
    names = ["heads", "together", "sum of each alone", "beyond the sum", "CI low", "CI high", "beyond chance"]
    return pd.DataFrame(rows, columns=names)


def head_rows(found: SelfRepair) -> pd.DataFrame:
    """One row per head: both effects and their difference with intervals, and what is said of it."""
    shape = np.asarray(found.direct.value).shape
    rows = []
    for cell in np.ndindex(*shape):
        row = {"head": str(Head(*cell))}
        for name, one in (("direct", found.direct), ("total", found.total), ("total − direct", found.rest)):
            ends = (None, None) if one.low is None else (float(one.low[cell]), float(one.high[cell]))
            row |= dict(zip((name, f"{name} CI low", f"{name} CI high"), (float(one.value[cell]), *ends)))
        rows.append(row | {"compensated": None if found.compensated is None else bool(found.compensated[cell])})
    return pd.DataFrame(rows)


def _put(view: ViewState) -> str:
    return words.REPLACEMENTS[view["put"]].lower()


def _draw_export(
    view: ViewState,
    request: Request,
    found: SelfRepair,
    apart: Split,
    pairs: tuple[Interaction, ...],
    figure: Figure,
    notices: tuple[str, ...],
) -> None:
    payload = {"unit": request.metric.unit, "seed": int(view["seed"]), "n": found.direct.n, "note": found.note}
    payload |= {"notice": " ".join(notices), "head": str(apart.head), "put in place": _put(view)}
    payload |= {"parts": {row.label: row.value for row in rows_of(apart)}, "pairs": pair_rows(pairs).to_dict("records")}
    pins, revision = list(view["pins"][:MOST_PAIRED]), view["revision"] or None
    code = repair_to_python(
        source_of(view), request.heads(view["put"]), apart.head, pins if pairs else [], revision, int(view["seed"])
    )
    rows = partial(head_rows, found)
    export(view, Export("self-repair", figure, rows, payload, code, reads_prompt=False, opens_model=False))
