"""An experiment as JSON, and as Python that reproduces its numbers."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from lens.analysis.interventions.ablation import Target
from lens.analysis.interventions.cells import Cell, Grid, Place
from lens.analysis.interventions.head_sets import HeadSets
from lens.analysis.interventions.intervention import Experiment, Intervention, Metric
from lens.analysis.interventions.pairs import Noise, Pairs
from lens.analysis.interventions.path import Path
from lens.load.number_format import number_format
from lens.untrusted import NotJson, parse_json

VERSION = 1


def to_json(experiment: Experiment) -> str:
    """The experiment as one line of JSON. ValueError for a metric that is a Python function."""
    if experiment.metric.function is not None:
        raise ValueError("A metric of your own is Python code and cannot be written as JSON; choose a named metric.")
    parts = {name: _short(getattr(experiment, name)) for name in ("pairs", "intervention", "grid", "metric")}
    return json.dumps({"version": VERSION, **parts}, separators=(",", ":"))


def _short(value: Any) -> dict[str, Any]:
    """Only what differs from the default."""
    written = asdict(value)
    defaults = {field.name: field.default for field in fields(value)}
    return {name: item for name, item in written.items() if getattr(value, name) != defaults[name]}


def from_json(text: str) -> Experiment:
    """The experiment that :func:`to_json` wrote; ValueError says what is wrong with it."""
    try:
        data = parse_json(text)
    except NotJson as error:
        raise ValueError(f"No experiment: the text is no JSON ({error}).") from error
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise ValueError(f"No experiment of version {VERSION}; export it again with this version of Lens.")
    return Experiment(
        pairs=_pairs(_part(data, "pairs", Pairs)),
        intervention=_made(Intervention, _part(data, "intervention", Intervention)),
        grid=_grid(_part(data, "grid", Grid)),
        metric=_made(Metric, _part(data, "metric", Metric, without=("function",))),
    )


def _part(data: dict, name: str, kind: type, without: tuple[str, ...] = ()) -> dict[str, Any]:
    part = data.get(name)
    if not isinstance(part, dict):
        raise ValueError(f"No experiment: {name} is missing.")
    allowed = {field.name for field in fields(kind)} - set(without)
    unknown = sorted(set(part) - allowed)
    if unknown:
        raise ValueError(f"No experiment: {name} has no {unknown[0]!r}; it has {', '.join(sorted(allowed))}.")
    return {key: _tuples(value) for key, value in part.items()}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _made(kind: type, part: dict[str, Any]) -> Any:
    """``kind`` from checked parts; ValueError for values of another type."""
    for name, value in part.items():
        allowed = {
            "layer": int, "pos": int, "head": int, "key": int, "neuron": int, "coefficient": (int, float),
            "where": (str, tuple), "scale": (int, float), "seed": int,
            "site": str, "put": str, "into": str, "kind": str,
        }.get(name, tuple)  # fmt: skip
        inside = (str,) if name in ("over", "freeze") else (int, float) if name == "vector" else (int,)
        flat = value if isinstance(value, tuple) else ()
        wrong = [one for one in flat if not isinstance(one, (*inside, tuple)) or isinstance(one, bool)]
        if not isinstance(value, allowed) or isinstance(value, bool) or wrong:
            raise ValueError(f"No experiment: {name}={value!r} is of the wrong kind.")
    return kind(**part)


def _pairs(part: dict[str, Any]) -> Pairs:
    noise = part.pop("noise", None)
    sides = [part.get(name, ()) for name in ("clean", "corrupted", "answers", "wrong")]
    if not all(isinstance(side, tuple) and all(map(_are_ids, side)) for side in sides):
        raise ValueError("No experiment: prompts and answers must be lists of token ids.")
    if {"clean", "corrupted"} - set(part):
        raise ValueError("No experiment: pairs need clean and corrupted prompts.")
    if noise is not None:
        if not isinstance(noise, dict) or "positions" not in noise or set(noise) - {"positions", "scale", "seed"}:
            raise ValueError("No experiment: noise has positions, scale and seed.")
        noise = _made(Noise, {name: _tuples(value) for name, value in noise.items()})
    return replace(_made(Pairs, part), noise=noise)


def _are_ids(row: Any) -> bool:
    return isinstance(row, tuple) and all(type(one) is int for one in row)


def _grid(part: dict[str, Any]) -> Grid:
    sets = part.pop("sets", ())
    cells = [[_place(place) for place in cell] for cell in sets if isinstance(cell, tuple)]
    if len(cells) != len(sets):
        raise ValueError("No experiment: sets are lists of places.")
    return _made(Grid, part | ({"sets": tuple(map(tuple, cells))} if cells else {}))


def _place(place: Any) -> Place:
    fits = isinstance(place, tuple) and 1 <= len(place) <= len(Place._fields) and place[0] is not None
    if not fits or not all(one is None or type(one) is int for one in place):
        raise ValueError(f"No experiment: {place!r} is no place; wanted [layer, pos, head, key, neuron].")
    return Place(*place)


def to_python(
    model: str, experiment: Experiment, cell: Cell | None = None, revision: str | None = None, seed: int = 0
) -> str:
    """A script that needs ``lens`` alone and prints a sweep or a cell: metric by pair, effect, share of the gap.

    ``seed`` is that of the intervals.
    """
    if experiment.metric.function is not None:
        raise ValueError("A metric of your own is Python code already; put it into the script by hand.")
    chosen = experiment if cell is None else replace(experiment, grid=Grid(sets=(cell,)))
    names = "Experiment, Grid, Intervention, Metric, Noise, Pairs, Place, closed, effect, run_sweep"
    lines = [
        *_opening(model, names, revision),
        *_experiment(chosen),
        "sweep = run_sweep(model, experiment)",
        'print("before:", sweep.base.tolist())',
        'print("after: ", sweep.values.tolist())  # [*axes, pair], axes as in sweep.axes',
        f"found, share = effect(sweep, {seed}), closed(sweep, {seed})  # each with low and high, or None and why",
        'print("effect:", found.value.tolist(), experiment.metric.unit)',
        'print("interval:", found.note if found.low is None else (found.low.tolist(), found.high.tolist()))',
        'print("share of the gap:", share.note if share.value is None else [one.tolist() for one in share[:3]])',
    ]
    return "\n".join(lines) + "\n"


def _experiment(experiment: Experiment, name: str = "experiment") -> list[str]:
    """The lines that make an experiment."""
    parts = ("pairs", "intervention", "grid", "metric")
    return [f"{name} = Experiment(", *(f"    {part}={getattr(experiment, part)!r}," for part in parts), ")"]


def ablation_to_python(
    model: str,
    experiment: Experiment,
    target: Target,
    revision: str | None = None,
    seed: int = 0,
    every_head: str | None = None,
) -> str:
    """A script that needs ``lens`` alone and prints the effect of removing ``target`` in every way, with its share.

    ``experiment`` says on which pairs, by which metric, and whether patterns are frozen; ``seed`` is that of controls
    and intervals; ``every_head`` a way of removing, to print every single head removed in it as well.
    """
    names = "Metric, Noise, Pairs, effect, run_sweep"
    frozen = "patterns" in experiment.intervention.freeze
    lines = [
        *_opening(model, names, revision),
        "from lens.analysis.interventions.ablation import (",
        "    PUTS, Target, ablation, cells_of, chance, joint, share_of_gap, single_heads",
        ")",
        "",
        f"pairs = {experiment.pairs!r}",
        f"metric, frozen, seed = {experiment.metric!r}, {frozen}, {seed}",
        f"cells = cells_of(model.cfg, {target!r}, seed)",
        "for put in PUTS:  # the chosen ones first, then each alone, then the controls",
        "    sweep = run_sweep(model, ablation(pairs, metric, cells, put, frozen))",
        "    found = effect(sweep, seed)",
        '    print(f"{put} effect:", found.value.tolist(), metric.unit)',
        '    print(f"{put} interval:", found.note if found.low is None else (found.low.tolist(), found.high.tolist()))',
        '    print(f"{put} share of the way:", share_of_gap(sweep, 0, seed))',
        '    if put == "other":',
        '        print("beyond the sum of each alone:", joint(sweep, cells, seed))',
    ]
    if every_head is not None:
        lines += [
            f"sweep = run_sweep(model, single_heads(pairs, metric, {every_head!r}, frozen))",
            'print("every head:", effect(sweep, seed).value.tolist())  # [layer, head]',
            'print("by chance within:", chance(sweep, seed))',
        ]
    return "\n".join(lines) + "\n"


def change_lines(experiment: Experiment, cell: Cell, pair: int, n_top: int) -> str:
    """Lines for the end of a script with a ``model``: what one cell does to one prompt, token by token."""
    lines = [
        "",
        "from lens.analysis.interventions import (",
        "    Experiment, Grid, Intervention, Metric, Noise, Pairs, Place, cell_change",
        ")",
        "",
        *_experiment(experiment, "one"),
        f"change = cell_change(model, one, {tuple(cell)!r}, {pair}, n_top={n_top})",
        'print("loss before and after:", change.loss.tolist())',
        'print("tokens:", [model.to_string([token]) for token in change.top.tolist()])',
        'print("probability before and after:", change.prob.tolist())',
        'print("rank before and after:", (1 + change.rank).tolist())',
    ]
    return "\n".join(lines) + "\n"


def agreement_lines() -> str:
    """Lines for the end of a script of :func:`to_python`: the approximation held against the sweep."""
    lines = [
        "",
        "from lens.analysis.interventions import agreement, attribution",
        "",
        'print("approximation:", agreement(sweep, attribution(model, [experiment])[0]).note)',
    ]
    return "\n".join(lines) + "\n"


def sets_to_python(model: str, sets: HeadSets, revision: str | None = None) -> str:
    """A script that needs ``lens`` alone and prints what :func:`faithfulness` says of a set of heads."""
    experiment = sets.experiment
    lines = [
        *_opening(model, "Intervention, Metric, Noise, Pairs, faithfulness, head_sets, run_sweep", revision),
        f"pairs = {experiment.pairs!r}",
        f"heads = {[tuple(head) for head in sets.heads]}",
        f"intervention = {experiment.intervention!r}",
        f"sets = head_sets(model.cfg, pairs, heads, {experiment.metric!r}, intervention, seed={sets.seed})",
        "found = faithfulness(sets, run_sweep(model, sets.experiment))",
        "print(found.sentence)",
        'print("kept, removed:", tuple(found.kept), tuple(found.removed))  # share, ends of its 95% interval',
        'print("own share of each head:", dict(zip(map(str, sets.heads), map(tuple, found.own))))',
    ]
    return "\n".join(lines) + "\n"


def paths_to_python(model: str, path: Path, revision: str | None = None, seed: int = 0) -> str:
    """A script that needs ``lens`` alone and prints the direct effect of every sender, of heads with intervals."""
    path = replace(path, receivers=tuple(map(tuple, path.receivers)))  # a Head is written as what a script can read
    lines = [
        *_opening(model, "Metric, Noise, Pairs, Path, path_effect, path_patch, senders_in_order", revision),
        "path = Path(",
        *(f"    {one.name}={getattr(path, one.name)!r}," for one in fields(path)),
        ")",
        "found = path_patch(model, path)",
        "for sender, effect in senders_in_order(found):",
        '    print(sender.kind, sender.layer, "" if sender.head is None else sender.head, effect)',
        'print("all senders at once:", float((found.together - found.base).mean()), path.metric.unit)',
        f"heads = path_effect(found, {seed})",
        'print("intervals of heads:", heads.note if heads.low is None else (heads.low.tolist(), heads.high.tolist()))',
    ]
    return "\n".join(lines) + "\n"


def repair_to_python(
    model: str,
    experiment: Experiment,
    head: tuple[int, int],
    together: Sequence[tuple[int, int]] = (),
    revision: str | None = None,
    seed: int = 0,
) -> str:
    """A script that needs ``lens`` alone and prints direct and total effects, one head taken apart, and pairs of heads.

    ``experiment`` removes every head alone; ``together`` are removed two by two.
    """
    lines = [
        *_opening(model, "Experiment, Grid, Intervention, Metric, Noise, Pairs, path_patch, run_sweep", revision),
        "from lens.analysis.answer.self_repair import (",
        "    direct_paths_of, interactions, self_repair, split, two_by_two",
        ")",
        "",
        *_experiment(experiment),
        f"direct = direct_paths_of(experiment.pairs, experiment.metric, {experiment.intervention.put!r})",
        f"found = self_repair(path_patch(model, direct), run_sweep(model, experiment), seed={seed})",
        'print("direct effects:", found.direct.value.tolist())  # [layer, head]',
        'print("total effects:", found.total.value.tolist())',
        'print("compensated for:", None if found.compensated is None else found.compensated.nonzero().tolist())',
        f"parts = split(model, experiment, {tuple(head)!r})",
        "for write, change in zip(parts.writes, parts.parts.mean(-1).tolist()):",
        '    print("later part:", write, change)',
        'print("final scale:", float(parts.scale.mean()))',
    ]
    if together:
        heads = [tuple(one) for one in together]
        lines.append(f"print(interactions(run_sweep(model, two_by_two(experiment, {heads!r})), seed={seed}))")
    return "\n".join(lines) + "\n"


def _opening(model: str, names: str, revision: str | None) -> list[str]:
    given = [repr(model)]
    given += [f"revision={revision!r}"] if revision else []
    given += [f"dtype={number_format()!r}"] if number_format() != "float32" else []
    return [
        "from lens import HookedTransformer",
        "from lens.analysis.interventions import (",
        f"    {names}",
        ")",
        "",
        f"model = HookedTransformer.from_pretrained({', '.join(given)})",
    ]
