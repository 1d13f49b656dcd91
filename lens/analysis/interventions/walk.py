"""The growing batch: each row enters at the layer where it is changed, so that the layers are walked once.

A row is one pair with one cell. It holds only the positions from ``start`` on: what stands before is the same in the
unchanged run, whose keys and values it reads. The layers are the model's own blocks, so every structure is computed as
the model computes it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lens.analysis.interventions.cells import Place
from lens.analysis.interventions.intervention import Intervention
from lens.analysis.interventions.recording import NORMS, Run, frozen_names
from lens.analysis.interventions.rows import Rows, cut_positions
from lens.analysis.interventions.sites import Site, find_site
from lens.analysis.interventions.values import Values
from lens.attention import KeyValues
from lens.hooks import HookPoint, HookSpec, hooks
from lens.model import Transformer
from lens.positions import Places, Rotation


class Prefix(KeyValues):
    """Keys and values of the unchanged run before ``start``, for each row; what a row adds is used and not kept.

    ``more`` are the rows' own keys and values that follow them, where only the last position is still computed.
    """

    def __init__(self, past: KeyValues, start: int, more: tuple[Tensor, Tensor] | None = None) -> None:
        super().__init__()
        self.base, self.start, self.more, self.pair = past, start, more, None

    @property
    def n_pos(self) -> int:
        """How many positions stand before those that are computed."""
        return self.start + (0 if self.more is None else self.more[0].shape[1])

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values that the rows of ``layer`` see."""
        whole = []
        for which, new in enumerate((k, v)):
            old = self.base.layers[layer][which]
            before = old.expand(len(k), -1, -1, -1) if len(old) == 1 else old[self.pair]
            middle = [] if self.more is None else [self.more[which]]
            whole.append(torch.cat([before[:, : self.start], *middle, new], dim=1))
        return whole[0], whole[1]


class Setup(NamedTuple):
    """What a walk needs besides its rows."""

    model: Transformer
    intervention: Intervention
    base: Run
    values: Values

    @property
    def site(self) -> Site:
        """The site that is changed."""
        return find_site(self.intervention.site, self.model.cfg)


class Walked(NamedTuple):
    """The final streams of the rows; ``rows`` says at which positions."""

    rows: Rows
    final: Float[Tensor, "row pos d_model"]


def walk(setup: Setup, rows: Rows, only_last: bool = False) -> Walked:
    """Take all rows through the layers, each from its own first layer on.

    ``only_last``: nothing but the last position will be read, so the last layer computes no other, and only keys and
    values of those before it.
    """
    model, n_layers = setup.model, setup.model.cfg.n_layers
    mask = setup.base.mask[rows.pair, : rows.stop]
    mask = None if mask.all() else mask
    past = Prefix(setup.base.past, rows.start)
    like = setup.base.final[rows.pair[:1], rows.start : rows.stop]
    places = model.places(like.expand(len(rows.pair), -1, -1), mask, past)
    last, resid = rows._replace(start=rows.stop - 1), like[:0]
    only_last = only_last and last.start > rows.start
    for layer in range(min(rows.join[0], n_layers), n_layers):
        n_new = sum(join == layer for join in rows.join)
        if n_new:
            new = setup.base.kept[f"blocks.{layer}.hook_resid_pre"][rows.pair[len(resid) : len(resid) + n_new]]
            resid = torch.cat([resid, new[:, rows.start : rows.stop]])
        past.pair = rows.pair[: len(resid)]
        if only_last and layer == n_layers - 1:
            resid = last_position(setup, rows, resid, None if mask is None else mask[: len(resid)])
            break
        with hooks(model, list(changes(setup, rows, layer, len(resid)))):
            resid = model.blocks[layer](resid, first_rows(places, len(resid)), past)
    found = last if only_last else rows
    late = rows.pair[len(resid) :]  # rows that only change the final norm
    if len(late):
        resid = torch.cat([resid[:, -1:] if only_last else resid, cut_positions(setup.base.final[late], found, "")])
    return Walked(found, resid)


