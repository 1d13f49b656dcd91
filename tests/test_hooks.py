"""Hooks belong to a scope: they end with it, and nobody else sees them. On any module, not only ours."""

import contextvars
import copy
import gc
import pickle
import threading
import weakref

import pytest
import torch
from torch import nn

from lens.hooks import Hooked, HookPoint, hook_points, hooks


class Square(nn.Module):
    def __init__(self, offset: float):
        super().__init__()
        self.offset, self.hook_square = offset, HookPoint()

    def forward(self, x):
        return self.offset + self.hook_square(x * x)


class TwoSquares(Hooked):
    def __init__(self):
        super().__init__()
        self.layer1, self.layer2 = Square(3.0), Square(-4.0)
        self.hook_in, self.hook_mid, self.hook_out = HookPoint(), HookPoint(), HookPoint()
        self.setup()

    def forward(self, x):
        return self.hook_out(self.layer2(self.hook_mid(self.layer1(self.hook_in(x)))))


@pytest.fixture
def model():
    return TwoSquares()


def zero(x, hook):
    return torch.zeros_like(x)


FIVE = torch.tensor(5.0)


def test_the_toy_example(model):
    out, cache = model.run_with_cache(FIVE)
    assert out == 780
    values = {"hook_in": 5, "layer1.hook_square": 25, "hook_mid": 28, "layer2.hook_square": 784, "hook_out": 780}
    assert {name: value.item() for name, value in cache.items()} == values
    assert model.run_with_hooks(FIVE, fwd_hooks=[("layer2.hook_square", zero)]) == -4
    assert model(FIVE) == 780


@pytest.mark.parametrize(
    "names", ["layer2.hook_square", ["layer2.hook_square"], lambda name: name.startswith("layer2")]
)
def test_a_name_names_or_a_predicate(model, names):
    assert model.run_with_hooks(FIVE, fwd_hooks=[(names, zero)]) == -4
    assert list(model.run_with_cache(FIVE, names_filter=names)[1]) == ["layer2.hook_square"]


def test_editing_in_place_counts_and_reaches_nobody_else(model):
    seen = {}

    def double(x, hook):
        x.mul_(2)

    def remember(x, hook):
        seen[hook.name] = x

    given = FIVE.clone()
    out = model.run_with_hooks(given, fwd_hooks=[("hook_in", remember), ("hook_in", double), ("hook_mid", remember)])
    assert out == (10 * 10 + 3) ** 2 - 4
    assert given == 5
    assert seen["hook_in"] == 5
    assert seen["hook_mid"] == 103


def test_hooks_at_one_point_run_in_order_and_scopes_from_outside_in(model):
    with model.hooks(fwd_hooks=[("hook_in", lambda x, hook: x + 1), ("hook_in", lambda x, hook: x * 10)]):
        out, cache = model.run_with_cache(FIVE, names_filter="hook_in")
    assert cache["hook_in"] == 60
    assert out == (60 * 60 + 3) ** 2 - 4


def test_a_scope_ends_with_an_exception_and_the_error_reaches_the_caller(model):
    def broken(x, hook):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        model.run_with_hooks(FIVE, fwd_hooks=[("hook_mid", broken)])
    assert model(FIVE) == 780
    assert not any(point.active for point in model.hook_dict.values())


def test_wrong_names_list_the_closest(model):
    with pytest.raises(KeyError, match=r"layer1\.hook_squares.*layer1\.hook_square"):
        model.run_with_hooks(FIVE, fwd_hooks=[("layer1.hook_squares", zero)])
    with pytest.raises(KeyError, match="hook_squares"):
        model.run_with_cache(FIVE, names_filter=["hook_in", "layer1.hook_squares"])
    with pytest.raises(ValueError, match="matches none of 5"):
        model.run_with_hooks(FIVE, fwd_hooks=[(lambda name: False, zero)])


def test_a_wrong_shape_names_the_hook_and_both_shapes(model):
    def widen(x, hook):
        return x.expand(2, 3)

    with pytest.raises(ValueError, match=r"'widen' on hook_mid returned shape \[2, 3\].*shape \[\]"):
        model.run_with_hooks(FIVE, fwd_hooks=[("hook_mid", widen)])
    with pytest.raises(ValueError, match="returned float"):
        model.run_with_hooks(FIVE, fwd_hooks=[("hook_mid", lambda x, hook: 1.0)])


def test_add_hook_stays_until_reset_and_outlives_a_with_block(model):
    with model.hooks(fwd_hooks=[("hook_out", lambda x, hook: x + 1)]):
        model.add_hook("layer2.hook_square", zero)
        assert model(FIVE) == -3
    assert model(FIVE) == -4
    model.reset_hooks()
    assert model(FIVE) == 780


def test_reset_hooks_leaves_another_model_alone(model):
    other = TwoSquares()
    model.add_hook("layer2.hook_square", zero)
    other.add_hook("layer2.hook_square", zero)
    model.reset_hooks()
    assert (model(FIVE), other(FIVE)) == (780, -4)
    other.reset_hooks()


def test_another_thread_never_sees_a_hook(model):
    entered, may_leave, results = threading.Event(), threading.Event(), {}

    def patched():
        with model.hooks(fwd_hooks=[("layer2.hook_square", zero)]):
            entered.set()
            may_leave.wait(10)
            results["patched"] = model(FIVE).item()

    thread = threading.Thread(target=patched)
    thread.start()
    assert entered.wait(10)
    results["plain"] = model(FIVE).item()
    may_leave.set()
    thread.join()
    assert results == {"patched": -4, "plain": 780}


