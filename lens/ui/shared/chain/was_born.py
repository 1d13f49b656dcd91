"""Last link: between which checkpoints of the training the head became an induction head."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lens.analysis.checkpoint import Setting
from lens.analysis.dynamics import HeadCurve, head_curve
from lens.analysis.names import Head
from lens.analysis.phase_change import BORN_AT
from lens.figures.fitted import narrow
from lens.figures.training import Axis, Level, Panel, Span, Trace, training
from lens.load.checkpoints import checkpoint_name
from lens.load.identity import content_of
from lens.ui import checkpoint_runs, parts
from lens.ui.calls import analyse, sweep
from lens.ui.estimate import forward_seconds
from lens.ui.fields import LOCAL
from lens.ui.models import prepend_bos, source_named, source_of
from lens.ui.shared.chain.link import NOT_YET, Case, Finding, explain_link, may_start
from lens.ui.shared.wording import sentence
from lens.ui.store import to_torch

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lens.analysis.checkpoint import OnRepeats
    from lens.analysis.training_run import TrainingRun
    from lens.ui.view import ViewState

WIDTH = 520  # pixels of the column, in full
BELOW = "What chance reaches stays below that at every checkpoint."
PANEL = "Prefix matching − control (probability)"


class Over(NamedTuple):
    """A head's score over training, and where its checkpoints stand on the axis."""

    curve: HeadCurve
    at: np.ndarray  # [checkpoint]
    axis: str  # what ``at`` counts


class Read(NamedTuple):
    """A training run with the scores of all heads at its checkpoints, by index."""

    run: "TrainingRun"
    repeats: "dict[int, OnRepeats]"  # of the finite checkpoints
    lost: list[str]  # a sentence for each that is not finite
    missing: int  # checkpoints that are not read, after a cancel


class Born(NamedTuple):
    """When one head became an induction head. Exactly one of ``interval`` and ``reason`` is empty."""

    interval: str  # "between 2.5M tokens and 3.9M tokens"
    reason: str  # "not computed because …", "never: …" where it was looked for, "cannot be said: …" where it could not
    state: str  # "found", "none", "unknown" (the sample cannot say) or "later" (not computed)
    words: str  # one sentence with the numbers; the reason where there are none
    over: Over | None = None  # None where nothing was computed


def find(case: Case) -> Finding:
    """The interval of training in which its score crossed the line, or why there is none."""
    view = case.view
    if not checkpoint_runs.why_none(view["model"]) and not _may_start(case):
        return NOT_YET
    born = birth(view, view["model"], case.head)
    if born.state == "later":
        return Finding("not computed", "later", result=born)
    if born.state == "unknown":
        return Finding("cannot be said", "", {"born": born.reason}, born)
    if born.state == "none":
        return Finding("not as an induction head", "none", {"born": born.reason}, born)
    return Finding(born.interval, "found", {"born": born.interval}, born)


def read_checkpoints(view: "ViewState", name: str) -> Read:
    """The scores of all heads at every checkpoint of the model called ``name``, which has some."""
    source = source_named(name)
    run = checkpoint_runs.run_of(source)
    setting = Setting(view["n"], view["seqs"], view["seed"], bos=prepend_bos(view))
    cells = [checkpoint_runs.Cell(source, i, content_of(run.checkpoints, i)) for i in checkpoint_runs.chosen(run)]
    done, missing = sweep(checkpoint_runs.score_checkpoint, cells, setting)
    lost = [measured.lost for measured in done.values() if measured.lost]
    repeats = {cell.index: to_torch(measured.repeats) for cell, measured in done.items() if not measured.lost}
    return Read(run, repeats, lost, len(missing))


