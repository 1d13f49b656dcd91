"""Another model, checkpoint or prompt beside the first: the parts of the same number of the answer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lens.analysis.answer.direct_attribution import DirectAttribution, direct_attribution, why_not_folded
from lens.figures.theme import number as written
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.ending import end_page
from lens.ui.estimate import forward_seconds
from lens.ui.labels import token_labels
from lens.ui.models import read_prompt
from lens.ui.pages.attribution.request import LONGEST, Request
from lens.ui.shared.compare import pairs
from lens.ui.shared.compare.per_token import id_beside, place_beside
from lens.ui.shared.compare.section import compare

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.hooked import HookedTransformer
    from lens.ui.pages.attribution.request import Parts
    from lens.ui.shared.compare.pairs import Pair
    from lens.ui.shared.compare.section import Sides
    from lens.ui.view import ViewState

SUMS = {"head": "attention, all heads", "mlp": "MLPs, all layers"}
DEFINITION = "What each part of the model adds to the {} directly, through the final norm at its scale there."
TOGETHER = " With what rounding leaves, all parts are {} in the first and {} in the second."


class Asked(NamedTuple):
    """A number of one prompt, and its parts."""

    request: Request
    of: DirectAttribution


def draw(view: ViewState, place: DeltaGenerator, request: Request, found: Parts) -> None:
    """The section."""
    first, numbers = Asked(request, found.of), partial(asked, request)
    compare(view, request.model, place, first, numbers, _pairs, seconds=_seconds)


def asked(like: Request, view: ViewState, model: HookedTransformer) -> Asked:
    """The same number of the second side: after its last token, or after the one at the same place; of the same words.

    The section ends where it has none of them.
    """
    prompt = read_prompt(view, model, LONGEST)
    at = place_beside((like.model, model), like.prompt, prompt, like.at)
    if at is None:
        label = like.prompt.labels[like.at]
        parts.not_computed(f"no token of the second text covers what {like.at}: {label} covers in the first.")
        end_page()
    tokens = [None if i is None else _token(like.model, model, i) for i in (like.right, like.wrong)]
    request = like._replace(model=model, prompt=prompt, at=at, right=tokens[0], wrong=tokens[1])
    if why := why_not_folded(model, request._replace(folded=False).target) if like.folded else "":
        parts.not_computed(f"the first is read with folded weights, and those are not offered here because {why}.")
        end_page()
    return Asked(request, analyse(direct_attribution, model, prompt.tokens, request.target))


def _token(model: HookedTransformer, other: HookedTransformer, token: int) -> int:
    """The id of a token's text in another model; the section ends where that is several tokens."""
    found = id_beside(model, other, token)
    if found is None:
        (label,) = token_labels(model, [token])
        parts.not_computed(f"{label} is several tokens for {other.name}: a logit belongs to one.")
        end_page()
    return found


def _seconds(view: ViewState, model: HookedTransformer) -> float:
    return 3 * forward_seconds(model, read_prompt(view, model, LONGEST).tokens.shape[1], unembed=False)


def _pairs(sides: Sides, first: Asked, second: Asked) -> list[Pair]:
    unit, definition = first.request.unit, DEFINITION.format(first.request.name)
    both = (first, second)
    whole = TOGETHER.format(*(written(float(np.asarray(one.of.value)[0])) for one in both))
    codes = [_code(one.request, NAMED) for one in both]
    named = pairs.names(pairs.Quantity("sum of parts", unit, definition + whole, *codes, signed=True), *map(sums, both))
    grids = [_grid(one) for one in both]
    codes = [_code(one.request, HEADS) for one in both]
    heads = pairs.heads(pairs.Quantity("direct effect of heads", unit, definition, *codes, signed=True), *grids)
    mlps = [_mlps(one) for one in both]
    if not all(map(len, mlps)):
        return [named, heads]
    codes = [_code(one.request, MLPS) for one in both]
    quantity = pairs.Quantity("direct effect of MLPs", unit, definition, *codes, signed=True)
    return [named, heads, pairs.bars(quantity, *mlps, pairs.layers(*map(len, mlps)))]


def sums(one: Asked) -> dict[str, float]:
    """What heads and MLPs add together, and every other part by its name."""
    return {name: float(values[0]) for name, values in sums_by_prompt(one.of).items()}


def sums_by_prompt(of: DirectAttribution) -> dict[str, np.ndarray]:
    """The same, [prompt]."""
    found: dict[str, np.ndarray] = {}
    for write, values in zip(of.writes, np.asarray(of.parts, np.float64).T):
        name = SUMS.get(write.kind, str(write))
        found[name] = found.get(name, 0.0) + values
    return found


def _grid(one: Asked) -> np.ndarray:
    cfg = one.request.model.cfg
    return np.asarray(one.of.heads(cfg.n_layers, cfg.n_heads))[0]


def _mlps(one: Asked) -> np.ndarray:
    """[layer]; of a model without MLPs none."""
    return np.array([part for write, part in zip(one.of.writes, np.asarray(one.of.parts)[0]) if write.kind == "mlp"])


HEADS = "values = found.heads(model.cfg.n_layers, model.cfg.n_heads)[0]"
NAMED = (
    f"sums, named = {{}}, {SUMS!r}\n"
    "for write, part in zip(found.writes, found.parts[0].tolist()):\n"
    "    name = named.get(write.kind, str(write))\n"
    "    sums[name] = sums.get(name, 0.0) + part\n"
    "values = list(sums.values())"
)
MLPS = 'values = [part for write, part in zip(found.writes, found.parts[0].tolist()) if write.kind == "mlp"]'


def _code(request: Request, values: str) -> str:
    wrong = "" if request.wrong is None else f", torch.tensor([{request.wrong}])"
    return (
        "import torch\n\nfrom lens.analysis.answer.direct_attribution import Target, direct_attribution\n\n"
        f'target = Target("{request.kind}", torch.tensor([{request.at}]), torch.tensor([{request.right}]){wrong}, '
        f"folded={request.folded})\n"
        f"found = direct_attribution(model, tokens[:, :{len(request.prompt.labels)}], target)\n{values}"
    )
