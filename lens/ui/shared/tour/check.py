"""What the steps of the tour are checked against: the strongest induction head of the model that the tour is about."""

from typing import TYPE_CHECKING, NamedTuple

from lens.analysis.largest_head import largest_head
from lens.analysis.names import Head
from lens.ui.ending import end_page
from lens.ui.models import open_beside
from lens.ui.shared import reasons, repeats
from lens.ui.shared.chain.link import Case
from lens.ui.shared.tour.steps import MODEL

if TYPE_CHECKING:
    from lens.ui.view import ViewState


class Check(NamedTuple):
    """Whether a step is done; ``words``: what its data say if it is, else what is still missing."""

    done: bool
    words: str


def case_of(view: "ViewState") -> Case:
    """The head with the highest induction score of the final weights, whatever checkpoint the page shows."""
    final = view.twin(model=MODEL, revision="")
    model = open_beside(final)
    sample = repeats.sample(model, repeats.settings(final, model))
    return Case(final, model, largest_head(sample.scores["induction"].score.mean), sample, full=False)


def other_head(view: "ViewState", head: Head) -> Check | None:
    """What is missing where another head than ``head`` is selected; None where it is selected."""
    if view.selected == head:
        return None
    shown = "No head is selected yet" if view.selected is None else f"Head {view.selected} is selected"
    return Check(False, f"{shown}; this chapter is about head {head}, the strongest.")


def feeder_of(case: Case) -> Head:
    """The earlier head that the keys of the head read most on the repeats; without one nothing can be checked."""
    write = reasons.stripe_answer(case.model, case.head, case.sample, case.view["seed"]).keys.write
    if write.kind != "head":
        end_page()
    return Head(write.layer, write.head)
