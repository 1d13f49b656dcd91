"""Cells of a sweep: which part of a site one intervention replaces, and the grids that people look at."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from lens.analysis.interventions.sites import AXES, Site, axis_size, n_layers_of
from lens.config import Config


class Place(NamedTuple):
    """One piece of a site. None means all of that axis; a position below zero counts from the end of each prompt.

    ``head`` is a kv head at sites k and v. ``pos`` is the query of a pattern.
    """

    layer: int
    pos: int | None = None
    head: int | None = None
    key: int | None = None
    neuron: int | None = None


Cell = tuple[Place, ...]  # pieces replaced together, in one run


@dataclass(frozen=True)
class Grid:
    """The cells of a sweep: all combinations along ``over``, at fixed coordinates on the other axes, or given ``sets``.

    ``Grid(("layer", "pos"))``; ``Grid(("layer", "head"))``; ``Grid(("pos", "key"), layer=5, head=2)`` is one head's
    pattern; ``Grid(("layer",), pos=-1)`` is the last position of every layer. ``layers`` and ``positions`` keep only
    some rows. ``sets``: one cell for each tuple of places, all replaced together; then ``over`` is empty.
    """

    over: tuple[str, ...] = ()
    layer: int | None = None
    pos: int | None = None
    head: int | None = None
    key: int | None = None
    neuron: int | None = None
    layers: tuple[int, ...] | None = None
    positions: tuple[int, ...] | None = None
    sets: tuple[Cell, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.over) == bool(self.sets):
            raise ValueError("Grid: give axes to sweep over, or sets of places; one of the two.")
        unknown = [axis for axis in self.over if axis not in AXES]
        if unknown or len(set(self.over)) != len(self.over):
            raise ValueError(f"Grid: over={self.over}; wanted different axes of {', '.join(AXES)}.")
        if self.over and "layer" not in self.over and self.layer is None:
            raise ValueError("Grid: no layer is given. Sweep over 'layer', or fix one with layer=….")

    def entries(self, axis: str, site: Site, cfg: Config, n_pos: int) -> list[int]:
        """The coordinates along one swept axis."""
        chosen = {"layer": self.layers, "pos": self.positions}.get(axis)
        if chosen is not None:
            return list(chosen)
        return list(n_layers_of(site, cfg) if axis == "layer" else range(axis_size(site, axis, cfg, n_pos)))

    def axes(self, site: Site, cfg: Config, n_pos: int) -> dict[str, list[int]]:
        """Axis → coordinates, in the order of the result; sets are numbered."""
        if self.sets:
            return {"set": list(range(len(self.sets)))}
        return {axis: self.entries(axis, site, cfg, n_pos) for axis in self.over}

    def cells(self, site: Site, cfg: Config, n_pos: int) -> list[Cell]:
        """All cells, the last axis fastest. ValueError names a place that does not exist."""
        if self.sets:
            cells = [tuple(Place(*place) for place in places) for places in self.sets]
        else:
            fixed = {axis: getattr(self, axis) for axis in AXES if axis not in self.over}
            axes = self.axes(site, cfg, n_pos)
            cells = [(Place(**fixed, **dict(zip(axes, at))),) for at in product(*axes.values())]
        check_places({place for cell in cells for place in cell}, site, cfg, n_pos)
        return cells


def check_places(places: Iterable[Place], site: Site, cfg: Config, n_pos: int) -> None:
    """ValueError that names the first place that ``site`` does not have in this model and these prompts."""
    for place in places:
        if place.layer not in n_layers_of(site, cfg):
            layers = n_layers_of(site, cfg)
            raise ValueError(f"{site.name} has no layer {place.layer}; its layers are {layers[0]} … {layers[-1]}.")
        for axis in AXES[1:]:
            at = getattr(place, axis)
            if at is None:
                continue
            size = axis_size(site, axis, cfg, n_pos)
            if not (-size if axis == "pos" else 0) <= at < size:
                raise ValueError(f"{site.name} has no {axis} {at}; it has 0 … {size - 1}.")


def heads_set(heads: Iterable[tuple[int, int]], pos: int | None = None) -> Cell:
    """The cell that replaces several (layer, head) together."""
    return tuple(Place(layer, pos, head) for layer, head in heads)
