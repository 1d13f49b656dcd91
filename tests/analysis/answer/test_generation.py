"""Writing on and its changed twin: cached or not, in parts or at once, the same; a change that changes nothing."""

import numpy as np
import pytest
import torch

from lens.analysis.answer.generation import (
    Change,
    answer_direction,
    first_difference,
    head_direction,
    joined,
    mean_z,
    repeated_share,
    steering,
    write,
)
from lens.analysis.names import Head
from lens.generate import Sampling
from lens.hooked import HookedTransformer
from tests.families.conftest import lens_of
from tests.families.variants import VARIANTS

TOKENS = torch.randint(0, 110, (1, 7), generator=torch.Generator().manual_seed(5))
GREEDY, DRAWN = Sampling(0.0), Sampling(0.9, top_k=40, top_p=0.95, seed=3)


def changes(cfg):
    torch.manual_seed(0)
    vector = tuple((3 * torch.randn(cfg.d_model)).tolist())
    heads, means = (Head(0, 1), Head(cfg.n_layers - 1, 0)), (tuple(torch.randn(cfg.d_head).tolist()),) * 2
    return {
        "removed": Change(heads),
        "mean": Change(heads, means=means),
        "scaled": Change(heads, factor=3.0),
        "steered": Change(layer=1, vector=vector),
        "all": Change(heads, 0.5, means, 1, vector),
    }


@pytest.mark.parametrize(
    ("variant", "how"),
    [*((variant, "all") for variant in VARIANTS), *(("gpt2", how) for how in ("removed", "mean", "scaled", "steered"))],
)
def test_a_change_writes_the_same_cached_or_not(variant, how):
    model = lens_of(variant)
    change = changes(model.cfg)[how]
    one, other = (write(model, TOKENS, 6, DRAWN, change, use_past_kv_cache=cached) for cached in (True, False))
    assert torch.equal(one.ids, other.ids)
    torch.testing.assert_close(one.logprob, other.logprob, atol=1e-4, rtol=1e-4)
    plain = write(model, TOKENS, 6, DRAWN)
    assert (one.logprob - plain.logprob).abs().max() > 1e-3


@pytest.mark.parametrize("variant", ["gpt2", "llama", "olmo2", "bloom"])
@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
def test_in_parts_it_is_the_same_text_and_that_of_generate(variant, sampling):
    model = lens_of(variant)
    whole = write(model, TOKENS, 9, sampling)
    parts, text = [], TOKENS
    for size in (4, 1, 4):
        parts.append(write(model, text, size, sampling))
        text = torch.cat([text, parts[-1].ids[None]], 1)
    together = joined(parts)
    assert together.ids.tolist() == whole.ids.tolist()
    np.testing.assert_allclose(together.top_logprob, whole.top_logprob, atol=1e-4)
    out = model.generate(TOKENS, 9, **sampling._asdict(), stop_at_eos=False)
    assert out[0, TOKENS.shape[1] :].tolist() == whole.ids.tolist()


