"""Our forward pass is Hugging Face's, for every family and variant: logits, hidden states, patterns, every tensor."""

import pytest
import torch

from lens.families import convert, family_of
from lens.hooked import HookedTransformer
from tests.helpers import hf_gpt2, hf_llama, in_lens

VARIANTS = {
    "gpt2": lambda: hf_gpt2(),
    "gpt2-inverse-layer": lambda: hf_gpt2(scale_attn_by_inverse_layer_idx=True),
    "gpt2-unscaled": lambda: hf_gpt2(scale_attn_weights=False),
    "gpt2-inner-relu": lambda: hf_gpt2(n_inner=40, activation_function="relu"),
    "gpt2-untied": lambda: hf_gpt2(tie_word_embeddings=False),
    "llama": lambda: hf_llama(),
    "llama-grouped": lambda: hf_llama(num_key_value_heads=2),
    "llama-one-kv-head": lambda: hf_llama(num_key_value_heads=1, rope_theta=500.0),
    "llama-wide-heads-tied": lambda: hf_llama(num_key_value_heads=2, head_dim=12, tie_word_embeddings=True),
}


@pytest.fixture(params=VARIANTS)
def hf(request):
    return VARIANTS[request.param]()


def tokens_for(hf, n_seqs: int = 2, n_pos: int = 17) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randint(0, hf.config.vocab_size, (n_seqs, n_pos))


@torch.no_grad()
def test_logits_hidden_states_and_patterns_are_theirs(hf):
    tokens = tokens_for(hf)
    want = hf(tokens, output_hidden_states=True, output_attentions=True)
    assert want.logits.std() > 0.5
    logits, cache = in_lens(hf).run_with_cache(tokens)
    torch.testing.assert_close(logits, want.logits, atol=2e-5, rtol=0)
    for layer, pattern in enumerate(want.attentions):
        torch.testing.assert_close(cache["resid_pre", layer], want.hidden_states[layer], atol=2e-5, rtol=0)
        torch.testing.assert_close(cache["pattern", layer], pattern, atol=2e-5, rtol=0)
    model = in_lens(hf)
    normed = cache["normalized"] * model.ln_final.w + (model.ln_final.b if model.cfg.norm == "LN" else 0)
    torch.testing.assert_close(normed, want.hidden_states[-1], atol=2e-5, rtol=0)


@torch.no_grad()
def test_every_tensor_of_theirs_moves_our_logits(hf):
    tokens = tokens_for(hf)
    config = hf.config.to_dict()
    family, state = family_of(config), {name: tensor.clone() for name, tensor in hf.state_dict().items()}
    cfg = family.config(config)
    if cfg.tied:
        state.pop("lm_head.weight")

    def logits(weights):
        return HookedTransformer.from_state(cfg, convert(family, cfg, weights))(tokens)

    reference = logits(state)
    for name, tensor in state.items():
        rolled = state | {name: tensor.flatten().roll(1).view_as(tensor)}
        moved = (logits(rolled) - reference).abs().max()
        assert moved > 1e-3, f"rolling {name} moves the logits by {moved:.1e} only"


@torch.no_grad()
@pytest.mark.parametrize("make", [hf_gpt2, hf_llama])
def test_file_names_with_and_without_the_base_prefix(make):
    hf = make()
    config, tokens = hf.config.to_dict(), tokens_for(hf)
    family = family_of(config)
    cfg = family.config(config)
    full = {name: tensor.clone() for name, tensor in hf.state_dict().items()}
    bare = {name.removeprefix(family.prefixes[0]): tensor for name, tensor in full.items()}
    assert set(bare) != set(full)
    torch.testing.assert_close(
        HookedTransformer.from_state(cfg, convert(family, cfg, bare))(tokens), hf(tokens).logits, atol=2e-5, rtol=0
    )


def test_weights_that_agree_in_layout_are_not_copied():
    hf = hf_llama(num_key_value_heads=2, tie_word_embeddings=True)
    config, state = hf.config.to_dict(), hf.state_dict()
    family = family_of(config)
    model = HookedTransformer.from_state(family.config(config), convert(family, family.config(config), state))
    theirs = {tensor.data_ptr() for tensor in state.values()}
    copied = {
        name
        for name, p in model.named_parameters()
        if p.data_ptr() not in theirs and not name.split(".")[-1].startswith("b_")
    }
    assert copied == set()
    assert model.W_U.data_ptr() == model.W_E.data_ptr()
    model.double()
    assert model.W_U.data_ptr() == model.W_E.data_ptr()


class TestRefusals:
    config = hf_llama().config.to_dict()

    def read(self, **changes):
        return family_of(self.config | changes).config(self.config | changes)

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"model_type": "mamba"}, "'mamba'"),
            ({"sliding_window_pattern": 6}, "sliding_window_pattern"),
            ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
            ({"attention_bias": True}, "attention_bias"),
            ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "yarn"),
            ({"hidden_act": "tanh"}, "tanh"),
            ({"quantization_config": {"bits": 4}}, "quantization_config"),
            ({"num_key_value_heads": 3}, "3 key/value heads"),
        ],
    )
    def test_what_lens_does_not_compute_is_named(self, changes, named):
        with pytest.raises(ValueError, match=named):
            self.read(**changes)

    def test_missing_left_over_and_misshapen_tensors_are_named(self):
        family, state = family_of(self.config), hf_llama().state_dict()
        cfg = family.config(self.config)
        name = "model.layers.1.self_attn.k_proj.weight"
        with pytest.raises(ValueError, match=r"lack.*k_proj"):
            convert(family, cfg, {key: value for key, value in state.items() if key != name})
        with pytest.raises(ValueError, match=r"1 tensors have no place.*q_norm"):
            convert(family, cfg, state | {"model.layers.1.self_attn.q_norm.weight": torch.ones(8)})
        with pytest.raises(ValueError, match=r"k_proj.weight' has shape \[31, 32\]"):
            convert(family, cfg, state | {name: state[name][1:]})
