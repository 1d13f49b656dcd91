"""The exact null of a trace under rotations: against rotations that are drawn, and on hand-made cores."""

import math

import pytest
import torch

from lens.analysis.ov_copying import haar
from lens.analysis.rotation_test import beyond_rotations, rotation_z
from lens.analysis.verdicts import normal_reach


def test_mean_and_variance_are_those_of_drawn_rotations():
    core = torch.randn(8, 8, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.tensor([9.0] + [1.0] * 7))
    turned = haar((6000,), 8, torch.Generator().manual_seed(1)) @ core
    traces = turned.diagonal(dim1=-2, dim2=-1).sum(-1)
    z = rotation_z(torch.stack([core, core.T]))
    assert float(core.trace() / traces.std()) == pytest.approx(float(z[0]), rel=0.04)
    assert abs(float(traces.mean() / traces.std())) < 4 / 6000**0.5
    assert rotation_z(turned).std() == pytest.approx(1, abs=0.04)


def test_the_identity_is_as_far_as_a_core_can_be_and_zero_is_nowhere():
    assert float(rotation_z(torch.eye(16))) == pytest.approx(16)  # d_head
    assert rotation_z(torch.zeros(4, 4)).isnan()


def test_the_best_of_many_must_go_farther():
    assert normal_reach(1) == pytest.approx(1.96, abs=0.001)
    assert normal_reach(100) == pytest.approx(3.48, abs=0.01)
    z = torch.tensor([2.5, -2.5, 0.0, math.nan, 5.0])
    assert beyond_rotations(z, family=1).tolist() == [1, -1, 0, 0, 1]
    assert beyond_rotations(z).tolist() == [1, -1, 0, 0, 1]
    assert beyond_rotations(z, family=100).tolist() == [0, 0, 0, 0, 1]