def test_ctx_is_scratch_space_of_this_thread(model):
    def count(x, hook):
        hook.ctx["n"] = hook.ctx.get("n", 0) + 1

    for _ in range(2):
        model.run_with_hooks(FIVE, fwd_hooks=[("hook_mid", count)])
    assert model.hook_mid.ctx == {"n": 2}
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(dict(model.hook_mid.ctx)))
    thread.start()
    thread.join()
    assert elsewhere == [{}]
    model.reset_hooks()
    assert model.hook_mid.ctx == {}


def test_gradients_are_seen_changed_and_cached(model):
    x = torch.tensor(5.0, requires_grad=True)
    _, cache = model.run_with_cache(x, incl_bwd=True)
    assert cache["hook_mid_grad"] == 2 * 28
    assert cache["hook_in_grad"] == x.grad == 2 * 28 * 2 * 5
    x.grad = None
    model.run_with_hooks(x, bwd_hooks=[("hook_mid", lambda grad, hook: (grad * 10,))]).backward()
    assert x.grad == 10 * 560
    with pytest.raises(ValueError, match="no gradient flows"):
        model.run_with_hooks(FIVE, bwd_hooks=[("hook_mid", zero)])


def test_a_gradient_hook_sees_only_what_flows_through_its_point():
    class Fork(Hooked):
        def __init__(self):
            super().__init__()
            self.hook_branch = HookPoint()
            self.setup()

        def forward(self, x):
            return 3 * self.hook_branch(x) + 100 * x

    seen = []
    x = torch.tensor(1.0, requires_grad=True)
    Fork().run_with_hooks(x, bwd_hooks=[("hook_branch", lambda grad, hook: seen.append(grad.item()))]).backward()
    assert seen == [3]
    assert x.grad == 103


def test_any_module_that_holds_points_can_be_hooked():
    plain = nn.Sequential(nn.Linear(3, 3), HookPoint(), nn.Linear(3, 2))
    with hooks(plain, [("1", zero)]):
        assert torch.equal(plain(torch.randn(4, 3)), plain[2].bias.expand(4, 2))
    assert list(hook_points(plain)) == ["1"]


def test_a_reading_scope_hands_out_the_activation_itself(model):
    given, seen = FIVE.clone(), []
    with hooks(model, [("hook_in", lambda x, hook: seen.append(x))], writes=False):
        model(given)
    assert seen[0] is given


def test_layer_of_a_point(tiny):
    assert tiny.hook_dict["blocks.2.attn.hook_z"].layer() == 2
    with pytest.raises(ValueError, match="ln_final"):
        tiny.hook_dict["ln_final.hook_scale"].layer()


def test_an_added_hook_lasts_into_another_context_of_the_same_thread(model):
    """A notebook may run each cell in a context of its own."""

    def cell():
        model.add_hook("layer2.hook_square", zero)
        model.hook_mid.ctx["seen"] = True

    contextvars.copy_context().run(cell)
    assert model(FIVE) == -4
    assert model.hook_mid.ctx == {"seen": True}
    contextvars.copy_context().run(model.reset_hooks)
    assert model(FIVE) == 780
    assert model.hook_mid.ctx == {}


@pytest.mark.parametrize("way", ["ctx", "ctx with the model", "fwd", "bwd", "block", "cache"])
def test_what_hooks_hold_dies_with_the_model(way):
    model = TwoSquares()
    load = nn.Parameter(torch.zeros(1))  # what a closure or a note holds

    def hook(x, hook):
        hook.ctx["found"] = (load, model) if way == "ctx with the model" else load

    if way in ("fwd", "bwd"):
        model.add_hook("hook_mid", lambda x, hook: (load, model)[2:] or None, dir=way)
    elif way == "block":
        with model.hooks(fwd_hooks=[("hook_mid", hook)]):
            model(FIVE)
    elif way == "cache":
        model.run_with_cache(FIVE)
    model.run_with_hooks(FIVE.clone().requires_grad_(), fwd_hooks=[("hook_mid", hook)] if way.startswith("ctx") else [])
    seen = weakref.ref(load), weakref.ref(model), weakref.ref(model.hook_mid)
    del model, load, hook
    gc.collect()
    assert [one() for one in seen] == [None, None, None]


def test_what_a_thread_left_ends_with_the_thread(model):
    seen = []

    def work():
        load = nn.Parameter(torch.zeros(1))
        model.hook_mid.ctx["found"] = load
        model.add_hook("hook_mid", lambda x, hook: load)
        seen.append(weakref.ref(load))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    gc.collect()
    assert seen[0]() is None


def test_hooks_do_not_travel_with_a_copy(model):
    model.add_hook("layer2.hook_square", zero)
    model.hook_mid.ctx["note"] = 1
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (model(FIVE), other(FIVE)) == (-4, 780)
        assert other.hook_mid.ctx == {}
        assert other.hook_dict["layer2.hook_square"] is other.layer2.hook_square
        assert other.hook_mid.name == "hook_mid"
        other.add_hook("hook_out", zero)
        assert (model(FIVE), other(FIVE)) == (-4, 0)
