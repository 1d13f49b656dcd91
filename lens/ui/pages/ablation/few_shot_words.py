"""Few-shot tasks in words: what the model does, which heads carry it, what is left without them. No Streamlit."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lens.analysis.counts import counted
from lens.analysis.few_shot.by_shots import ByShots
from lens.analysis.few_shot.function_vectors import FunctionVectors
from lens.analysis.few_shot.removal import KINDS, RemovalCurves, RemovalSets
from lens.analysis.few_shot.words import SHOTS, TASKS
from lens.analysis.interventions.results import Effect
from lens.analysis.largest_head import largest_head
from lens.analysis.names import Head
from lens.analysis.stats import Estimate
from lens.figures.theme import number
from lens.ui.shared.wording import interval, percent, sentence, signed

NAMES = {"capital": "capitals", "language": "languages", "plural": "plurals", "antonym": "antonyms"}
MOST_NAMED = 6


def tasks_words(read: Mapping[str, ByShots], absent: Mapping[str, str], name: str) -> str:
    """Which of the tasks the model does, which it does not, and which its tokenizer has no words for."""
    states = {task: one.ability.verdict.state for task, one in read.items()}
    done = [_called(task) for task, state in states.items() if state == "found"]
    failed = [_called(task) for task, state in states.items() if state == "none"]
    unknown = [_called(task) for task, state in states.items() if state == "unknown"]
    text = f"From {SHOTS[-1]} examples {name} does {_listed(done) if done else 'none of these tasks'}."
    if failed:
        text += f" It does not do {_listed(failed)}."
    if unknown:
        text += f" Of {_listed(unknown)} it cannot be said."
    if absent:
        text += f" Not applicable: {_listed([_called(task) for task in absent])}, for lack of answers of one token."
    return text


def _called(task: str) -> str:
    return NAMES.get(task, TASKS[task].lower())


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def shots_words(read: ByShots) -> str:
    """How accuracy and probability of the answer rise with examples, and what shuffled labels leave of it."""
    at = len(read.shots) - 1
    right, shuffled, none = ((side, shots) for side, shots in ((0, at), (1, at), (0, 0)))
    accuracy = [percent(_mean(read.accuracy, place)) for place in (right, none, shuffled)]
    return (
        f"With {read.shots[-1]} examples {accuracy[0]}{_ends(read.accuracy, right)} of "
        f"{counted(read.accuracy.n, 'answer')} are right, with none {accuracy[1]}; with shuffled labels {accuracy[2]}. "
        f"The answer's probability goes from {number(_mean(read.prob, none))} to "
        f"{number(_mean(read.prob, right))}{_ends(read.prob, right)}; with shuffled labels it is "
        f"{number(_mean(read.prob, shuffled))}{_ends(read.prob, shuffled)}."
    )


def _mean(one: Estimate, at: tuple[int, int]) -> float:
    return float(np.asarray(one.mean)[at])


def _ends(one: Estimate, at: tuple[int, int]) -> str:
    return "" if one.low is None else interval(float(np.asarray(one.low)[at]), float(np.asarray(one.high)[at]))


def task_rows(read: Mapping[str, ByShots], absent: Mapping[str, str]) -> pd.DataFrame:
    """One row per task: accuracy by number of shots, and whether the model does it, or why it is not applicable."""
    rows = []
    for task, name in TASKS.items():
        row: dict[str, object] = {"task": name}
        if one := read.get(task):
            shares = np.asarray(one.accuracy.mean)
            row |= {f"{shots} shots": float(share) for shots, share in zip(one.shots, shares[0])}
            row |= {"shuffled": float(shares[1, -1]), "prompts": one.accuracy.n}
            state = {"found": "does it", "none": "does not", "unknown": "cannot be said"}[one.ability.verdict.state]
            row |= {"verdict": state, "why": one.ability.verdict.reason}
        else:
            row |= {"verdict": "not applicable", "why": absent.get(task, "not computed yet")}
        rows.append(row)
    return pd.DataFrame(rows)


def shot_rows(read: ByShots) -> pd.DataFrame:
    """One row per kind of labels and number of shots."""
    rows = []
    for side, labels in enumerate(("right", "shuffled")):
        for at, shots in enumerate(read.shots):
            row = {"labels": labels, "shots": shots}
            for name, one in (("accuracy", read.accuracy), ("probability", read.prob)):
                row[name] = _mean(one, (side, at))
                row |= {} if one.low is None else {f"{name} CI low": float(one.low[side, at])}
                row |= {} if one.high is None else {f"{name} CI high": float(one.high[side, at])}
            rows.append(row)
    return pd.DataFrame(rows)


def vectors_words(found: FunctionVectors) -> str:
    """Which heads carry the task, and by how much the strongest raises the answer."""
    values = np.asarray(found.score.value)
    best = largest_head(values)
    text = (
        f"Head {best}'s mean output over right prompts raises the answer's probability most: by "
        f"{signed(float(values[best]))}{_at(found.score, best)}; its mean over prompts of shuffled labels, by "
        f"{signed(float(np.asarray(found.null.value)[best]))}. "
    )
    if found.found is None:
        return f"{text}No verdict: {found.note.removeprefix('no threshold: ')}."
    heads = [Head(*cell) for cell in np.argwhere(np.asarray(found.found)).tolist()]
    if not heads:
        return f"{text}None of {values.size} heads gains more over its null than the best of all does by chance."
    heads.sort(key=lambda head: -values[head])
    more = f" and {len(heads) - MOST_NAMED} more" if len(heads) > MOST_NAMED else ""
    names = f"{', '.join(map(str, heads[:MOST_NAMED]))}{more}"
    carry = "carries" if len(heads) == 1 else "carry"
    return f"{text}{len(heads)} of {values.size} heads {carry} the task beyond chance: {names}."


def _at(effect: Effect, head: Head) -> str:
    return "" if effect.low is None else interval(float(effect.low[head]), float(effect.high[head]))


def vector_rows(found: FunctionVectors) -> pd.DataFrame:
    """One row per head: score with its interval, null, and whether it carries the task."""
    score, null = found.score, found.null
    rows = []
    for cell in np.ndindex(*np.asarray(score.value).shape):
        row = {"head": str(Head(*cell)), "score": float(score.value[cell])}
        if score.low is not None:
            row |= {"CI low": float(score.low[cell]), "CI high": float(score.high[cell])}
        carries = None if found.found is None else bool(found.found[cell])
        rows.append(row | {"shuffled-label mean": float(null.value[cell]), "carries the task": carries})
    return pd.DataFrame(rows)


def removal_words(found: RemovalCurves) -> str:
    """Accuracy without either set beside random heads, and which of the two the task needs more."""
    k = found.ks[-1]
    ends = {one.kind: float(np.asarray(one.accuracy.mean)[-1]) for one in found.curves if not one.random}
    before = float(np.asarray(found.curves[0].accuracy.mean)[0])
    n = found.curves[0].accuracy.n
    heads = "the first head" if k == 1 else f"the first {k} heads"
    text = f"Of {counted(n, 'new prompt')} {percent(before)} are right. "
    for kind, name in KINDS.items():
        if np.isnan(ends[kind]):
            text += f"Too few heads are left for {k} {name}. "
            continue
        text += f"Without {heads} by {name.removesuffix(' heads')} score {percent(ends[kind])} are"
        text += f"{_beside_random(found, kind)}. "
    if found.verdict.state == "unknown":
        return f"{text}Which set the task needs more is not said: {found.verdict.reason}."
    if not found.verdict.found:
        return f"{text}Which set the task needs more cannot be told: {found.verdict.reason}."
    first, other = list(KINDS.values())[:: 1 if float(found.between.mean) > 0 else -1]
    return f"{text}The task needs {first} more than {other}: {found.verdict.reason}."


def _beside_random(found: RemovalCurves, kind: str) -> str:
    """How many random sets of the same layers cost as much."""
    one = found.beside.get(kind)
    if one is None:
        return ""
    reach = percent(one.low) if one.low == one.high else f"{percent(one.low)} to {percent(one.high)}"
    return f"; {one.as_costly} of {counted(one.n, 'random set')} of the same layers cost as much (without them {reach})"


def sets_words(sets: RemovalSets) -> str:
    """Which heads are in neither set, and what is put in their place."""
    lists = {one.kind: one.heads for one in sets.sets if one.draw is None}
    text = " ".join(f"{sentence(f'{KINDS[kind]}: ' + ', '.join(map(str, heads)))}" for kind, heads in lists.items())
    if sets.shared:
        names = ", ".join(map(str, sets.shared))
        text += f" Among the first {sets.ks[-1]} of both, so in neither: {names}."
    return text


def removal_rows(found: RemovalCurves) -> pd.DataFrame:
    """One row per curve and number of heads removed."""
    rows = []
    for curve in found.curves:
        for at, k in enumerate(found.ks):
            row = {"heads": KINDS[curve.kind], "random of the same layers": curve.random, "removed": k}
            row["accuracy"] = float(curve.accuracy.mean[at])
            if curve.accuracy.low is not None:
                row |= {"CI low": float(curve.accuracy.low[at]), "CI high": float(curve.accuracy.high[at])}
            rows.append(row)
    return pd.DataFrame(rows)
