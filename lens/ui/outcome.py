"""What a tab hands to its page when its figures stand: what is to be said of them, and what can be taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lens.ui.explanation import Explanation, explain
from lens.ui.export import Export, export

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState

__all__ = ["Explanation", "Export", "Outcome", "conclude"]


class Outcome(NamedTuple):
    """A page can forget neither part of it: both are drawn by ``conclude``, in this order."""

    explanation: Explanation
    export: Export


def conclude(view: ViewState, model: HookedTransformer | None, outcome: Outcome | None) -> None:
    """The end of a tab; nothing after one that says itself why there is no figure. ``model``: see ``explain``."""
    if outcome is not None:
        explain(view, model, outcome.explanation)
        export(view, outcome.export)
