"""Training dynamics in words: what to notice, when a head was born, how it was measured, the table. No Streamlit."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lens.analysis.counts import counted
from lens.analysis.dynamics import HELD_OUT, IN_CONTEXT, PREFIX, PREVIOUS, REPEATS, instrument_end, strongest
from lens.analysis.phase_change import BIRTH_RULE, WINDOW_RULE
from lens.figures.theme import number as written
from lens.texts import HELD_OUT_NAME, UNIT
from lens.ui.pages.training_dynamics.controls import Choices, checkpoint_name
from lens.ui.pages.training_dynamics.figure import Phase, checkpoint_at, curve_of, title_of
from lens.ui.pages.training_dynamics.run_curves import RunCurves
from lens.ui.shared.chain import was_born

if TYPE_CHECKING:
    from lens.analysis.names import Head
    from lens.analysis.stats import Estimate

LOSSES = {  # columns of the table: fields of the curves
    "held-out loss": "held_out",
    "in-context": "in_context",
    "first copy": "first_copy",
    "second copy": "second_copy",
}
MISREADING = (
    "A checkpoint is one moment of one run: 'born' is the interval between two of them, not a date, and another seed "
    "may give another. Curves that turn together do not show that one causes the other. On a logarithmic axis the "
    "early, short part of training looks long, and a rise that took most of the run can look sudden."
)
FORMULA = (
    r"S_h(t) = \operatorname{mean}_{q \in \text{2nd copy}} \big( A_h^t[q,\, q-n+1] - A_h^{t,\text{control}}"
    r"[q,\, q-n+1] \big), \qquad \text{born: } S_h(t_{i}) \le \theta < S_h(t_{i+1})"
)


def birth_words(run: RunCurves, head: "Head", choices: Choices) -> str:
    """When a head was born, with its interval, or why that cannot be said; and where it ends."""
    curve = curve_of(run, head, choices)
    names = [checkpoint_name(run.checkpoints, index) for index in run.indices]
    end = f"At the last checkpoint its score minus control is {_last(curve.effect)}."
    return f"{was_born.birth_words(title_of(run), head, curve, names).words} {end}"


def notice(runs: list[RunCurves], phases: list[Phase]) -> str:
    """What to see in the curves, run by run."""
    return " ".join(_of_run(run, phase) for run, phase in zip(runs, phases))


def _of_run(run: RunCurves, phase: Phase) -> str:
    name, curves = title_of(run), run.curves
    best = strongest(curves)
    last = f"head {best} is the strongest at the end with {written(float(curves.effect[-1][best]))}"
    saved = f"on the second copy of random tokens the loss ends at {_last(curves.second_copy)} nats, on the first at "
    saved += _last(curves.first_copy)
    if phase.first is None:
        why = "cannot be said" if curves.window.state == "unknown" else "none"
        return f"{name}: phase change {why}, because {curves.window.reason}; {last}; {saved}."
    ends = f"from {checkpoint_at(run, phase.first)} to {checkpoint_at(run, phase.last)}"
    how = "set by hand" if phase.by_hand else curves.window.reason
    return f"{name}: phase change {ends} ({how}); {last}; {saved}."


def instrument_notice(run: RunCurves, choices: Choices) -> str:
    """Where the chosen instrument ends in a run, and since when; "" where it is not measured."""
    curves, kind = run.instrument, choices.instrument
    if curves is None:
        return ""
    if np.isnan(curves.value[-1]).all():
        return f"{title_of(run)}: no head has the number {kind.title.lower()} at the last checkpoint."
    end = instrument_end(curves, by_size=kind.scale == "two-sided")
    text = f"{kind.title} of {title_of(run)}: head {end.head} stands out most at the end"
    text += f" with {written(end.value)} {kind.unit}"
    if end.n_above is None:
        why = "a verdict needs more sequences" if kind.tested else "it is a description, without a test"
        return f"{text}; {why}."
    n = len(curves.indices)
    if end.first_above is None:
        return f"{text}; within chance at all {n} checkpoints."
    first = checkpoint_name(run.checkpoints, curves.indices[end.first_above])
    return f"{text}; above chance at {end.n_above} of {n} checkpoints, first at {first}."


def measured(runs: list[RunCurves], choices: Choices) -> str:
    """On what, how many samples, what the intervals are."""
    counts = ", ".join(f"{title_of(run)} {len(run.indices)} of {len(run.checkpoints)}" for run in runs)
    curves, setting = runs[0].curves, choices.setting
    read = f"{counted(setting.seqs, 'sequence')} of {setting.n} random "
    text = f"Checkpoints: {counts}. The same tokens at every checkpoint: {read}"
    text += f"tokens, twice, each with a control; seed {setting.seed}; {curves.second_copy.note}."
    if curves.held_out is not None:
        text += f" Held-out text: the beginnings of {curves.held_out.n} {UNIT} of {HELD_OUT_NAME}, "
        text += f"{curves.n_tokens:,} predictions."
    if curves.in_context is None:
        late = choices.places.late + choices.places.around
        text += f" In-context score not computed because no chapter has {late + 2} tokens, or texts are not read yet."
    else:
        text += f" In-context score: {curves.in_context.n} of them are long enough; {curves.in_context.note}."
    for run in runs:
        text += twins(run)
        if not run.log.steps:
            text += f" Training loss of {title_of(run)} is not known because {run.log.reason}."
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


def table(runs: list[RunCurves], choices: Choices, heads: "list[Head]") -> pd.DataFrame:
    """One row per run and checkpoint."""
    rows = []
    for run, head in zip(runs, heads):
        curves, curve = run.curves, curve_of(run, head, choices)
        for place, index in enumerate(run.indices):
            point = run.checkpoints.at(index)
            row = {"run": title_of(run), "checkpoint": index, run.checkpoints.unit: point.label, "tokens": point.tokens}
            for name, field in LOSSES.items():
                row |= _estimate(name, getattr(curves, field), place)
            row |= {"head": str(head)}
            row |= _estimate("prefix − control", curve.effect, place)
            row |= {"null": float(curves.null[place])} | _estimate("previous token", curve.previous, place)
            row |= _of_instrument(run, choices, head, index)
            rows.append(row)
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def _of_instrument(run: RunCurves, choices: Choices, head: "Head", index: int) -> dict[str, float]:
    curves, name = run.instrument, choices.instrument.title.lower()
    if curves is None or index not in curves.indices:
        return {}
    at = (curves.indices.index(index), *head)
    columns = {"": curves.value, " low": curves.low, " high": curves.high, " null": curves.null}
    return {f"{name}{end}": float(array[at]) for end, array in columns.items()}


def payload(runs: list[RunCurves], phases: list[Phase], choices: Choices) -> dict[str, object]:
    """Everything the figure shows, arrays by checkpoint, layer and head."""
    out = {}
    for run, phase in zip(runs, phases):
        curves = run.curves
        scores = {name: getattr(curves, name) for name in ("induction", "control", "null", "previous", "previous_null")}
        estimates = {name: (value := getattr(curves, name)) and value._asdict() for name in LOSSES.values()}
        places = {
            "unit": run.checkpoints.unit,
            "labels": curves.labels,
            "tokens": run.checkpoints.tokens,
            "indices": run.indices,
        }
        window = curves.window._asdict() | {"drawn": phase._asdict()}
        log = {"steps": run.log.steps, "loss": run.log.loss, "reason": run.log.reason}
        chosen = None if run.instrument is None else run.instrument._asdict() | {"name": choices.instrument.name}
        out[title_of(run)] = places | scores | estimates | {"window": window, "training_log": log, "instrument": chosen}
    setting = {"setting": choices.setting._asdict(), "places": choices.places._asdict(), "born_above": choices.born}
    return {"runs": out, **setting, "definitions": definitions()}


def opening(source: str, *imports: str) -> str:
    """The lines that open a training run as ``run``, after those that import what is asked of it."""
    lines = sorted([
        *imports,
        "from lens.analysis.checkpoint import Setting",
        "from lens.analysis.training_run import TrainingRun",
        "from lens.load.checkpoints import checkpoints",
    ])  # fmt: skip
    return "\n".join(lines) + f"\n\nrun = TrainingRun(checkpoints({source!r}))\n"


def setting_code(choices: Choices) -> str:
    """On what the checkpoints are measured, as Python."""
    return f"Setting({', '.join(f'{name}={value!r}' for name, value in choices.setting._asdict().items())})"


def places_code(choices: Choices) -> str:
    """Which predictions the in-context learning score compares, as Python."""
    return f"Places({', '.join(f'{name}={value!r}' for name, value in choices.places._asdict().items())})"


def code(run: RunCurves, choices: Choices, source: str) -> str:
    """The Python that computes the curves of the view's model again."""
    setting, instrument, name = setting_code(choices), "", choices.instrument.name
    if run.instrument is not None:
        instrument = (
            "\n\nfrom lens.analysis.dynamics import instrument_dynamics, instrument_end\n\n"
            f'over = instrument_dynamics(run, "{name}", {setting}, indices={run.instrument.indices})\n'
            f"print(instrument_end(over, by_size={choices.instrument.scale == 'two-sided'}))"
        )
    return (
        f"{opening(source, 'from lens.analysis.dynamics import Places, dynamics, strongest')}"
        f"curves = dynamics(run, {setting}, {places_code(choices)}, indices={run.indices})\n"
        "head = strongest(curves)\n"
        f"print(head, curves.effect[-1, head.layer, head.head], curves.window.reason){instrument}"
    )


