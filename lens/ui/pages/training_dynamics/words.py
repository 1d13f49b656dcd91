"""Training dynamics in words: what to notice, when a head was born, how it was measured, the table. No Streamlit."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lens.analysis.counts import counted
from lens.analysis.dynamics import HELD_OUT, IN_CONTEXT, PREFIX, PREVIOUS, REPEATS, instrument_end, strongest
from lens.analysis.phase_change import BIRTH_RULE, WINDOW_RULE
from lens.figures.theme import number as said
from lens.texts import HELD_OUT_NAME, UNIT
from lens.ui.pages.training_dynamics.controls import Look, checkpoint_name
from lens.ui.pages.training_dynamics.curves import Phase, curve_of, said_checkpoint, title_of
from lens.ui.pages.training_dynamics.read import Shown
from lens.ui.shared.chain import was_born

if TYPE_CHECKING:
    from lens.analysis.dynamics import Curves
    from lens.analysis.names import Head
    from lens.analysis.stats import Estimate

MISREADING = (
    "A checkpoint is one moment of one run: 'born' is the interval between two of them, not a date, and another seed "
    "may give another. Curves that turn together do not show that one causes the other. On a logarithmic axis the "
    "early, short part of training looks long, and a rise that took most of the run can look sudden."
)
FORMULA = (
    r"S_h(t) = \operatorname{mean}_{q \in \text{2nd copy}} \big( A_h^t[q,\, q-n+1] - A_h^{t,\text{control}}"
    r"[q,\, q-n+1] \big), \qquad \text{born: } S_h(t_{i}) \le \theta < S_h(t_{i+1})"
)


def birth_words(one: Shown, head: "Head", look: Look) -> str:
    """When a head was born, with its interval, or why that cannot be said; and where it ends."""
    curve = curve_of(one, head, look)
    names = [checkpoint_name(one.found, index) for index in one.indices]
    end = f"At the last checkpoint its score minus control is {_last(curve.effect)}."
    return f"{was_born.birth_words(title_of(one), head, curve, names).words} {end}"


def notice(shown: list[Shown], phases: list[Phase]) -> str:
    """What to see in the curves, run by run."""
    return " ".join(_run(one, phase) for one, phase in zip(shown, phases))


def _run(one: Shown, phase: Phase) -> str:
    name, curves = title_of(one), one.curves
    best = strongest(curves)
    last = f"its strongest head at the end is {best} with {said(float(curves.effect[-1][best]))}"
    saved = f"on the second copy of random tokens the loss ends at {_last(curves.second_copy)} nats, on the first at "
    saved += _last(curves.first_copy)
    if phase.first is None:
        why = "cannot be said" if curves.window.state == "unknown" else "none"
        return f"{name}: phase change {why}, because {curves.window.reason}; {last}; {saved}."
    ends = f"from {said_checkpoint(one, phase.first)} to {said_checkpoint(one, phase.last)}"
    how = "set by hand" if phase.by_hand else curves.window.reason
    return f"{name}: phase change {ends} ({how}); {last}; {saved}."


def instrument_notice(one: Shown, look: Look) -> str:
    """Where the chosen instrument ends in a run, and since when; "" where it is not measured."""
    curves, kind = one.instrument, look.instrument
    if curves is None:
        return ""
    if np.isnan(curves.value[-1]).all():
        return f"{title_of(one)}: no head has the number {kind.title.lower()} at the last checkpoint."
    end = instrument_end(curves, by_size=kind.scale == "two-sided")
    text = f"{kind.title} of {title_of(one)}: head {end.head} stands out most at the end"
    text += f" with {said(end.value)} {kind.unit}"
    if end.n_above is None:
        why = "a verdict needs more sequences" if kind.tested else "it is a description, without a test"
        return f"{text}; {why}."
    n = len(curves.indices)
    if end.first_above is None:
        return f"{text}; within chance at all {n} checkpoints."
    first = checkpoint_name(one.found, curves.indices[end.first_above])
    return f"{text}; above chance at {end.n_above} of {n} checkpoints, first at {first}."


def measured(shown: list[Shown], look: Look) -> str:
    """On what, how many samples, what the intervals are."""
    one = shown[0]
    counts = ", ".join(f"{title_of(each)} {len(each.indices)} of {len(each.found)}" for each in shown)
    curves, setting = one.curves, look.setting
    text = f"Checkpoints: {counts}. The same tokens at every checkpoint: {counted(setting.seqs, 'sequence')} of "
    text += f"{setting.n} random "
    text += f"tokens, twice, each with a control; seed {setting.seed}; {curves.second_copy.note}."
    if curves.held_out is not None:
        text += f" Held-out text: the beginnings of {curves.held_out.n} {UNIT} of {HELD_OUT_NAME}, "
        text += f"{curves.n_tokens:,} predictions."
    if curves.in_context is None:
        late = look.places.late + look.places.around
        text += f" In-context score not computed because no chapter has {late + 2} tokens, or texts are not read yet."
    else:
        text += f" In-context score: {curves.in_context.n} of them are long enough; {curves.in_context.note}."
    for each in shown:
        text += twins(each)
        if not each.log.steps:
            text += f" Training loss of {title_of(each)} is not known because {each.log.reason}."
    return text


def definitions() -> str:
    """Every quantity and both rules, as the page folds them away."""
    rows = (
        ("Prefix matching", PREFIX),
        ("Previous token", PREVIOUS),
        ("Repeats", REPEATS),
        ("Held-out loss", HELD_OUT),
        ("In context", IN_CONTEXT),
        ("Birth", BIRTH_RULE),
        ("Phase change", WINDOW_RULE),
    )
    return "\n".join(f"- **{name}.** {text}" for name, text in rows)


def table(shown: list[Shown], look: Look, heads: "list[Head]") -> pd.DataFrame:
    """One row per run and checkpoint."""
    rows = []
    for one, head in zip(shown, heads):
        curves, found = one.curves, curve_of(one, head, look)
        for place, index in enumerate(one.indices):
            point = one.found.at(index)
            row = {"run": title_of(one), "checkpoint": index, one.found.unit: point.label, "tokens": point.tokens}
            row |= _numbers(curves, place) | {"head": str(head)}
            row |= _estimate("prefix − control", found.effect, place)
            row |= {"null": float(curves.null[place])} | _estimate("previous token", found.previous, place)
            row |= _of_instrument(one, look, head, index)
            rows.append(row)
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def _of_instrument(one: Shown, look: Look, head: "Head", index: int) -> dict[str, float]:
    curves, name = one.instrument, look.instrument.title.lower()
    if curves is None or index not in curves.indices:
        return {}
    at = (curves.indices.index(index), *head)
    columns = {"": curves.value, " low": curves.low, " high": curves.high, " null": curves.null}
    return {f"{name}{end}": float(array[at]) for end, array in columns.items()}


def payload(shown: list[Shown], phases: list[Phase], look: Look) -> dict[str, Any]:
    """Everything the figure shows, arrays by checkpoint, layer and head."""
    out = {}
    for one, phase in zip(shown, phases):
        curves = one.curves
        scores = {name: getattr(curves, name) for name in ("induction", "control", "null", "previous", "previous_null")}
        estimates = {}
        for name in ("first_copy", "second_copy", "held_out", "in_context"):
            found = getattr(curves, name)
            estimates[name] = None if found is None else found._asdict()
        places = {"unit": one.found.unit, "labels": curves.labels, "tokens": one.found.tokens, "indices": one.indices}
        window = curves.window._asdict() | {"drawn": phase._asdict()}
        log = {"steps": one.log.steps, "loss": one.log.loss, "reason": one.log.reason}
        chosen = None if one.instrument is None else one.instrument._asdict() | {"name": look.instrument.name}
        out[title_of(one)] = places | scores | estimates | {"window": window, "training_log": log, "instrument": chosen}
    setting = {"setting": look.setting._asdict(), "places": look.places._asdict(), "born_above": look.born}
    return {"runs": out, **setting, "definitions": definitions()}


def code(one: Shown, look: Look, source: str) -> str:
    """The Python that computes the curves of the view's model again."""
    setting = ", ".join(f"{name}={value!r}" for name, value in look.setting._asdict().items())
    places = ", ".join(f"{name}={value!r}" for name, value in look.places._asdict().items())
    more, name = "", look.instrument.name
    if one.instrument is not None:
        more = (
            "\n\nfrom lens.analysis.dynamics import instrument_dynamics, instrument_end\n\n"
            f'over = instrument_dynamics(run, "{name}", Setting({setting}), indices={one.instrument.indices})\n'
            f"print(instrument_end(over, by_size={look.instrument.scale == 'two-sided'}))"
        )
    return (
        "from lens.analysis.checkpoint import Setting\n"
        "from lens.analysis.dynamics import Places, dynamics, strongest\n"
        "from lens.analysis.training_run import TrainingRun\n"
        "from lens.load.checkpoints import checkpoints\n\n"
        f"run = TrainingRun(checkpoints({source!r}))\n"
        f"curves = dynamics(run, Setting({setting}), Places({places}), indices={one.indices})\n"
        "head = strongest(curves)\n"
        f"print(head, curves.effect[-1, head.layer, head.head], curves.window.reason){more}"
    )


