"""The classic config and models made from it."""

import copy
import dataclasses

import pytest
import torch

from lens import Config
from lens.compat.config import HookedTransformerConfig
from lens.compat.transformer import HookedTransformer

BASE = {"n_layers": 2, "d_model": 16, "n_ctx": 12, "d_head": 4, "d_vocab": 11}


def make(**changes):
    return HookedTransformerConfig(**(BASE | {"act_fn": "relu", "device": "cpu"} | changes))


def test_classic_names_become_ours_and_are_answered():
    cfg = make(
        normalization_type="RMS",
        positional_embedding_type="rotary",
        rotary_dim=2,
        eps=1e-3,
        n_key_value_heads=2,
        gated_mlp=True,
        parallel_attn_mlp=True,
        output_logits_soft_cap=30.0,
        use_attn_scale=False,
        use_local_attn=True,
        window_size=5,
        attn_types=["global", "local"],
    )
    assert isinstance(cfg, Config)
    assert (cfg.norm, cfg.positions, cfg.norm_eps, cfg.n_kv_heads) == ("RMS", "rotary", 1e-3, 2)
    assert (cfg.attn_scale, cfg.windows, cfg.final_softcap, cfg.attn_softcap) == (1.0, (None, 5), 30.0, None)
    assert (cfg.n_heads, cfg.d_mlp) == (4, 64)
    assert (cfg.normalization_type, cfg.positional_embedding_type, cfg.eps) == ("RMS", "rotary", 1e-3)
    assert (cfg.n_key_value_heads, cfg.use_attn_scale, cfg.window_size) == (2, False, 5)
    assert cfg.attn_types == ["global", "local"]
    assert cfg.n_params == 2 * (16 * 4 * 4 * 4 + 16 * 64 * 3)
    assert "n_params" in repr(cfg)
    assert str(cfg) == repr(cfg)


def test_activation_functions():
    assert (make(act_fn="solu_ln").act_fn, make(act_fn="solu_ln").mlp_norm) == ("solu", True)
    assert (make(act_fn="solu").mlp_norm, make(act_fn="gelu_fast").act_fn) == (False, "gelu_new")
    assert make(attn_only=True, act_fn=None).d_mlp == 0


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"attention_dir": "bidirectional"}, "attention_dir='bidirectional'"),
        ({"num_experts": 4}, "num_experts=4"),
        ({"positional_embedding_type": "relative_positional_bias"}, "relative_positional_bias"),
        ({"act_fn": "xielu"}, "act_fn='xielu'"),
        ({"act_fn": None}, "act_fn must be given"),
        ({"n_lyers": 3}, "no field 'n_lyers'"),
        ({"use_attn_in": True}, "use_attn_in=True"),
    ],
)
def test_what_lens_does_not_compute_is_refused_by_name(bad, said):
    with pytest.raises(ValueError, match=said):
        make(**bad)


def test_structure_is_fixed_and_settings_may_change():
    cfg = make()
    cfg.use_attn_result, cfg.default_prepend_bos = True, False
    assert cfg.to_dict()["use_attn_result"] is True
    with pytest.raises(dataclasses.FrozenInstanceError, match="n_ctx cannot be changed"):
        cfg.n_ctx = 5
    with pytest.raises(AttributeError, match="no field 'n_lyers'"):
        _ = cfg.n_lyers
    assert copy.deepcopy(cfg) == cfg
    assert dataclasses.replace(cfg, n_ctx=5).n_ctx == 5


