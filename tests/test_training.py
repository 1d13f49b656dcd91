"""A model learns what its architecture has: one matrix where two are tied, and no bias that it lacks."""

import copy
from dataclasses import replace

import pytest
import torch

from lens import HookedTransformer
from lens.compat.transformer import HookedTransformer as Classic
from lens.families import convert, family_of
from lens.folded import own_state
from lens.model import within_layer
from lens.process import center_unembed, center_writing_weights, fold_layer_norm, fold_value_biases
from tests.families.variants import VARIANTS
from tests.helpers import hf_gpt2, hf_llama, in_lens, weights_of

SHAPES = {
    "gpt2, tied": lambda: hf_gpt2(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0),
    "llama, tied": lambda: hf_llama(tie_word_embeddings=True),
    "llama, untied": hf_llama,
    "qwen2, biases on q, k and v": VARIANTS["qwen2"],
}
TIED = ["gpt2, tied", "llama, tied"]


def fine_tuned(model, loss_of, batches):
    """The losses of one step of AdamW for each batch, weight decay included."""
    optimiser, losses = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1), []
    for tokens in batches:
        optimiser.zero_grad()
        loss = loss_of(model, tokens)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return torch.tensor(losses)


@pytest.mark.parametrize("shape", SHAPES)
def test_fifty_steps_follow_those_of_transformers(shape):
    theirs = SHAPES[shape]()
    ours = in_lens(theirs)
    batches = torch.randint(0, 113, (5, 4, 16), generator=torch.Generator().manual_seed(1)).repeat(10, 1, 1)
    want = fine_tuned(theirs, lambda model, tokens: model(tokens, labels=tokens).loss, batches)
    found = fine_tuned(ours, lambda model, tokens: model(tokens, return_type="loss"), batches)
    assert want[0] - want[-5:].mean() > 0.1
    torch.testing.assert_close(found, want, atol=1e-4, rtol=0)
    for name, tensor in in_lens(theirs).state_dict().items():
        if not name.endswith("b_K"):  # moves every score of a query alike: its gradient is rounding, its step is not
            torch.testing.assert_close(ours.state_dict()[name], tensor, atol=2e-3, rtol=0)  # two steps of AdamW


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_trained_is_what_the_file_holds(shape):
    theirs = SHAPES[shape]()
    model, n = in_lens(theirs), sum(parameter.numel() for parameter in theirs.parameters())
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad) == n
    for other in (copy.deepcopy(model), Classic.of(model), HookedTransformer(model.cfg)):
        learned = {name for name, parameter in other.named_parameters() if parameter.requires_grad}
        assert learned == {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("shape", TIED)
def test_tied_weights_are_one_parameter_in_every_copy(shape):
    tokens, model = torch.arange(12)[None], in_lens(SHAPES[shape]())
    moved = copy.deepcopy(model).to(torch.float64).to(torch.float32)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loaded = HookedTransformer(model.cfg)
    loaded.load_state_dict(state)
    assigned = HookedTransformer.from_state(model.cfg, state)
    for other in (model, moved, loaded, assigned, Classic.of(model)):
        names = dict(other.named_parameters(remove_duplicate=False))
        assert "unembed.W_U" not in names
        assert other.W_U.data_ptr() == other.W_E.data_ptr()
        assert other.state_dict().keys() == state.keys()
        with torch.no_grad():
            other.W_E[3] += 1
            assert torch.equal(other.W_U[:, 3], other.W_E[3])
            assert torch.equal(other.unembed.directions(torch.tensor([3]))[0], other.W_E[3])
            other.W_E[3] -= 1
            torch.testing.assert_close(other(tokens), model(tokens))


def test_another_unembedding_is_not_dropped_in_silence():
    model = in_lens(hf_gpt2())
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["unembed.W_U"][0, 0] += 1
    with pytest.raises(RuntimeError, match="W_U is not W_E turned"):
        model.load_state_dict(state)
    untied = HookedTransformer(replace(model.cfg, tied=False))
    untied.load_state_dict(state)
    assert torch.equal(untied.W_U, state["unembed.W_U"])


STEPS = (fold_layer_norm, center_writing_weights, center_unembed, fold_value_biases)


@pytest.mark.parametrize("order", [STEPS, STEPS[::-1], STEPS[1:2]])
def test_a_processed_view_of_tied_weights_has_one_matrix_to_train(order):
    tokens, model = torch.arange(12)[None], in_lens(hf_gpt2())
    done = model
    for step in order:
        done = step(done)
    done = copy.deepcopy(done).to(torch.float64).to(torch.float32)
    large = [name for name, parameter in done.named_parameters() if parameter.numel() >= model.W_E.numel()]
    assert len([name for name in large if "embed." in name and "pos" not in name]) == 1
    assert done.unembed.stored.data_ptr() == done.embed.stored.data_ptr() != model.W_E.data_ptr()
    with torch.no_grad():
        probabilities = [one(tokens).log_softmax(-1) for one in (done, model)]
    torch.testing.assert_close(*probabilities, atol=2e-5, rtol=0)


@pytest.mark.parametrize("variant", ["gptj", "llama", "olmo", "gpt2", "gpt-neox"])
def test_a_bias_that_folding_fills_is_trained(variant):
    """A LayerNorm's bias moves into biases that the architecture lacks; those are then part of the model."""
    model = in_lens(VARIANTS[variant]())
    done = fold_value_biases(fold_layer_norm(model))
    for name, tensor in own_state(done).items():
        if within_layer(name) in done.cfg.absent:
            assert (tensor == (1 if name.endswith(".w") else 0)).all(), name
    filled = set(model.cfg.absent) - set(done.cfg.absent)
    assert set(done.cfg.absent) <= set(model.cfg.absent)
    has_bias = model.cfg.final_norm == "LN" and "ln_final.b" not in model.cfg.absent
    assert ("unembed.b_U" in filled) == ("unembed.b_U" in model.cfg.absent and has_bias)
    for other in (done, Classic.of(done)):
        learned = {within_layer(name) for name, parameter in other.named_parameters() if parameter.requires_grad}
        assert filled <= learned
        assert not learned & set(done.cfg.absent)


def test_absent_is_what_the_tables_leave_out():
    for variant, make in VARIANTS.items():
        hf = make()
        config = hf.config.to_dict()
        family = family_of(config).bound_to(config)
        cfg = family.config(config)
        state, sources = convert(family, cfg, weights_of(hf)), family.sources(cfg, set(hf.state_dict()))
        read = {name for source in sources for name in source.ours if name}
        made = {within_layer(name) for name in state if name not in read and name != "unembed.W_U"}
        assert made == set(cfg.absent), variant
