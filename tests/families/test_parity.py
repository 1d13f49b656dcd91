"""Our forward pass is Hugging Face's, for every family and variant: logits, hidden states, patterns, every tensor."""

import re

import torch

from lens.families import convert, family_of
from lens.hooked import HookedTransformer
from tests.families.variants import VARIANTS
from tests.helpers import weights_of

ATOL = {"atol": 2e-5, "rtol": 0}
# Packed with the heads outside: q, k and v lie apart in memory, and the forward wants each in one piece.
REARRANGED = ("gpt2", "gpt_neox", "bloom", "falcon")


def family_and_config(hf):
    config = hf.config.to_dict()
    family = family_of(config)
    return family, family.config(config)


def used_weights(hf):
    """Their weights, without the second name of a tied head and without what belongs to pictures."""
    family, cfg = family_and_config(hf)
    unused = (*family.unused, *((r".*lm_head\.weight",) if cfg.tied else ()))
    return {n: t for n, t in weights_of(hf).items() if not any(re.fullmatch(pattern, n) for pattern in unused)}


@torch.no_grad()
def test_logits_hidden_states_and_patterns_are_theirs(hf, model, tokens):
    attentions = hf.config._attn_implementation == "eager"
    want = hf(tokens, output_hidden_states=True, output_attentions=attentions)
    assert want.logits.std() > 0.5
    logits, cache = model.run_with_cache(tokens)
    torch.testing.assert_close(logits, want.logits, **ATOL)
    for layer in range(model.cfg.n_layers):
        torch.testing.assert_close(cache["resid_pre", layer], want.hidden_states[layer], **ATOL)
        if attentions:
            torch.testing.assert_close(cache["pattern", layer], want.attentions[layer], **ATOL)
    torch.testing.assert_close(model.ln_final(cache["resid_post", -1]), want.hidden_states[-1], **ATOL)


@torch.no_grad()
def test_every_tensor_of_theirs_moves_our_logits(hf, model, tokens):
    """Rolled by one. A key bias moves nothing where scores are linear in the key, so its value is checked instead."""
    family, cfg = family_and_config(hf)
    state, reference = used_weights(hf), model(tokens)
    moving = HookedTransformer(cfg)
    linear_in_key = cfg.positions != "rotary" and cfg.attn_softcap is None and cfg.clip_qkv is None
    for name, tensor in state.items():
        rolled = state | {name: tensor.flatten().roll(1).view_as(tensor)}
        moving.load_state_dict(convert(family, cfg, rolled))
        moved = (moving(tokens) - reference).abs().max()
        if linear_in_key and name.endswith("k_proj.bias"):
            layer = int(re.search(r"\d+", name)[0])
            assert moved < 1e-5
            assert torch.equal(model.blocks[layer].attn.b_K.flatten(), tensor)
        else:
            assert moved > 1e-3, f"rolling {name} moves the logits by {moved:.1e} only"


def test_file_names_with_each_base_prefix_and_without(hf, model):
    family, cfg = family_and_config(hf)
    full = used_weights(hf)
    base = next(p for p in sorted(family.prefixes, key=len, reverse=True) if any(n.startswith(p) for n in full))
    for prefix in ("", *family.prefixes):
        renamed = {n.replace(base, prefix, 1) if n.startswith(base) else n: t for n, t in full.items()}
        assert set(renamed) != set(full) or prefix == base
        for name, tensor in convert(family, cfg, renamed).items():
            assert torch.equal(tensor, model.state_dict()[name])


def test_both_names_of_the_head_of_gpt_neox():
    hf = VARIANTS["gpt-neox"]()
    family, cfg = family_and_config(hf)
    saved = weights_of(hf)
    (head,) = {"lm_head.weight", "embed_out.weight"} & set(saved)
    other = {"lm_head.weight": "embed_out.weight", "embed_out.weight": "lm_head.weight"}[head]
    old = {other if name == head else name: tensor for name, tensor in saved.items()}
    assert torch.equal(convert(family, cfg, old)["unembed.W_U"], saved[head].T)


def test_weights_that_agree_in_layout_are_not_copied(hf):
    family, cfg = family_and_config(hf)
    state = hf.state_dict()
    theirs = {tensor.untyped_storage().data_ptr() for tensor in state.values()}
    model = HookedTransformer.from_state(cfg, convert(family, cfg, state))
    copied = {
        name.rsplit(".", 1)[-1]
        for name, p in model.named_parameters()
        if p.untyped_storage().data_ptr() not in theirs and name.rsplit(".", 1)[-1].startswith("W_")
    }
    assert copied <= ({"W_Q", "W_K", "W_V"} if family.model_type in REARRANGED else set())
    assert (model.W_U.data_ptr() == model.W_E.data_ptr()) == cfg.tied
    model.double()
    assert (model.W_U.data_ptr() == model.W_E.data_ptr()) == cfg.tied


def test_no_two_parameters_but_a_tied_head_share_memory(model):
    places = [p.data_ptr() for name, p in model.named_parameters() if name != "unembed.W_U"]
    assert len(set(places)) == len(places)


def test_queries_keys_and_values_lie_as_the_forward_reads_them(model):
    for block in model.blocks:
        for W in (block.attn.W_Q, block.attn.W_K, block.attn.W_V):
            assert W.transpose(1, 2).flatten(0, 1).data_ptr() == W.data_ptr()  # a view, no copy
