"""When one head was born, for the pages that tell the chain of a head: a sentence, or why there is none."""

from typing import Any, NamedTuple

from lens.ui import runs
from lens.ui.calls import sweep
from lens.ui.fields import LOCAL
from lens.ui.models import prepend_bos, source_named
from lens.ui.pages.training_dynamics.controls import checkpoint_name
from lens.ui.store import to_torch
from lens.ui.view import ViewState


class Born(NamedTuple):
    """The last link of the chain. Exactly one of ``interval`` and ``reason`` is empty."""

    interval: str  # "between 2.5M tokens and 3.9M tokens"
    reason: str  # "not computed because …", "never: …" where it was looked for, "cannot be said: …" where it could not
    state: str  # "found", "none", "unknown" (the sample cannot say) or "later" (not computed)
    words: str  # one sentence with the numbers; the reason where there are none
    result: Any  # lens.analysis.dynamics.HeadCurve; None where nothing was computed


def birth(view: ViewState, name: str, head: tuple[int, int]) -> Born:
    """When ``head`` of the model called ``name`` became an induction head, under the view's n, sequences and seed.

    Reads every checkpoint's head scores, about a second for a shipped model the first time, from disk after that.
    """
    why = runs.why_none(name)
    if why:
        return _none(f"not computed because {why}")
    from lens.analysis.checkpoint import Setting
    from lens.analysis.dynamics import head_curve
    from lens.analysis.names import Head
    from lens.analysis.phase_change import BORN_AT
    from lens.load.identity import content_of

    source = source_named(name)
    run = runs.run_of(source)
    setting = Setting(view["n"], view["seqs"], view["seed"], bos=prepend_bos(view))
    indices = runs.chosen(run)
    cells = [runs.Cell(source, index, content_of(run.found, index)) for index in indices]
    found = sweep(runs.score_checkpoint, cells, setting)
    if found.missing:
        return _none(f"not computed because {len(found.missing)} of {len(cells)} checkpoints are not read")
    lost = [measured.lost for measured in found.done.values() if measured.lost]
    repeats = {cell.index: to_torch(one.repeats) for cell, one in found.done.items() if not one.lost}
    if lost:
        view.note(f"left out of the head's birth: {' '.join(lost)[:-1]}")
    if not repeats:
        return _none("not computed because no checkpoint is finite")
    curve = head_curve(repeats, Head(*head), BORN_AT, setting.seed)
    names = [checkpoint_name(run.found, index) for index in sorted(repeats)]
    return told(name.removeprefix(LOCAL), head, curve, names)


def told(name: str, head: tuple[int, int], curve: Any, names: list[str]) -> Born:
    """A ``HeadCurve`` in words; ``names`` say what its checkpoints are called."""
    born, title = curve.birth, f"Head {head[0]}.{head[1]} of {name}"
    if born.first_above is None:
        if born.state == "unknown":
            words = f"Whether h{title[1:]} became an induction head in its training cannot be said: {born.reason}."
            return Born("", f"cannot be said: {born.reason}", "unknown", words, curve)
        words = f"{title} was not born as an induction head in its training: {born.reason}."
        return Born("", f"never: {born.reason}", "none", words, curve)
    if born.last_below is None:
        interval = f"at or before {names[0]}"
    else:
        interval = f"between {names[born.last_below]} and {names[born.first_above]}"
    again = "" if born.below_again is None else f", below again at {names[born.below_again]}"
    rule = f"prefix-matching score minus control first above {born.threshold:g}, a threshold fixed beforehand"
    return Born(interval, "", "found", f"{title} was born {interval} ({rule}{again}).", curve)


def _none(reason: str) -> Born:
    return Born("", reason, "later", f"{reason[:1].upper()}{reason[1:]}.", None)
