"""Paths through the losses of many tokens: identities of the decomposition, and what it leaves out."""

import numpy as np
import pytest

from lens.analysis.loss_space import paths, share_of_path, why_none


def made(n: int, tokens: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, tokens)).cumsum(0)


def test_paths_are_the_joint_principal_components():
    runs = {"a": made(7), "b": made(5, seed=1)}
    found = paths(runs, fewest=10)
    rows = np.concatenate(list(runs.values()))
    rows = (rows - rows.mean(0)) / rows.std(0)
    values = np.linalg.eigvalsh(rows @ rows.T)[::-1]
    np.testing.assert_allclose(found.explained, values[:2] / values.sum())
    at = np.concatenate(list(found.at.values()))
    np.testing.assert_allclose((at**2).sum(0), values[:2] / rows.shape[1])
    np.testing.assert_allclose(at.mean(0), 0, atol=1e-12)
    assert (found.at["a"][-1] > 0).all()
    assert [len(one) for one in found.at.values()] == [7, 5]


def test_a_run_that_moves_along_one_line_has_one_component():
    line = np.outer(np.linspace(1, 0, 6), np.random.default_rng(0).uniform(1, 9, 50)) + 2
    found = paths({"a": line}, fewest=10)
    assert found.explained[0] == pytest.approx(1)
    assert share_of_path(found.at["a"], 0, 5) == pytest.approx(1)
    assert share_of_path(found.at["a"], 1, 3) == pytest.approx(0.4)


def test_a_scale_of_a_token_changes_nothing():
    one = made(6)
    scaled = one * np.linspace(1, 100, one.shape[1]) + 7
    np.testing.assert_allclose(paths({"a": one}, 10).at["a"], paths({"a": scaled}, 10).at["a"], atol=1e-10)


def test_tokens_that_are_missing_or_never_move_are_left_out():
    one = made(6)
    spoiled = np.concatenate([one, np.full((6, 2), 3.0), np.where(np.arange(6)[:, None] == 2, np.nan, one[:, :4])], 1)
    assert paths({"a": spoiled}, 10).n_tokens == one.shape[1]
    np.testing.assert_allclose(paths({"a": spoiled}, 10).at["a"], paths({"a": one}, 10).at["a"])


def test_too_few_say_so():
    with pytest.raises(ValueError, match=r"60 tokens are predicted .* at least 2,000 are wanted"):
        paths({"a": made(6)})
    assert why_none({"a": made(6)}, 60) == ""
    with pytest.raises(ValueError, match="at least 3 checkpoints, and there are 2"):
        paths({"a": made(2)}, 10)
