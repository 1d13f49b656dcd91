"""The links that this page does not compute yet, each with its reason and what would fill it."""

from typing import Any

from lens.ui import parts
from lens.ui.pieces.head import Data, Finding
from lens.ui.view import ViewState


def born(view: ViewState, model: Any, head: tuple[int, int], data: Data) -> Finding:
    """The head's scores along the training."""
    parts.not_computed(
        f"no link of this page reads checkpoints: the scores of head {head[0]}.{head[1]} along a training, where its "
        "checkpoints are available, would show at which step it appeared."
    )
    return Finding("not computed yet", "later")
