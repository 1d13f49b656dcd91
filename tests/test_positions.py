"""Positions, masks and biases on cases small enough to write down."""

import pytest
import torch

from lens import Config
from lens.positions import Rotation, alibi_slopes, find_places, rotate

SIZE = {"n_layers": 2, "n_heads": 2, "d_model": 8, "d_head": 4, "d_vocab": 10, "n_ctx": 16}


def places_of(n_new: int, n_past: int = 0, mask=None, **structure):
    x = torch.zeros(1 if mask is None else len(mask), n_new)
    return find_places(Config(**SIZE | structure), x, mask, n_past, torch.float32)


def test_slopes_are_those_of_the_paper():
    torch.testing.assert_close(alibi_slopes(8), 0.5 ** torch.arange(1.0, 9))
    assert alibi_slopes(16)[:2].tolist() == pytest.approx([2**-0.5, 2**-1.0])
    torch.testing.assert_close(alibi_slopes(6), torch.tensor([2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3.0]))


def test_biases_grow_with_distance_and_skip_pads():
    bias = places_of(3, positions="alibi").bias[0]
    slopes = alibi_slopes(2)
    assert bias[:, 2].tolist() == [[-2 * s, -s, 0] for s in slopes.tolist()]
    mask = torch.tensor([[True, False, True, True]])
    skipping = places_of(4, mask=mask, positions="alibi").bias[0]
    torch.testing.assert_close(skipping[:, [0, 2, 3]][:, :, [0, 2, 3]], bias)
    scaled = places_of(3, positions="alibi", alibi_scale=0.5).bias[0]
    torch.testing.assert_close(scaled, bias / 2)


def test_rounded_biases_are_rounded_before_they_are_subtracted():
    exact = places_of(16, positions="alibi", n_heads=6).bias[0]
    rounded = places_of(16, positions="alibi", n_heads=6, alibi_bf16=True).bias[0]
    assert (exact - rounded).abs().max() == 0  # slopes of six heads are powers of 2
    config = {"positions": "alibi", "n_heads": 16, "n_ctx": 600}
    exact, rounded = (places_of(600, alibi_bf16=flag, **config).bias[0, 0] for flag in (False, True))
    ramp = (torch.tensor(2**-0.5).bfloat16() * torch.arange(600)).float()
    torch.testing.assert_close(rounded, ramp[None] - ramp[:, None])
    assert (exact - rounded).abs().max() > 0.5


def test_a_window_counts_the_query_itself():
    places = places_of(5, windows=(None, 2))
    assert places.allowed[None][0, 0].int().tolist() == torch.ones(5, 5).tril().int().tolist()
    assert places.allowed[2][0, 0, 3].tolist() == [False, False, True, True, False]
    later = places_of(1, n_past=4, windows=(2, 2))
    assert later.allowed[2][0, 0].tolist() == [[False, False, False, True, True]]
    assert set(later.allowed) == {2}


def test_a_pad_sees_itself_and_takes_no_position():
    mask = torch.tensor([[False, False, True, True], [True, True, True, False]])
    places = places_of(4, mask=mask, windows=(3, None))
    assert places.positions.tolist() == [[0, 0, 0, 1], [0, 1, 2, 2]]
    for width in (3, None):
        assert places.allowed[width][0, 0, 3].tolist() == [False, False, True, True]
        assert places.allowed[width][0, 0, 1].tolist() == [False, True, False, False]
    with pytest.raises(ValueError, match=r"shape \[2, 4\]; wanted \[2, 5\]"):
        places_of(1, n_past=4, mask=mask)


@pytest.mark.parametrize("adjacent", [False, True])
def test_a_rotation_turns_each_pair_by_its_angle(adjacent):
    angles = torch.tensor([0.3, 1.1]).view(1, 1, 1, 2)
    x = torch.randn(1, 1, 1, 6, generator=torch.Generator().manual_seed(0))
    turned = rotate(x, Rotation(angles.cos(), angles.sin(), adjacent))
    pairs = [(0, 1), (2, 3)] if adjacent else [(0, 2), (1, 3)]
    for (i, j), angle in zip(pairs, angles.flatten(), strict=True):
        want = torch.complex(x[..., i], x[..., j]) * torch.exp(1j * angle)
        torch.testing.assert_close(torch.complex(turned[..., i], turned[..., j]), want)
    assert torch.equal(turned[..., 4:], x[..., 4:])


def test_angles_are_divided_and_local_layers_have_their_own_base():
    rope = {"positions": "rotary", "rotary_base": 100.0}
    plain = places_of(4, **rope).rotation
    torch.testing.assert_close(plain.cos[0, 3, 0], torch.tensor([3.0, 0.3]).cos())
    scaled = places_of(4, **rope, rotary_divisors=(1.0, 10.0), rotary_gain=2.0, local_rotary_base=100.0)
    torch.testing.assert_close(scaled.rotation.sin[0, 3, 0], 2 * torch.tensor([3.0, 0.03]).sin())
    torch.testing.assert_close(scaled.local_rotation.cos, plain.cos)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"windows": (3,)}, "windows has 1 entries; wanted 2"),
        ({"windows": (0, 1)}, "sees at least one key"),
        ({"positions": "rotary", "rotary_divisors": (1.0,)}, "rotary_divisors has 1"),
        ({"positions": "sinusoidal"}, "positions='sinusoidal'"),
        ({"norm": None, "qk_norm": "head"}, "norm=None"),
        ({"qk_norm": "both"}, "qk_norm='both'"),
    ],
)
def test_a_config_that_makes_no_model_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        Config(**SIZE | changes)
