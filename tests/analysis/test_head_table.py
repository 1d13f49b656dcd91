"""All heads against all instruments: conditions read by hand, places, likeness, and what chance finds."""

import re

import numpy as np
import pytest
import torch

from lens.analysis import score_results
from lens.analysis.head_table import LONGEST, UNRELATED, alike, beyond_chance, columns_of, matching
from lens.analysis.names import Head
from lens.analysis.score_results import Kind, Samples, head_score, weights_score

KIND = Kind("induction", "probability", "What it is.", "a control", True)
NONE = float("nan")
VALUES = {
    "induction": [[0.1, 0.9], [0.4, 0.2]],
    "ov_full": [[-0.5, 0.5], [NONE, 0.0]],
    "previous": [[0.4, 0.1], [0.2, 0.3]],
}


def score(values, above=None, scale="positive"):
    values = torch.tensor(values)
    tested = (
        score_results.Tested(None, "", "no test")
        if above is None
        else score_results.Tested(torch.tensor(above), "by hand")
    )
    return weights_score(KIND._replace(scale=scale), values, values[None], tested)


@pytest.fixture
def table():
    above = {"induction": [[False, True], [True, False]], "previous": [[False, False], [True, False]], "ov_full": None}
    return columns_of({name: score(values, above[name]) for name, values in VALUES.items()})


@pytest.mark.parametrize(
    ("condition", "heads"),
    [
        ("induction > 0.3", ["0.1", "1.0"]),
        ("induction > 0.3 and ov_full > 0", ["0.1"]),
        ("induction>0.3 or ov_full<0", ["0.0", "0.1"]),  # 1.0 has no ov_full
        ("not ov_full > 0", ["0.0", "1.1"]),  # what is not known is not its opposite
        ("0.15 < induction <= 0.45", ["1.0", "1.1"]),
        ("induction - previous > 0.15 and layer == 1", ["1.0"]),
        ("abs(ov_full) == 0.5", ["0.0", "0.1"]),
        ("-ov_full * 2 >= 1", ["0.0"]),
        ("beyond(induction)", ["0.1", "1.0"]),
        ("beyond(previous) or head == 1", ["0.1", "1.0", "1.1"]),
        ("not beyond(induction) and previous / 0 > 1", ["0.0", "1.1"]),
        ("induction > 1e999 or layer < 1", ["0.0", "0.1"]),
        ("  (induction) > (.3)  ", ["0.1", "1.0"]),
    ],
)
def test_conditions(table, condition, heads):
    assert [str(Head(*at)) for at in np.argwhere(matching(table, condition))] == heads


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("", "cannot be read"),
        ("induction >", "cannot be read"),
        ("induction = 0.3", "cannot be read"),
        ("\0", "cannot be read"),
        ("(" * 250, "cannot be read"),
        ("copying > 0", "no column 'copying'; there are induction, ov_full, previous"),
        ("induction", "is a number; compare it"),
        ("induction and layer > 0", "'induction' stands where a comparison"),
        ("(layer > 0) + 1 > 0", "stands where a number"),
        ("beyond(ov_full)", "ov_full gives no verdict here"),
        ("beyond(induction > 0)", "is not understood"),
        ("__import__('os').system('true')", "is not understood"),
        ("induction.real > 0", "'induction.real' is not understood"),
        ("induction ** 9 ** 9 > 0", "is not understood"),
        ("[x for x in (1,)]", "is not understood"),
        ("induction > 'a'", "\"'a'\" is not understood"),
        ("True", "'True' is not understood"),
        ("abs(induction, 2) > 0", "is not understood"),
        ("x" * (LONGEST + 1), f"at most {LONGEST}"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_reason(table, condition, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        matching(table, condition)


def test_without_columns_there_is_nothing_to_ask():
    assert beyond_chance({}) == (0, 0, 0, None, ())
    assert alike({}, Head(0, 0)) == []
    with pytest.raises(ValueError, match="no column yet"):
        matching({}, "layer > 0")


def test_places_are_by_rank_and_by_size_where_both_ends_stand_out():
    table = columns_of(
        {"a": score([[1.0, 5.0], [3.0, NONE]]), "b": score([[-4.0, 1.0], [3.0, 3.0]], scale="two-sided")}
    )
    np.testing.assert_array_equal(table["a"].place, [[0, 1], [0.5, np.nan]])
    np.testing.assert_allclose(table["b"].place, [[1, 0], [2 / 3, 2 / 3]])  # equal heads share the better place
    assert columns_of({"a": score([[1.0]])})["a"].place == 0


def test_likeness_is_a_distance_of_places(table):
    twins = columns_of({"a": score([[1.0, 5.0, 1.0]]), "b": score([[9.0, 2.0, 9.0]])})
    nearest, farthest = alike(twins, Head(0, 0))
    assert nearest == (Head(0, 2), 0.0, 2)
    assert farthest.head == Head(0, 1)
    for one in ((0, 0), (0, 1), (1, 1)):
        for other in alike(table, Head(*one)):
            back = next(each for each in alike(table, other.head) if each.head == one)
            assert other.distance == back.distance
    assert {each.head: each.n for each in alike(table, Head(0, 0))}[Head(1, 0)] == 2  # it has no ov_full
    with pytest.raises(KeyError, match="2 layers of 2 heads"):
        alike(table, Head(0, 2))


def test_unrelated_heads_are_a_third_apart():
    draws = np.random.default_rng(0).normal(size=(400, 1, 40))
    table = columns_of({str(i): score(values.tolist()) for i, values in enumerate(draws)})
    assert np.mean([each.distance for each in alike(table, Head(0, 0))]) == pytest.approx(UNRELATED, abs=0.02)


def test_tests_are_counted_with_what_chance_would_find(table):
    found = beyond_chance(table)
    assert (found.tests, found.finding) == (2, 2)
    assert found.by_chance == pytest.approx(0.1)
    assert found.most == (1, 0)
    assert found.names == ("induction", "previous")
    none = columns_of({"a": score(VALUES["previous"], [[False] * 2] * 2)})
    assert beyond_chance(none) == (1, 0, 0.05, None, ())


def test_random_numbers_are_beyond_chance_as_seldom_as_is_said():
    """Heads that differ from their controls by nothing: a column has a find in at most a twentieth of cases."""
    random, finds = torch.Generator().manual_seed(0), 0
    for _ in range(200):
        values, null = torch.rand(2, 40, 2, 4, generator=random)
        found = beyond_chance(columns_of({"a": head_score(KIND, Samples(values, null, 0.0, 1), "sequences")}))
        finds += found.finding
        assert found.tests == 1
    assert finds <= 0.05 * 200 + 2 * (0.05 * 0.95 * 200) ** 0.5


def test_scores_of_two_models_make_no_table():
    with pytest.raises(ValueError, match="different shapes"):
        columns_of({"a": score([[1.0]]), "b": score([[1.0, 2.0]])})