def last_position(
    setup: Setup, rows: Rows, resid: Float[Tensor, "row pos d_model"], mask: Bool[Tensor, "row key"] | None
) -> Float[Tensor, "row 1 d_model"]:
    """The last layer at the rows' last position alone."""
    model, layer = setup.model, setup.model.cfg.n_layers - 1
    block, pair = model.blocks[layer], rows.pair[: len(resid)]
    early, late = rows._replace(stop=rows.stop - 1), rows._replace(start=rows.stop - 1)
    before = None if mask is None else mask[:, :-1]
    places = model.places(resid[:, :-1], before, Prefix(setup.base.past, rows.start))
    with hooks(model, list(changes(setup, early, layer, len(resid)))):
        _, k_in, v_in = block.attention_inputs(block.hook_resid_pre(resid[:, :-1]), places)
        k, v = block.attn.keys_values(k_in, v_in)
        k = block.attn.positioned("k", k, places)
    past = Prefix(setup.base.past, rows.start, (k, v))
    past.pair = pair
    with hooks(model, list(changes(setup, late, layer, len(resid)))):
        return block(resid[:, -1:], model.places(resid[:, -1:], mask, past), past)


def first_rows(places: Places, n: int) -> Places:
    """The places of the first ``n`` rows; what all rows share stays as it is."""

    def cut(x: Tensor | None) -> Tensor | None:
        return x if x is None or len(x) == 1 else x[:n]

    def cut_rotation(x: Rotation | None) -> Rotation | None:
        return None if x is None else Rotation(cut(x.cos), cut(x.sin), x.adjacent)

    return Places(
        positions=places.positions[:n],
        allowed={width: cut(allowed) for width, allowed in places.allowed.items()},
        rotation=cut_rotation(places.rotation),
        local_rotation=cut_rotation(places.local_rotation),
        bias=cut(places.bias),
        pos_embed=cut(places.pos_embed),
    )


def changes(setup: Setup, rows: Rows, layer: int, n_rows: int) -> Iterator[HookSpec]:
    """The hooks of one layer: what is frozen first, then what is replaced."""
    names = [f"blocks.{layer}.attn.hook_pattern", *(f"blocks.{layer}.{norm}.hook_scale" for norm in NORMS)]
    frozen = set(frozen_names(setup.model, setup.intervention.freeze))
    for name in names:
        if name in frozen:
            yield name, _freezing(setup.base.kept[name], rows, n_rows)
    edit = edit_of(setup, rows, layer, n_rows)
    if edit is not None:
        yield setup.site.hook_name(layer), edit


def _freezing(kept: Tensor, rows: Rows, n_rows: int):
    def put(activation: Tensor, hook: HookPoint) -> Tensor:
        return cut_positions(kept[rows.pair[:n_rows]], rows, hook.name)

    return put


def edit_of(setup: Setup, rows: Rows, layer: int, n_rows: int):
    """The hook that replaces at ``layer`` what the cells of the first ``n_rows`` rows say; None without such a row."""
    chosen = [i for i in range(n_rows) if any(place.layer == layer for place in rows.cells[i])]
    if not chosen:
        return None
    at = torch.tensor(chosen, device=rows.pair.device)
    name = setup.site.hook_name(layer)

    def put(activation: Tensor, hook: HookPoint) -> Tensor:
        old = activation[at]
        new = setup.values(layer, name, old, rows._replace(pair=rows.pair[at], ids=rows.ids[at]))
        where = selection(setup, rows, layer, chosen, old)
        activation[at] = torch.where(where, new.to(old.dtype), old)
        return activation

    return put


def selection(setup: Setup, rows: Rows, layer: int, chosen: list[int], like: Tensor) -> Bool[Tensor, "row *axes"]:
    """True where the cells of the ``chosen`` rows replace, broadcastable to the activation ``like``."""
    lengths = setup.base.mask.sum(-1).tolist()
    pattern = setup.site.name == "pattern"
    axes = {"pos": 2, "head": 1, "key": 3} if pattern else {"pos": 1, "head": 2, "neuron": 2}
    axes = {axis: dim for axis, dim in axes.items() if axis in setup.site.axes}
    where = torch.zeros(like.shape[: 1 + max(axes.values())], dtype=torch.bool)
    pairs = rows.pair.tolist()
    for i, row in enumerate(chosen):
        for place in rows.cells[row]:
            if place.layer == layer:
                where[i][_index(place, axes, lengths[pairs[row]], rows.start, like.shape)] = True
    where = where.to(like.device)
    return where.reshape(*where.shape, *[1] * (like.ndim - where.ndim))


def _index(
    place: Place, axes: dict[str, int], length: int, start: int, shape: Sequence[int]
) -> tuple[slice | int, ...]:
    index: list[slice | int] = [slice(None)] * max(axes.values())
    for axis, dim in axes.items():
        at = getattr(place, axis)
        if at is None:
            continue
        if axis == "pos":
            at = (at + length if at < 0 else at) - start
        if not 0 <= at < shape[dim]:  # the rows do not hold this position here, because nothing there can matter
            return (slice(0, 0),) * len(index)
        index[dim - 1] = at
    return tuple(index)