def birth(view: "ViewState", name: str, head: Head) -> Born:
    """When ``head`` of the model called ``name`` became an induction head, under the view's n, sequences and seed.

    Reads every checkpoint's head scores, about a second for a shipped model the first time, from disk after that.
    """
    why = checkpoint_runs.why_none(name)
    if why:
        return _not_computed(why)
    read = read_checkpoints(view, name)
    if read.missing:
        return _not_computed(
            f"{read.missing} of {read.missing + len(read.repeats) + len(read.lost)} checkpoints are not read"
        )
    if read.lost:
        view.note(f"left out of the head's birth: {' '.join(read.lost)[:-1]}")
    if not read.repeats:
        return _not_computed("no checkpoint is finite")
    run, repeats, indices = read.run, read.repeats, sorted(read.repeats)
    curve = analyse(head_curve, repeats, Head(*head), BORN_AT, view["seed"])
    names = [checkpoint_name(run.checkpoints, index) for index in indices]
    labels = run.checkpoints.labels if run.checkpoints.tokens is None else run.checkpoints.tokens
    unit = run.checkpoints.unit if run.checkpoints.tokens is None else "tokens"
    over = Over(curve, np.array([labels[index] for index in indices], np.float64), f"training {unit}")
    return birth_words(name.removeprefix(LOCAL), head, curve, names)._replace(over=over)


def birth_words(name: str, head: tuple[int, int], curve: HeadCurve, names: Sequence[str]) -> Born:
    """A ``HeadCurve`` in words; ``names`` say what its checkpoints are called."""
    born, title = curve.birth, f"Head {Head(*head)} of {name}"
    if born.first_above is None:
        if born.state == "unknown":
            words = f"Whether h{title[1:]} became an induction head in its training cannot be said: {born.reason}."
            return Born("", f"cannot be said: {born.reason}", "unknown", words)
        words = f"{title} was not born as an induction head in its training: {born.reason}."
        return Born("", f"never: {born.reason}", "none", words)
    if born.last_below is None:
        interval = f"at or before {names[0]}"
    else:
        interval = f"between {names[born.last_below]} and {names[born.first_above]}"
    again = "" if born.below_again is None else f", below again at {names[born.below_again]}"
    rule = f"prefix-matching score minus control first above {born.threshold:g}, a threshold fixed beforehand"
    return Born(interval, "", "found", f"{title} was born {interval} ({rule}{again}).")


def _not_computed(why: str) -> Born:
    reason = f"not computed because {why}"
    return Born("", reason, "later", sentence(reason))


def _may_start(case: Case) -> bool:
    settings = case.sample.settings
    n_checkpoints = len(checkpoint_runs.chosen(checkpoint_runs.run_of(source_of(case.view))))
    seconds = n_checkpoints * forward_seconds(case.model, 2 * settings.seqs * (2 * settings.n + 1))
    key = f"born-{case.view['model']}"
    return may_start(case, key, seconds, f"{n_checkpoints} checkpoints are not read yet.")


def draw(case: Case, finding: Finding) -> Finding:
    """Short: its sentence. In full: its score over training as well."""
    born = finding.result
    if born is None:
        return finding
    if born.over is None and case.full:
        parts.not_computed(f"{born.reason.removeprefix('not computed because ')}.")
        return finding
    if born.over is not None and case.full:
        title = f"Head {case.head} over training"
        parts.chart(narrow(curve_figure(born.over, title), WIDTH), f"{title}. {born.words}", key="head:birth")
    text = f"{born.words} {BELOW}" if born.state == "found" else born.words
    explain_link(case, text, help=f"{PANEL}, at every checkpoint.")
    return finding


def curve_figure(over: Over, title: str) -> "go.Figure":
    """The score minus its control at every checkpoint, with the line it has to cross and where it crosses it."""
    effect, birth = over.curve.effect, over.curve.birth
    ends = [None if end is None else np.asarray(end) for end in (effect.mean, effect.low, effect.high)]
    trace = Trace("score − control", over.at, ends[0], np.empty((0, 4), np.int32), 0, ends[1], ends[2])
    spans = []
    if birth.last_below is not None and birth.first_above is not None and over.at[birth.last_below] > 0:
        spans = [Span(over.at[birth.last_below], over.at[birth.first_above], 0, "born")]
    panel = Panel(PANEL, [trace], [Level(birth.threshold, f"born above {birth.threshold:g}")])
    return training([panel], Axis(over.axis, log=True), title=title, spans=spans)
