"""A set of heads as an explanation: kept alone, removed, and what each member does in it, beside random sets."""

from dataclasses import replace
from typing import Any

import pandas as pd

from lens.ui import parts
from lens.ui.explanation import Explanation, explain
from lens.ui.models import source_of
from lens.ui.pages.ablation import words
from lens.ui.pages.ablation.read import Asked
from lens.ui.shared import experiments
from lens.ui.view import ViewState
from lens.ui.widgets import text_line

SET_HELP = (
    "Heads as layer.head with commas, such as 18.6, 17.3. Empty: what is removed above, which for pinned heads is all "
    "pins."
)
WIDTH = 900  # pixels
AXIS = "share of what all heads do"
MARKS = ((0.0, "no head works"), (1.0, "all heads work"))
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


def show_set(view: ViewState, model: Any, asked: Asked) -> None:
    """Both figures, what they say, and their export."""
    from lens.analysis.interventions import faithfulness, nothing_to_explain
    from lens.analysis.names import Head, parse_heads

    typed = text_line(view, "members", "Set", SET_HELP, width=420, placeholder=asked.cells.target.label)
    try:
        chosen = parse_heads(typed, model.cfg) or [Head(*head) for head in asked.cells.target.heads]
    except ValueError as error:
        parts.not_computed(f"the set cannot be read. {error}")
        return
    n_heads = model.cfg.n_layers * model.cfg.n_heads
    if not 0 < len(chosen) < n_heads:
        why = "an MLP is removed above, which is no set of heads" if not chosen else "the set holds every head there is"
        parts.not_computed(f"{why}. Type the heads of the set, such as 0.1, 1.2.")
        return
    sets = _sets(view, model, asked, chosen)
    result, complete = experiments.run(model, sets.experiment)
    if not complete:
        return
    refused = nothing_to_explain(result, view["seed"])
    if refused:
        parts.not_computed(refused)
        return
    found = faithfulness(sets, result)
    _show(view, model, asked, sets, found)
    _take_away(view, sets, found)


def _sets(view: ViewState, model: Any, asked: Asked, chosen: list[Any]) -> Any:
    from lens.analysis.interventions import head_sets

    intervention = replace(asked.experiment(view["put"]).intervention, site="z")
    return head_sets(model.cfg, asked.task.pairs, chosen, asked.metric, intervention, view["seed"])


def _show(view: ViewState, model: Any, asked: Asked, sets: Any, found: Any) -> None:
    from lens.figures.fitted import narrow

    figure, own = whole_figure(sets, found, words.PUTS[view["put"]]), own_figure(sets, found)
    parts.chart(narrow(figure, WIDTH), f"{figure.layout.title.text}. {found.sentence}", key="ablation:set")
    needed = own_words(sets, found)
    parts.chart(narrow(own, WIDTH), f"{own.layout.title.text}. {needed}", key="ablation:own")
    sample = (("Sample", sample_words(asked, sets, found)),)
    explain(view, model, Explanation((found.sentence, needed), MISREADING, (), sample, FORMULA, WHERE))


def whole_figure(sets: Any, found: Any, put: str) -> Any:
    """The set kept and the set removed, each beside random sets of its size."""
    rows = [
        _row("Only these work", _names(sets), found.kept, _random(sets, found.random_kept)),
        _row("These removed", _names(sets), found.removed, _random(sets, found.random_removed)),
    ]
    definition = (
        f"What is left of the work of all heads. Diamond: {_names(sets)}. Grey: {len(sets.random)} random sets of "
        f"{len(sets.heads)}, seed {sets.seed}. Put in place: {put.lower()}."
    )
    return _effects(rows, f"Is {_names(sets)} enough, and is it needed?", definition, MARKS)


def own_figure(sets: Any, found: Any) -> Any:
    """What each head does in the set, beside what one head from outside adds to it."""
    added = [(f"with {head}", float(share)) for head, share in zip(sets.outsiders, found.added)]
    rows = [_row(str(head), f"without {head}", own, added) for head, own in zip(sets.heads, found.own)]
    definition = (
        "Diamond: how much less the kept set does without this head. Grey: how much more it does with one head from "
        f"outside, {len(added)} of them drawn, seed {sets.seed}."
    )
    return _effects(rows, f"Each head's own share in {_names(sets)}", definition, [])


