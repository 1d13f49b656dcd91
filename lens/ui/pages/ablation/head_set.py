"""A set of heads as an explanation: kept alone, removed, and what each member does in it, beside random sets."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd
from plotly.graph_objects import Figure

from lens.analysis.counts import counted
from lens.analysis.interventions import Share, head_sets, sets_to_python
from lens.analysis.interventions.head_sets import Faithfulness, HeadSets, faithfulness, nothing_to_explain, share_rows
from lens.analysis.names import Head, parse_heads
from lens.figures.effects import Mark, Named, Removal, effects
from lens.figures.fitted import narrow
from lens.figures.theme import number
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export
from lens.ui.models import source_of
from lens.ui.pages.ablation import words
from lens.ui.pages.ablation.request import Request
from lens.ui.shared import experiments
from lens.ui.shared.wording import percent, sentence
from lens.ui.view import ViewState
from lens.ui.widgets import text_line

SET_HELP = (
    "Heads as layer.head with commas, such as 18.6, 17.3. Empty: what is removed above, which for pinned heads is all "
    "pins."
)
WIDTH = 900  # pixels
AXIS = "share of what all heads do"
MARKS = (Mark(0.0, "no head works"), Mark(1.0, "all heads work"))
FORMULA = (
    r"F(W) = \frac{\sum_i m_i(W) - m_i(\varnothing)}{\sum_i m_i(H) - m_i(\varnothing)}, \qquad "
    r"\text{kept} = F(S), \quad \text{left} = F(H \setminus S), \quad \text{own}_h = F(S) - F(S \setminus \{h\})"
)
WHERE = (
    "H are all heads of the model, S the set, m(W) the metric when only the heads in W work and all others write what "
    "is put in their place; i numbers the pairs. MLPs and embeddings always work, on what then reaches them. Not "
    "clipped. Intervals: studentised bootstrap over pairs, frames and names resampled separately where there are both. "
    "Source: Wang et al. 2022 (faithfulness and minimality)."
)
MISREADING = (
    "A high share for the kept set does not say that it is the circuit: a larger set is almost always more faithful: "
    "compare with random sets of the same size only. And “enough” and “needed” are two questions: where others can do "
    "the same work, a set can be enough although without it nothing is lost; a set can be needed and far from enough."
)


def show_set(view: ViewState, model: HookedTransformer, request: Request) -> None:
    """Both figures, what they say, and their export."""
    target, cfg = request.cells.target, model.cfg
    typed = text_line(view, "members", "Set", SET_HELP, width=420, placeholder=target.label)
    try:
        heads = parse_heads(typed, cfg) or [Head(*head) for head in target.heads]
    except ValueError as error:
        parts.not_computed(f"the set cannot be read. {error}")
        return
    if not 0 < len(heads) < cfg.n_layers * cfg.n_heads:
        why = "an MLP is removed above, which is no set of heads" if not heads else "the set holds every head there is"
        parts.not_computed(f"{why}. Type the heads of the set, such as 0.1, 1.2.")
        return
    intervention = replace(request.experiment(view["put"]).intervention, site="z")
    sets = head_sets(cfg, request.task.pairs, heads, request.metric, intervention, view["seed"])
    sweep, complete, _ = experiments.run(model, sets.experiment)
    if not complete:
        return
    refused = analyse(nothing_to_explain, sweep, view["seed"])
    if refused:
        parts.not_computed(refused)
        return
    result = analyse(faithfulness, sets, sweep)
    figure, needed = whole_figure(sets, result, words.REPLACEMENTS[view["put"]]), own_words(sets, result)
    for key, drawn, text in (("set", figure, result.sentence), ("own", own_figure(sets, result), needed)):
        parts.chart(narrow(drawn, WIDTH), f"{drawn.layout.title.text}. {text}", key=f"ablation:{key}")
    sample = (("Sample", sample_words(request.metric.unit, sets, result)),)
    explain(view, model, Explanation((result.sentence, needed), MISREADING, (), sample, FORMULA, WHERE))
    _draw_export(view, sets, result, figure)


def whole_figure(sets: HeadSets, result: Faithfulness, replacement: str) -> Figure:
    """The set kept and the set removed, each beside random sets of its size."""
    name = _names(sets.heads)
    rows = [
        _row(label, name, share, zip((", ".join(map(str, drawn[:6])) for drawn in sets.random), shares))
        for label, share, shares in (
            ("Only these work", result.kept, result.random_kept),
            ("These removed", result.removed, result.random_removed),
        )
    ]
    definition = (
        f"What is left of the work of all heads. Diamond: {name}. Grey: {len(sets.random)} random sets of "
        f"{len(sets.heads)}, seed {sets.seed}. Put in place: {replacement.lower()}."
    )
    title = f"Is {name} enough, and is it needed?"
    return effects(rows, "", title=title, definition=definition, marks=MARKS, axis=AXIS)


def own_figure(sets: HeadSets, result: Faithfulness) -> Figure:
    """What each head does in the set, beside what one head from outside adds to it."""
    added = [(f"with {head}", share) for head, share in zip(sets.outsiders, result.added)]
    rows = [_row(str(head), f"without {head}", own, added) for head, own in zip(sets.heads, result.own)]
    definition = (
        "Diamond: how much less the kept set does without this head. Grey: how much more it does with one head from "
        f"outside, {len(added)} of them drawn, seed {sets.seed}."
    )
    return effects(rows, "", title=f"Each head's own share in {_names(sets.heads)}", definition=definition, axis=AXIS)


def _row(label: str, name: str, share: Share, controls: Iterable[tuple[str, float]]) -> Removal:
    points = [Named(name, float(value)) for name, value in controls]
    return Removal(label, Named(name, share.value), share.low, share.high, controls=points)


def _names(heads: Sequence[Head]) -> str:
    names = ", ".join(map(str, heads[:6]))
    return names if len(heads) <= 6 else f"{names} and {len(heads) - 6} more"


def own_words(sets: HeadSets, result: Faithfulness) -> str:
    """Which heads the set could do without."""
    if result.reach is None:
        return "No head is left outside, so what one head adds by chance is unknown."
    first = result.by_own[0]
    text = (
        f"The set loses most without {sets.heads[first]}: {words.share_words(result.own[first])} of what all heads do. "
        f"Of {len(result.added)} heads from outside, the best adds {percent(result.reach)}. "
    )
    idle = [str(sets.heads[i]) for i in result.idle]
    if not idle:
        return text + "Every head of the set does more than that: none is idle in it."
    do = "does" if len(idle) == 1 else "do"
    return text + f"{', '.join(idle)} {do} no more than that, as far as can be told: the set may not need it."


def sample_words(unit: str, sets: HeadSets, result: Faithfulness) -> str:
    """n, the metric at both ends, and how the intervals were made."""
    return (
        f"n = {counted(result.n, 'pair')}. Metric ({unit}): {number(result.all_heads)} with all heads, "
        f"{number(result.no_heads)} with none. Null: {len(sets.random)} random sets of {len(sets.heads)} and "
        f"{len(sets.outsiders)} outside heads, seed {sets.seed}. {sentence(result.note)}"
    )


def _draw_export(view: ViewState, sets: HeadSets, result: Faithfulness, figure: Figure) -> None:
    numbers = pd.DataFrame(share_rows(sets, result), columns=["what", "heads", AXIS, "CI low", "CI high"])
    payload = {"set": numbers["heads"][0], "seed": sets.seed, "n": result.n, "note": result.note}
    payload |= {"notice": result.sentence, "all_heads": result.all_heads, "no_heads": result.no_heads}
    payload |= {"numbers": numbers.to_dict("records")}
    code = sets_to_python(source_of(view), sets, view["revision"] or None)
    export(view, Export("ablation-set", figure, numbers, payload, code, reads_prompt=False, opens_model=False))
