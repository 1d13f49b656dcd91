"""The copying scores of another model or checkpoint: head by head, or the layers of models of other shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens.analysis.ov_copying import ov_cores
from lens.ui.calls import is_kept
from lens.ui.estimate import operation_seconds
from lens.ui.pages.ov_copying.grid import Copying, choose_embedding, read_copying
from lens.ui.pages.ov_copying.null import EIG_SECONDS
from lens.ui.shared.compare import pairs
from lens.ui.shared.compare.section import compare
from lens.ui.shared.copying_words import DEFINITIONS

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.hooked import HookedTransformer
    from lens.ui.shared.compare.pairs import Pair
    from lens.ui.shared.compare.section import Sides
    from lens.ui.view import ViewState

CODE = """from lens.analysis.ov_copying import ov_copying

values = ov_copying(model, {embedding!r}, folded={folded}).{circuit}.score"""


def draw(view: ViewState, model: HookedTransformer, place: DeltaGenerator, copying: Copying) -> None:
    """The section."""
    compare(view, model, place, copying, _copying, _pairs, reads_prompt=False, seconds=_seconds)


def _copying(view: ViewState, model: HookedTransformer) -> Copying:
    choose_embedding(view, model)
    return read_copying(view, model)


def _seconds(view: ViewState, model: HookedTransformer) -> float:
    """Of one product over the vocabulary, through the first MLP too where it is added, and of all eigenvalues."""
    cfg, added = model.cfg, view["embedding"] == "first_mlp" and not model.cfg.attn_only
    if is_kept(ov_cores, model, view["embedding"], view["weights"] == "folded"):
        return 0.0
    product = 2 * cfg.d_vocab * cfg.d_model * (2 * cfg.d_model + 3 * cfg.d_mlp if added else cfg.d_model)
    return operation_seconds(model, product) + 2 * cfg.n_layers * cfg.n_heads * EIG_SECONDS * (cfg.d_head / 64) ** 3


def _pairs(sides: Sides, *both: Copying) -> list[Pair]:
    circuit = both[0].circuit
    codes = (
        CODE.format(embedding=view["embedding"], folded=view["weights"] == "folded", circuit=circuit)
        for view in sides.views
    )
    quantity = pairs.Quantity(f"{circuit} OV copying", "", DEFINITIONS[circuit], *codes, signed=True)
    return [pairs.heads(quantity, *(of.chosen.score for of in both), note=pairs.EXACT)]