def _effects(rows: list[Any], title: str, definition: str, marks: Any) -> Any:
    from lens.figures.effects import Mark, effects

    marks = [Mark(*mark) for mark in marks]
    return effects(rows, "", title=title, definition=definition, marks=marks, axis=AXIS)


def _row(label: str, name: str, share: Any, controls: list[tuple[str, float]]) -> Any:
    from lens.figures.effects import Named, Removal

    points = [Named(*one) for one in controls]
    return Removal(label, Named(name, share.value), share.low, share.high, controls=points)


def _random(sets: Any, shares: Any) -> list[tuple[str, float]]:
    return [(", ".join(map(str, drawn[:6])), float(one)) for drawn, one in zip(sets.random, shares)]


def _names(sets: Any) -> str:
    shown = ", ".join(map(str, sets.heads[:6]))
    return shown if len(sets.heads) <= 6 else f"{shown} and {len(sets.heads) - 6} more"


def own_words(sets: Any, found: Any) -> str:
    """Which heads the set could do without."""
    if found.reach is None:
        return "No head is left outside, so what one head adds by chance is unknown."
    most = found.by_own[0]
    text = (
        f"The set loses most without {sets.heads[most]}: {words.percent(found.own[most].value)}"
        f"{_ends(found.own[most])} of what all heads do. Of {len(found.added)} heads from outside, the best adds "
        f"{words.percent(found.reach)}. "
    )
    idle = [str(sets.heads[i]) for i in found.idle]
    if not idle:
        return text + "Every head of the set does more than that: none is idle in it."
    do = "does" if len(idle) == 1 else "do"
    return text + f"{', '.join(idle)} {do} no more than that, as far as can be told: the set may not need it."


def _ends(share: Any) -> str:
    return f" [{words.percent(share.low)}, {words.percent(share.high)}]"


def sample_words(asked: Asked, sets: Any, found: Any) -> str:
    """n, the metric at both ends, and how the intervals were made."""
    unit = asked.metric.unit
    return (
        f"n = {found.n} pairs. Metric ({unit}): {words.number(found.all_heads)} with all heads, "
        f"{words.number(found.no_heads)} with none. Null: {len(sets.random)} random sets of {len(sets.heads)} and "
        f"{len(sets.outsiders)} outside heads, seed {sets.seed}. {found.note[:1].upper()}{found.note[1:]}."
    )


def table(sets: Any, found: Any) -> pd.DataFrame:
    """One row per set: what it is, and its share."""
    rows = [("kept", _all(sets.heads), *found.kept), ("removed", _all(sets.heads), *found.removed)]
    for kind, shares in (("kept, random", found.random_kept), ("removed, random", found.random_removed)):
        rows += [(kind, _all(drawn), float(one), None, None) for drawn, one in zip(sets.random, shares)]
    rows += [("own share", str(head), *own) for head, own in zip(sets.heads, found.own)]
    rows += [("one more", str(head), float(one), None, None) for head, one in zip(sets.outsiders, found.added)]
    return pd.DataFrame(rows, columns=["what", "heads", AXIS, "CI low", "CI high"])


def _all(heads: Any) -> str:
    return ", ".join(map(str, heads))


def _take_away(view: ViewState, sets: Any, found: Any) -> None:
    from lens.analysis.interventions import sets_to_python
    from lens.ui.export import Export, export

    figure = whole_figure(sets, found, words.PUTS[view["put"]])
    numbers = table(sets, found)
    payload = {"set": _all(sets.heads), "seed": sets.seed, "n": found.n, "note": found.note, "notice": found.sentence}
    payload |= {"all_heads": found.all_heads, "no_heads": found.no_heads, "numbers": numbers.to_dict("records")}
    code = sets_to_python(source_of(view), sets, view["revision"] or None)
    export(view, Export("ablation-set", figure, numbers, payload, code, reads_prompt=False, opens_model=False))