def test_numbers_are_those_of_reading_the_text_again():
    model = lens_of("llama")
    found = write(model, TOKENS, 8, DRAWN)
    text = torch.cat([TOKENS, found.ids[None]], 1)
    logprobs = model(text)[0, TOKENS.shape[1] - 1 : -1].log_softmax(-1)
    own = logprobs.gather(1, found.ids[:, None])
    torch.testing.assert_close(found.logprob, own[:, 0], atol=1e-5, rtol=1e-5)
    assert torch.equal(found.rank, (logprobs > own).sum(-1))
    torch.testing.assert_close(found.entropy, -(logprobs.exp() * logprobs).sum(-1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.top_logprob, logprobs.topk(5).values, atol=1e-5, rtol=1e-5)


def test_what_changes_nothing_writes_the_same():
    model = lens_of("gpt2")
    plain = write(model, TOKENS, 8, DRAWN)
    for change in (Change(), Change((Head(0, 1),), factor=1.0), Change(layer=1, vector=(0.0,) * model.cfg.d_model)):
        assert torch.equal(write(model, TOKENS, 8, DRAWN, change).ids, plain.ids)


def test_removing_a_head_is_zeroing_its_output_weights():
    import copy

    model = lens_of("gpt2")
    zeroed = copy.deepcopy(model)
    with torch.no_grad():
        zeroed.blocks[1].attn.W_O[2] = 0
    one, other = write(model, TOKENS, 6, GREEDY, Change((Head(1, 2),))), write(zeroed, TOKENS, 6, GREEDY)
    assert torch.equal(one.ids, other.ids)
    torch.testing.assert_close(one.logprob, other.logprob, atol=1e-5, rtol=1e-5)


def test_it_stops_where_it_is_told():
    model = lens_of("gpt2")
    first = int(write(model, TOKENS, 1, GREEDY).ids[0])
    assert write(model, TOKENS, 5, GREEDY, stop_ids=(first,)).n == 1


def test_steering_towards_an_answer_raises_it():
    model = HookedTransformer.from_pretrained("lens-2l")
    tokens = model.to_tokens("The cat sat on the")
    right, wrong = model.inner_ids(" c")[0], model.inner_ids(" m")[0]
    direction = answer_direction(model, right, wrong)
    torch.testing.assert_close(direction, (model.W_U[:, right] - model.W_U[:, wrong]).detach())
    change = steering(model, tokens, direction, 1, 1.0)
    resid = model(tokens, stop_at_layer=1)[0, 1:].norm(dim=-1).mean()
    torch.testing.assert_close(torch.tensor(change.vector).norm(), resid.detach(), rtol=1e-4, atol=1e-4)
    with model.hooks(fwd_hooks=change.hooks(model)):
        after = model(tokens)[0, -1]
    before = model(tokens)[0, -1]
    assert after[right] - after[wrong] > before[right] - before[wrong]
    with pytest.raises(ValueError, match="two different answers"):
        steering(model, tokens, answer_direction(model, right, right), 1, 1.0)


@pytest.mark.parametrize("unit", ["stream", "direction"])
def test_steering_along_any_vector_is_adding_it_cached_or_not(unit):
    model = lens_of("llama")
    direction = torch.randn(model.cfg.d_model, generator=torch.Generator().manual_seed(1))
    change = steering(model, TOKENS, direction, 1, -1.5, unit)
    length = direction.norm() if unit == "direction" else model(TOKENS, stop_at_layer=1)[0, 1:].norm(dim=-1).mean()
    wanted = -1.5 * length * direction / direction.norm()
    torch.testing.assert_close(torch.tensor(change.vector), wanted.detach(), rtol=1e-4, atol=1e-5)
    one, other = (write(model, TOKENS, 6, DRAWN, change, use_past_kv_cache=cached) for cached in (True, False))
    assert torch.equal(one.ids, other.ids)
    torch.testing.assert_close(one.logprob, other.logprob, atol=1e-4, rtol=1e-4)
    resid = model(TOKENS, stop_at_layer=1) + wanted
    torch.testing.assert_close(one.top_logprob[0], model(resid, start_at_layer=1)[0, -1].log_softmax(-1).topk(5).values)
    with pytest.raises(ValueError, match="choose one of stream, direction"):
        steering(model, TOKENS, direction, 1, 1.0, "metres")


def test_the_mean_of_a_head_is_that_of_the_plain_runs():
    from lens.analysis.held_out import beginnings

    model = HookedTransformer.from_pretrained("lens-2l")
    found = mean_z(model, [Head(1, 1), Head(0, 2)])
    text = beginnings(model, 16, model.bos.prepend, 64)
    _, cache = model.run_with_cache(text.tokens, attention_mask=text.mask)
    for row, (layer, head) in enumerate([(1, 1), (0, 2)]):
        torch.testing.assert_close(found[row], cache["z", layer][:, 1:, head].mean((0, 1)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(head_direction(model, Head(1, 1)), found[0] @ model.W_O[1, 1].detach())


def test_the_share_of_a_text_that_repeats():
    assert repeated_share([1, 2, 3], [1, 2, 3, 9]).tolist() == [0, 1 / 2, 2 / 3, 2 / 4]
    assert repeated_share([5], [5, 5]).tolist() == [0, 1 / 2]
    assert repeated_share([], [1, 1, 1]).tolist() == [0, 0, 1 / 3]
    assert first_difference([1, 2, 3], [1, 5, 3]) == 1
    assert first_difference([1, 2], [1, 2, 3]) is None


def test_changes_that_a_model_cannot_have_are_refused():
    model = lens_of("gpt2")
    for change, words in (
        (Change((Head(9, 0),)), "9.0"),
        (Change((Head(0, 0),), means=((0.0,), (1.0,))), "one per head"),
        (Change(layer=7, vector=(0.0,) * model.cfg.d_model), "into layer 7"),
        (Change(vector=(1.0,)), "a vector of 1"),
    ):
        with pytest.raises(ValueError, match=words):
            write(model, TOKENS, 1, GREEDY, change)