def alt(runs: list[RunCurves], words: str) -> str:
    """The figure for a screen reader."""
    names = ", ".join(title_of(run) for run in runs)
    return f"Curves over the training of {names}: head scores, losses and in-context learning. {words}"


def frames_alt(run: RunCurves, head: "Head", words: str) -> str:
    """The playing figure for a screen reader."""
    ends = f"{checkpoint_name(run.checkpoints, run.indices[0])} to {checkpoint_name(run.checkpoints, run.indices[-1])}"
    return f"Attention of head {head} of {title_of(run)} at each checkpoint from {ends}; a button plays them. {words}"


def _estimate(name: str, estimate: "Estimate | None", place: int) -> dict[str, float]:
    if estimate is None:
        return {}
    row = {name: float(estimate.mean[place])}
    return row if estimate.low is None else row | {f"{name} low": float(estimate.low[place]),
                                                f"{name} high": float(estimate.high[place])}  # fmt: skip


def _last(estimate: "Estimate | None") -> str:
    interval = (
        "" if estimate.low is None else f" [{written(float(estimate.low[-1]))}, {written(float(estimate.high[-1]))}]"
    )
    return f"{written(float(estimate.mean[-1]))}{interval}"


def twins(run: RunCurves) -> str:
    """Which checkpoints of a run are the same files, group by group; empty if none are."""
    text = ""
    for group in run.identical:
        *most, last = (f"{index} ({checkpoint_name(run.checkpoints, index)})" for index in group)
        text += f" Checkpoints {', '.join(most)} and {last} of {title_of(run)} are the same files, so their numbers "
        text += "are equal."
    return text
