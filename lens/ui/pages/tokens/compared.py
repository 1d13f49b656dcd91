"""Another model, checkpoint or prompt beside the first: what each token cost."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lens.ui.limits import limits
from lens.ui.shared.compare.per_token import Scored, pair, scored
from lens.ui.shared.compare.section import compare

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState


def draw(view: ViewState, model: HookedTransformer, place: DeltaGenerator, first: Scored) -> None:
    """The section."""
    numbers = partial(scored, limits().text_tokens)
    compare(view, model, place, first, numbers, lambda sides, *both: [pair(view["colour"], sides, *both)])
