"""Hook verbs with the classic arguments, on a module of one's own and on a model."""

import pytest
import torch
from torch import nn

from lens.compat.hook_points import HookedRootModule, HookPoint

FIVE = torch.tensor(5.0)


class Square(nn.Module):
    def __init__(self, offset):
        super().__init__()
        self.offset, self.hook_square = offset, HookPoint()

    def forward(self, x):
        return self.offset + self.hook_square(x * x)


class TwoSquares(HookedRootModule):
    def __init__(self):
        super().__init__()
        self.layer1, self.layer2 = Square(3.0), Square(-4.0)
        self.hook_in, self.hook_mid, self.hook_out = HookPoint(), HookPoint(), HookPoint()
        self.setup()

    def forward(self, x):
        return self.hook_out(self.layer2(self.hook_mid(self.layer1(self.hook_in(x)))))


@pytest.fixture
def model():
    model = TwoSquares()
    yield model
    model.reset_hooks(including_permanent=True)


def zero(x, hook):
    return torch.zeros_like(x)


def add_one(x, hook):
    return x + 1


def test_the_toy_example(model):
    out, cache = model.run_with_cache(FIVE)
    assert out == 780
    values = {"hook_in": 5, "layer1.hook_square": 25, "hook_mid": 28, "layer2.hook_square": 784, "hook_out": 780}
    assert {name: value.item() for name, value in cache.items()} == values
    assert model.run_with_hooks(FIVE, fwd_hooks=[("layer2.hook_square", zero)]) == -4
    assert model(FIVE) == 780
    assert len(model.hook_points()) == 5


def test_hooks_that_stay_after_the_call(model):
    assert model.run_with_hooks(FIVE, fwd_hooks=[("hook_out", add_one)], reset_hooks_end=False) == 781
    assert model(FIVE) == 781
    with model.hooks(fwd_hooks=[("hook_out", add_one)]):
        assert model(FIVE) == 782
    assert model(FIVE) == 781
    model.reset_hooks()
    assert model(FIVE) == 780


def test_which_hooks_a_reset_ends(model):
    model.add_perma_hook("hook_out", add_one)
    model.add_hook("hook_out", lambda x, hook: x + 10, level=1)
    model.add_hook("hook_out", lambda x, hook: x + 100, dir="fwd")
    assert model(FIVE) == 780 + 111
    model.reset_hooks(level=1)
    assert model(FIVE) == 780 + 101
    model.reset_hooks(direction="bwd")
    assert model(FIVE) == 780 + 101
    model.reset_hooks()
    assert model(FIVE) == 780 + 1
    model.reset_hooks(including_permanent=True)
    assert model(FIVE) == 780
    with pytest.raises(ValueError, match="direction='forward'"):
        model.reset_hooks(direction="forward")


def test_a_hook_before_the_others(model):
    model.add_hook("hook_out", lambda x, hook: x * 2)
    model.add_hook("hook_out", add_one, prepend=True)
    assert model(FIVE) == 2 * 781


def test_a_cache_that_every_run_fills(model):
    cache = model.add_caching_hooks("hook_mid")
    everything = {}
    model.cache_all(everything)
    model(FIVE)
    assert cache == {"hook_mid": 28}
    assert len(everything) == 5
    some = {}
    model.cache_some(some, lambda name: name.startswith("layer"))
    model(FIVE * 0)
    assert some == {"layer1.hook_square": 0, "layer2.hook_square": 9}
    assert cache == {"hook_mid": 3}


def test_a_kept_ablation_is_seen_by_a_later_cache(model):
    model.add_hook("layer1.hook_square", zero)
    _, cache = model.run_with_cache(FIVE)
    assert cache["layer1.hook_square"] == 0
    assert cache["hook_mid"] == 3


def test_gradients(model):
    x = torch.tensor(5.0, requires_grad=True)
    _, cache = model.run_with_cache(x, incl_bwd=True)
    assert cache["hook_mid_grad"] == 2 * 28
    seen = []
    model.add_hook("hook_in", lambda grad, hook: seen.append(grad.item()), dir="bwd")
    model(x).backward()
    assert seen == [560]


def test_context_is_kept_until_it_is_cleared(model):
    def count(x, hook):
        hook.ctx["n"] = hook.ctx.get("n", 0) + 1

    for _ in range(2):
        model.run_with_hooks(FIVE, fwd_hooks=[("hook_mid", count)])
    assert model.hook_mid.ctx == {"n": 2}
    model.run_with_hooks(FIVE, fwd_hooks=[("hook_mid", count)], clear_contexts=True)
    assert model.hook_mid.ctx == {}


class TestModel:
    def test_costly_points_are_cached_when_their_switch_is_on(self, classic):
        tokens = torch.tensor([[1, 2, 3]])
        _, cache = classic.run_with_cache(tokens)
        assert not any(name.endswith(("hook_result", "_input", "mlp_in")) for name in cache)
        classic.set_use_attn_result(True)
        classic.set_use_split_qkv_input(True)
        classic.cfg.use_hook_mlp_in = True
        _, cache = classic.run_with_cache(tokens)
        assert cache["result", 0].shape == (1, 3, 4, 32)
        assert cache["blocks.1.hook_q_input"].shape == (1, 3, 4, 32)
        torch.testing.assert_close(cache["blocks.1.hook_mlp_in"], cache["resid_mid", 1])
        classic.cfg.use_attn_result = classic.cfg.use_split_qkv_input = classic.cfg.use_hook_mlp_in = False

    def test_a_name_or_a_predicate_for_costly_points_alone_means_them(self, classic):
        tokens = torch.tensor([[1, 2, 3]])
        _, cache = classic.run_with_cache(tokens, names_filter=lambda name: name.endswith("hook_result"))
        assert list(cache) == ["blocks.0.attn.hook_result", "blocks.1.attn.hook_result"]
        seen = []
        hooks = [(lambda name: "_in" not in name, lambda x, hook: seen.append(hook.name))]
        classic.run_with_hooks(tokens, fwd_hooks=hooks)
        assert "blocks.0.attn.hook_result" not in seen
        assert len(seen) > 20

    def test_positions_devices_and_plain_dictionaries(self, classic):
        tokens = torch.tensor([[1, 2, 3, 4]])
        _, whole = classic.run_with_cache(tokens)
        _, part = classic.run_with_cache(tokens, pos_slice=-1, return_cache_object=False, device="cpu")
        assert isinstance(part, dict)
        assert torch.equal(part["blocks.0.attn.hook_q"], whole["q", 0][:, -1:])
        assert torch.equal(part["blocks.0.hook_resid_mid"], whole["resid_mid", 0][:, -1:])
        assert torch.equal(part["blocks.0.attn.hook_pattern"], whole["pattern", 0][:, :, -1:])
        _, one = classic.run_with_cache(tokens, remove_batch_dim=True)
        assert not one.has_batch_dim
        assert torch.equal(one["resid_post", -1], whole["resid_post", 1][0])
        with pytest.raises(ValueError, match="batch of 2"):
            classic.run_with_cache(tokens.repeat(2, 1), remove_batch_dim=True)
