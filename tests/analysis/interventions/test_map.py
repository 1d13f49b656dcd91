"""The map of a sweep, from hand-made values: what acts, what is beyond chance, where the largest cells stay."""

import numpy as np
import pytest

from lens.analysis.interventions import Experiment, Grid, Intervention, Metric, Pairs, Sweep, closed, effect
from lens.analysis.interventions.map import CellMap, cell_map, moves, pair_changes, stays

NAN = np.nan


def sweep_of(values: list, n: int = 16) -> Sweep:
    """The same values [layer, pos] in each of ``n`` pairs, corrupted 0, clean 2."""
    pairs = Pairs(((1, 2, 3),) * n, ((1, 4, 3),) * n, ((5,),) * n, ((6,),) * n)
    experiment = Experiment(pairs, Intervention("resid_pre", into="corrupted"), Grid(("layer", "pos")), Metric())
    values = np.repeat(np.array(values, np.float32)[..., None], n, axis=-1)
    axes = {"layer": list(range(values.shape[0])), "pos": list(range(values.shape[1]))}
    base, other = np.zeros(n, np.float32), np.full(n, 2, np.float32)
    return Sweep(values, np.zeros(values.shape, np.uint8), base, other, axes, experiment)


def cells_of(value: list, width: float | None = 0.1, is_share: bool = True) -> CellMap:
    value = np.array(value, float)
    ends = (None, None) if width is None else (value - width, value + width)
    return CellMap(value, *ends, "", is_share, "", "", 1e-6)


def test_a_share_is_that_of_the_sweep_and_a_refused_one_becomes_the_change():
    sweep = sweep_of([[0, 2, 0], [1, 0, 0.5]])
    share, change = cell_map(sweep), cell_map(sweep, share=False)
    np.testing.assert_allclose(share.value, closed(sweep).value)
    np.testing.assert_allclose(change.value, effect(sweep).value)
    assert (share.is_share, share.unit, change.is_share, change.unit) == (True, "", False, "logits")
    few = cell_map(sweep_of([[0, 2, 0]], n=2))
    assert not few.is_share
    assert "at least 16" in few.refused
    assert not few.beyond.any()


def test_cells_act_beyond_rounding_and_count_beyond_their_interval():
    cells = cells_of([[1e-9, 0.05, -1.0], [NAN, 0.5, 0.2]])
    assert cells.acts.tolist() == [[False, True, True], [False, True, True]]
    assert cells.beyond.tolist() == [[False, False, True], [False, True, True]]
    assert cells.largest == 1
    assert cells.n_weak == 2
    assert cells.strongest(3) == [(0, 2), (1, 1), (1, 2)]
    assert cells_of([[0.0, 1e-4, 1.0]]).strongest(3) == [(0, 2)]


def test_the_largest_cells_stay_and_move():
    value = [[0, 1.0, 0], [0, 0.9, 0], [0.5, 0, 0], [0, 0.1, 0.9], [NAN] * 3, [0, 0, -1.0]]
    places = stays(np.array(value))
    assert [(one.column, one.rows, one.peak, one.value) for one in places] == [(1, [0, 1], 0, 1.0), (2, [3, 5], 5, -1)]
    assert moves(cells_of(value), places)
    assert not moves(cells_of(value, width=None), places)
    assert not moves(cells_of(value, width=2.0), places)
    assert not moves(cells_of(value, is_share=False), places)
    assert not moves(cells_of(value), places[:1])
    assert [one.rows for one in stays(np.eye(3))] == [[0], [1], [2]]


def test_single_pairs_of_a_cell():
    sweep = sweep_of([[0, 2, NAN]], n=3)
    sweep.values[0, 1] = [1, 4, NAN]
    assert pair_changes(sweep, (0, 1)) == (1, 4, pytest.approx(2.5), 2)
    assert pair_changes(sweep, (0, 2)) is None
