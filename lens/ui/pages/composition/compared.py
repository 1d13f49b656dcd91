"""The composition scores of another model or checkpoint: pair by pair, or between the layers of other shapes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lens.analysis.composition import composition
from lens.analysis.head_weights import why_not_bilinear
from lens.analysis.instruments.registry import instrument
from lens.figures.theme import number
from lens.ui import parts
from lens.ui.calls import is_kept
from lens.ui.ending import end_page
from lens.ui.pages.composition import words
from lens.ui.pages.composition.board import measure_of, offset_of, read_pairs
from lens.ui.shared import instruments, repeats
from lens.ui.shared.compare import pairs
from lens.ui.shared.compare.section import compare

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.analysis.composition import Composition
    from lens.hooked import HookedTransformer
    from lens.ui.shared.compare.pairs import Pair
    from lens.ui.shared.compare.section import Sides
    from lens.ui.view import ViewState

VALUES = {"score": "found.scores", "null": "found.scores - found.null", "z": "found.z"}
CODE = """from lens.analysis.composition import composition

found = composition(model, {mode!r}, offset={offset}, weights={weights!r})
values = {values}"""


def draw(view: ViewState, model: HookedTransformer, place: DeltaGenerator, result: Composition) -> None:
    """The section."""
    pairs_of = partial(_pairs, view["shown"])
    compare(view, model, place, result, _composition, pairs_of, reads_prompt=False, seconds=_seconds)


def _offset(view: ViewState, model: HookedTransformer) -> int:
    return offset_of(view, model, repeats.settings(view, model).n)


def _composition(view: ViewState, model: HookedTransformer) -> Composition:
    if model.cfg.n_layers < 2:
        parts.not_computed(words.ONE_LAYER.format(model.name))
        end_page()
    return read_pairs(view, model, _offset(view, model))


def _seconds(view: ViewState, model: HookedTransformer) -> float:
    mode, offset = view["mode"], _offset(view, model)
    if model.cfg.n_layers < 2 or (mode != "V" and why_not_bilinear(model.cfg)):
        return 0.0
    if is_kept(composition, model, mode, 0 if mode == "V" else offset, view["weights"]):
        return 0.0
    return instruments.seconds(model, instrument(f"feeder_{mode.lower()}"), [])


def _pairs(shown: str, sides: Sides, *both: Composition) -> list[Pair]:
    first, second = (measure_of(result, shown) for result in both)
    codes = (CODE.format(mode=of.mode, offset=of.offset or 0, weights=of.weights, values=VALUES[shown]) for of in both)
    others = [
        f"its null is {number(both[1].null)}" if shown == "null" and both[0].null != both[1].null else "",
        f"δ is {both[1].offset or 'not there'}" if both[0].offset != both[1].offset else "",
    ]
    own = " and ".join(filter(None, others))
    definition = f"{first.definition} In the second {own}." if own else first.definition
    unit = "standard deviations" if shown == "z" else ""
    quantity = pairs.Quantity(first.name, unit, definition, *codes, signed=first.signed)
    return [pairs.edges(quantity, first.values, second.values, note=pairs.EXACT)]