def alt(shown: list[Shown], words: str) -> str:
    """The figure for a screen reader."""
    names = ", ".join(title_of(one) for one in shown)
    return f"Curves over the training of {names}: head scores, losses and in-context learning. {words}"


def frames_alt(one: Shown, head: "Head", words: str) -> str:
    """The playing figure for a screen reader."""
    ends = f"{checkpoint_name(one.found, one.indices[0])} to {checkpoint_name(one.found, one.indices[-1])}"
    return f"Attention of head {head} of {title_of(one)} at each checkpoint from {ends}; a button plays them. {words}"


def _numbers(curves: "Curves", place: int) -> dict[str, float]:
    row = _estimate("held-out loss", curves.held_out, place)
    row |= _estimate("in-context", curves.in_context, place)
    row |= _estimate("first copy", curves.first_copy, place)
    return row | _estimate("second copy", curves.second_copy, place)


def _estimate(name: str, found: "Estimate | None", place: int) -> dict[str, float]:
    if found is None:
        return {}
    row = {name: float(found.mean[place])}
    return row if found.low is None else row | {f"{name} low": float(found.low[place]),
                                                f"{name} high": float(found.high[place])}  # fmt: skip


def _last(found: "Estimate | None") -> str:
    interval = "" if found.low is None else f" [{said(float(found.low[-1]))}, {said(float(found.high[-1]))}]"
    return f"{said(float(found.mean[-1]))}{interval}"


def twins(one: Shown) -> str:
    """Which checkpoints of a run are the same files, group by group; empty if none are."""
    text = ""
    for group in one.identical:
        *most, last = (f"{index} ({checkpoint_name(one.found, index)})" for index in group)
        text += f" Checkpoints {', '.join(most)} and {last} of {title_of(one)} are the same files, so their numbers "
        text += "are equal."
    return text
