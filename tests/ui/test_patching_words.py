"""Sentences of the Patching page from hand-made numbers."""

from dataclasses import replace

import numpy as np
import pytest

from lens.analysis.interventions import Experiment, Grid, Intervention, Metric, Pairs, Sweep
from lens.analysis.interventions.map import cell_map, reasons
from lens.ui.pages.patching import words
from lens.ui.pages.patching.request import PatchMap, Request
from lens.ui.shared.tasks import TaskChoice

COLUMNS = ["0 a", "1 b ≠", "2 c"]


def found(values, site="resid_pre", grid=Grid(("layer", "pos")), into="corrupted", shown="share", n=16, **rest):  # noqa: B008
    """A sweep with these values [row, column] in each of 16 pairs, corrupted 0, clean 2; NaN is not computed yet."""
    pairs = Pairs(((1, 2, 3),) * n, ((1, 4, 3),) * n, ((5,),) * n, ((6,),) * n)
    experiment = Experiment(pairs, Intervention(site, into=into), grid, Metric())
    values = np.repeat(np.array(values, np.float32)[..., None], n, axis=-1)
    axes = {axis: list(range(size)) for axis, size in zip(grid.over, values.shape)}
    base, other = (np.full(n, end, np.float32) for end in ((0, 2) if into == "corrupted" else (2, 0)))
    sweep = Sweep(values, np.zeros(values.shape, np.uint8), base, other, axes, experiment)
    request = Request(TaskChoice("ioi", pairs, Metric(), "made by hand"), experiment, shown)
    return PatchMap(request, sweep, COLUMNS, values.size, **rest)


def test_information_that_moves_is_said_with_its_layers():
    one = found([[0, 2, 0], [0, 1.9, 0.1], [0, 0.2, 1.8], [0, 0, 2]])
    text = words.notice(one)
    assert "in layers 0 to 1 at 1 b ≠ (up to 1.00 in layer 0), then in layers 2 to 3 at 2 c (up to 1.00 in" in text
    assert "between layer 1 and layer 2 the information moves from 1 b ≠ to 2 c" in text


@pytest.mark.parametrize("change", [{"n": 2}, {"approximate": True}, {"shown": "raw"}])
def test_no_information_moves_where_no_share_is_shown(change):
    values = [[0, 2, 0], [0, 1.9, 0.1], [0, 0.2, 1.8], [0, 0, 2]]
    assert "moves" in words.notice(found(values))
    assert "moves" not in words.notice(found(values, **change))


def test_no_information_moves_while_the_map_fills_or_where_the_gap_may_be_nothing():
    values = [[0, 2, 0], [0, 1.9, 0.1], [0, 0.2, 1.8], [0, 0, 2]]
    assert "moves" not in words.notice(found([*values, [np.nan] * 3]))
    one = found(values)
    noise = np.random.default_rng(0).normal(size=16).astype(np.float32)
    other = replace(one, sweep=one.sweep._replace(other=noise))
    assert "may be 0" in other.cells.refused
    assert "moves" not in words.notice(other)


def test_two_pairs_have_no_share_and_no_interval():
    few = found([[0, 2, 1]], n=2)
    assert words.name(few) == "change"
    assert few.cells.value.tolist() == [[0, 2, 1]]
    assert "2 pairs, at least 16 are needed" in few.cells.refused
    assert "interval" not in words.notice(few)


def test_rounding_is_not_counted_among_the_cells_that_matter():
    """Eight cells of 2e-7 in every pair: their interval excludes 0, and they are rounding."""
    text = words.notice(found([[2e-7] * 4 + [2.0], [2e-7] * 4 + [0.0]], "z", Grid(("layer", "head"))))
    assert "excludes 0 in 1 of the 1 cells" in text


def test_information_that_stays_is_not_said_to_move():
    assert "moves" not in words.notice(found([[0, 2, 0], [0, 2, 0]]))


def test_noising_reads_as_what_is_lost():
    one = found([[2, 0, 1]], into="clean")
    assert words.name(one) == "share lost"
    assert one.cells.value.tolist() == [[0, 1, 0.5]]
    raw = found([[2, 0, 1]], into="clean", shown="raw")
    assert raw.cells.value.tolist() == [[0, -2, -1]]
    assert raw.cells.unit == "logits"


@pytest.mark.parametrize("share", [-0.25, 1.5])
def test_the_share_is_not_clipped(share):
    assert found([[2 * share, 0, 0]]).cells.value[0, 0] == pytest.approx(share)


def test_heads_are_named_and_small_ones_counted():
    one = found([[0, 1, 0], [2, 0, 0.1]], "z", Grid(("layer", "head")))
    text = words.notice(one)
    assert text == (
        "Largest: head 1.0 (1.00), head 0.1 (0.50), head 1.2 (0.05). 4 of 6 cells have less than a tenth of the "
        "largest. The 95% interval excludes 0 in 3 of the 3 cells that change it at all, each taken alone: of cells "
        "without effect, one in twenty would."
    )
    none = found([[0, 0, 0]], "z", Grid(("layer", "head")))
    assert words.notice(none) == "No cell changes the metric: the largest, 0, is no more than rounding."


def test_what_is_not_computed_yet_is_said():
    some = found([[0, 2, np.nan], [np.nan] * 3])
    assert not some.sweep.complete
    assert words.notice(some).startswith("So far 2 of 6 cells are known. ")
    assert words.notice(found([[np.nan] * 3])) == "Nothing is computed yet."
    assert words.notice(found([[0, 2, 0]], approximate=True)).startswith("By the approximation: ")


def test_a_gap_of_zero_is_refused_and_the_change_shown():
    one = found([[0, 2, 0]])
    same = one.sweep._replace(other=one.sweep.base)
    numbers = cell_map(same)
    assert "do not differ in this metric" in numbers.refused
    assert numbers.value.tolist() == [[0, 2, 0]]


def test_a_cell_has_a_reason_only_if_no_pair_needed_it():
    status = np.array([[[0, 1], [1, 1], [2, 2]]], np.uint8)
    assert [bool(why) for why in reasons(status)[0]] == [False, True, True]
    assert reasons(status)[0][1] != reasons(status)[0][2]
