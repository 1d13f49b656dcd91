"""When was it born? What the visitor did at each step, and what its data say."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lens.analysis.dynamics import HeadCurve, Places, summarise
from lens.figures.theme import number
from lens.load.checkpoints import checkpoint_name
from lens.load.training_records import training_runs
from lens.ui.calls import analyse
from lens.ui.ending import end_page
from lens.ui.models import open_beside
from lens.ui.shared.chain.was_born import birth, read_checkpoints
from lens.ui.shared.patterns import attention, stripe
from lens.ui.shared.tour.check import Check, feeder_of, other_head
from lens.ui.shared.tour.steps import MODEL
from lens.ui.shared.wording import percent

if TYPE_CHECKING:
    from lens.analysis.names import Head
    from lens.ui.shared.chain.link import Case
    from lens.ui.view import ViewState

FINAL = "The final weights are open."
NO_TEXTS = Places(0, 0, 0)  # positions of held-out text, of which none is read here


class Course(NamedTuple):
    """One head over the training. ``places`` and ``names``: of the checkpoints, in an address and in a sentence."""

    curve: HeadCurve
    words: str  # when it was born
    places: list[str]
    names: list[str]
    above: np.ndarray  # [checkpoint], whether its previous-token score is more than the best head reaches by chance


def course_of(case: "Case", head: "Head") -> Course:
    """``head`` over the training; after a cancel nothing can be checked."""
    born, read = birth(case.view, MODEL, head), read_checkpoints(case.view, MODEL)
    if born.over is None:
        end_page()
    saved, indices = read.run.checkpoints, sorted(read.repeats)
    curves = analyse(summarise, saved.labels, read.repeats, {}, NO_TEXTS, case.view["seed"])
    above = curves.previous[:, head[0], head[1]] > curves.previous_null
    names = [checkpoint_name(saved, index) for index in indices]
    return Course(born.over.curve, born.words, [saved.places[index] for index in indices], names, above)


def sees_it(case: "Case", view: "ViewState") -> Check:
    """The axis of training is logarithmic."""
    if view["axis"] != "log":
        return Check(False, "The axis is linear still.")
    course = course_of(case, case.head)
    return Check(True, f"{course.words} On this axis what lies at 0 has no place.")


def opens_the_last_before(case: "Case", view: "ViewState") -> Check:
    """The last checkpoint before the birth is open."""
    course = course_of(case, case.head)
    before, after = course.curve.birth.last_below, course.curve.birth.first_above
    if before is None or after is None:
        return Check(False, course.words)
    line = number(course.curve.birth.threshold)
    if view["revision"] != course.places[before]:
        if view["revision"] not in course.places:
            return Check(False, FINAL)
        here = course.places.index(view["revision"])
        side = f"its line is above {line} there" if here > before else "a later one is still below the line"
        return Check(False, f"The checkpoint at {course.names[here]} is open; {side}.")
    low, high = (number(float(course.curve.effect.mean[at])) for at in (before, after))
    text = f"At {course.names[before]} head {case.head} scores {low} above its control, at {course.names[after]} {high}"
    return Check(True, f"{text}; the line of {line} was fixed before the curves were seen.")


def sets_beside(case: "Case", view: "ViewState") -> Check:
    """The final weights stand beside those of before the birth."""
    if other := other_head(view, case.head):
        return other
    course = course_of(case, case.head)
    before = course.curve.birth.last_below
    if view["revision"] not in course.places[: 0 if before is None else before + 1]:
        return Check(False, "The open checkpoint is not one of before: go back a step.")
    if view["reads"] != "repeat":
        return Check(False, "The head reads the prompt: choose Random repeat under Reads.")
    if view["with_model"] != MODEL:
        return Check(False, f"Nothing stands beside yet: choose {MODEL} under Compare with.")
    repeated = case.sample.repeated
    cells = tuple(zip(*stripe("induction", repeated.n, repeated.bos).cells))
    early = open_beside(case.view.twin(revision=view["revision"]))
    looks = (attention(model, repeated.tokens[0], case.head)[cells] for model in (early, case.model))
    then, now = map(np.mean, looks)
    name = course.names[course.places.index(view["revision"])]
    text = f"Head {case.head} gives the outlined cells {percent(then)} of its attention at {name}, and {percent(now)}"
    return Check(True, f"{text} in the final weights.")


def came_first(case: "Case", view: "ViewState") -> Check:
    """The head that feeds this one's keys is selected or pinned."""
    feeder = feeder_of(case)
    if view.selected != feeder and feeder not in view["pins"]:
        return Check(False, f"The head that feeds {case.head} through its keys is neither selected nor pinned yet.")
    course, fed = course_of(case, feeder), course_of(case, case.head)
    below = np.flatnonzero(~course.above)
    start = 0 if not len(below) else int(below[-1]) + 1
    if start == len(course.names):
        return Check(True, f"The previous-token score of head {feeder} is not above chance at the end. {fed.words}")
    since = f"From {course.names[start]} on, the previous-token score of head {feeder} is above what the best head "
    return Check(True, f"{since}reaches by chance. {fed.words}")


def comes_again(case: "Case", view: "ViewState") -> Check:
    """The tab of other seeds is open."""
    if view["more"] != "runs":
        return Check(False, "The tab is not open yet.")
    rows = [row for row in training_runs() if row.model == MODEL]
    recipe = next(row.repeat_share for row in rows if row.shipped)
    alike = list({row.seed: row for row in rows if row.repeat_share == recipe}.values())  # of each run the last row
    said = ", ".join(f"seed {row.seed} at {number(row.prefix_matching)} (head {row.best_head})" for row in alike)
    heads = len({row.best_head for row in alike})
    text = f"The runs of {MODEL} with the same recipe end at: {said}. "
    return Check(True, f"{text}{'It is another head in each.' if heads == len(alike) else f'{heads} different heads.'}")


CHECKS = (sees_it, opens_the_last_before, sets_beside, came_first, comes_again)