def test_a_training_step_lowers_the_loss_and_reaches_every_weight():
    model = HookedTransformer(make(seed=3, normalization_type="LN"))
    tokens = torch.randint(0, 11, (8, 12), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model(tokens, return_type="loss")
    before.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    assert gradients["blocks.0.attn.W_Q"].norm() > 0
    optimizer.step()
    assert model(tokens, return_type="loss") < before


def test_seed_and_schemes_of_random_weights():
    one, same, other = (HookedTransformer(make(seed=seed)) for seed in (3, 3, 4))
    assert torch.equal(one.W_Q, same.W_Q)
    assert not torch.equal(one.W_Q, other.W_Q)
    assert torch.equal(one.b_in, torch.zeros_like(one.b_in))
    torch.testing.assert_close(HookedTransformer(make(d_vocab=4000)).W_E.std().item(), 0.8 / 4, rtol=0.02, atol=0)
    assert HookedTransformer(make(initializer_range=0.01)).W_in.std() < 0.012
    uniform = HookedTransformer(make(init_mode="xavier_uniform")).W_in
    bound = (6 / (16 + 64)) ** 0.5
    assert bound * 0.9 < uniform.abs().max() <= bound
    normal = HookedTransformer(make(init_mode="kaiming_normal", d_mlp=4000)).W_in
    torch.testing.assert_close(normal.std().item(), (2 / 16) ** 0.5, rtol=0.02, atol=0)
    with pytest.raises(ValueError, match="init_mode='muP'"):
        HookedTransformer(make(init_mode="muP"))


def test_an_output_vocabulary_of_its_own():
    model = HookedTransformer(make(d_vocab=12, d_vocab_out=11, normalization_type=None))
    assert model(torch.tensor([[1, 11, 3]])).shape == (1, 3, 11)
    assert model.W_U.shape == (16, 11)
    assert model.cfg.d_vocab_out == 11


def test_vocabulary_from_the_tokenizer(tokenizer):
    cfg = HookedTransformerConfig(n_layers=1, d_model=16, n_ctx=12, d_head=4, act_fn="relu", device="cpu")
    model = HookedTransformer(cfg, tokenizer)
    assert model.cfg.d_vocab == model.cfg.d_vocab_out == len(tokenizer)
    assert model("a b").shape[-1] == len(tokenizer)
    assert " a" not in model.tokenizer.vocab or isinstance(model.tokenizer.vocab, dict)
    with pytest.raises(ValueError, match="d_vocab"):
        HookedTransformer(cfg)


def test_a_dictionary_will_do_and_parameters_have_their_names():
    model = HookedTransformer(BASE | {"act_fn": "relu", "device": "cpu"})
    names = dict(model.named_parameters())
    assert names["blocks.1.attn.W_O"].shape == (4, 4, 16)
    assert {"embed.W_E", "pos_embed.W_pos", "blocks.0.ln1.w", "blocks.0.mlp.b_in", "ln_final.b", "unembed.b_U"} <= set(
        names
    )


def test_norms_without_parameters_do_not_learn():
    model = HookedTransformer(make(normalization_type="LNPre"))
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert "blocks.0.attn.W_Q" in learning
    assert not any("ln" in name for name in learning)
    assert model.cfg.normalization_type == "LNPre"


def test_weight_files_of_the_classic_library_fit():
    """They hold attention masks, and leave out norms that have no parameters."""
    model = HookedTransformer(make(normalization_type="LNPre"))
    state = {name: torch.randn_like(x) for name, x in model.state_dict().items() if "ln" not in name}
    buffers = {"blocks.0.attn.mask": torch.ones(12, 12), "blocks.0.attn.IGNORE": torch.tensor(-1e5)}
    model.load_state_dict(state | buffers)
    assert torch.equal(model.W_Q[1], state["blocks.1.attn.W_Q"])
    assert torch.equal(model.ln_final.w, torch.ones(16))
    with pytest.raises(RuntimeError, match="nonsense"):
        model.load_state_dict(state | {"nonsense": torch.ones(1)})
    grouped = HookedTransformer(make(n_key_value_heads=2))
    renamed = {name.replace("attn.W_K", "attn._W_K"): x for name, x in grouped.state_dict().items()}
    grouped.load_state_dict(renamed)
    gated = HookedTransformer(make(gated_mlp=True, act_fn="solu_ln", normalization_type="LNPre"))
    theirs = {name: x for name, x in gated.state_dict().items() if not name.endswith("b_gate") and ".ln" not in name}
    gated.load_state_dict({name: x for name, x in theirs.items() if not name.startswith("ln_final")})
    with pytest.raises(RuntimeError, match="W_gate"):
        gated.load_state_dict({name: x for name, x in theirs.items() if "W_gate" not in name})


def test_device_and_format_follow_the_model():
    model = HookedTransformer(make())
    assert model.to("cpu") is model.cpu() is model
    model.to(torch.float64, print_details=False)
    assert (model.cfg.device, model.cfg.dtype, model.W_Q.dtype) == ("cpu", torch.float64, torch.float64)
