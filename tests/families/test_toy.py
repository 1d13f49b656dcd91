"""Neel Nanda's toy models: their structures against a forward pass written out, and their files as they were saved."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from lens import Config, HookedTransformer
from lens.attention import KeyValues
from lens.families.toy import is_toy, read_toy, toy_config

ATOL = {"atol": 2e-5, "rtol": 0}
SIZE = {"n_layers": 2, "n_heads": 4, "d_model": 24, "d_head": 6, "d_vocab": 50, "n_ctx": 32}
STRUCTURES = {
    "attn-only": {"attn_only": True, "act_fn": "solu_ln", "normalization": "LN", "d_mlp": 96},
    "gelu": {"attn_only": False, "act_fn": "gelu", "normalization_type": "LN", "d_mlp": 96},
    "solu": {"attn_only": False, "act_fn": "solu_ln", "normalization": "LNPre", "d_mlp": 96},
    "solu-final-rms": {"act_fn": "solu_ln", "normalization": "LN", "d_mlp": 96, "final_rms": True},
    "demo-without-norms": {
        "attn_only": True, "act_fn": "solu_ln", "normalization": None, "d_mlp": 96, "shortformer_pos": True,
    },
    "redwood": {"attn_only": True, "act_fn": "gelu_new", "normalization": "LN", "d_mlp": -1, "shortformer_pos": True},
    "rms": {"act_fn": "relu", "normalization": "RMS", "d_mlp": 96},
}  # fmt: skip


def config_of(structure: str) -> dict:
    return SIZE | STRUCTURES[structure] | {"tokenizer_name": "EleutherAI/gpt-neox-20b"}


@pytest.fixture(params=STRUCTURES)
def model(request) -> HookedTransformer:
    """A model of each structure with large random weights, biases and gains."""
    torch.manual_seed(0)
    made = HookedTransformer(toy_config(config_of(request.param)), name=request.param)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made.eval()


@pytest.fixture
def tokens():
    return torch.randint(0, 50, (2, 11), generator=torch.Generator().manual_seed(1))


def normed(weights: dict, name: str, x: torch.Tensor, kind: str | None) -> torch.Tensor:
    if kind is None:
        return x
    x = x - x.mean(-1, keepdim=True) if kind == "LN" else x
    x = x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
    return x * weights[f"{name}.w"] + (weights[f"{name}.b"] if kind == "LN" else 0)


def by_hand(weights: dict, cfg: Config, tokens: torch.Tensor) -> torch.Tensor:
    """Logits of one sequence, one head and one query at a time."""
    w, positions = weights, weights["pos_embed.W_pos"][: len(tokens)]
    short = cfg.positions == "shortformer"
    x = w["embed.W_E"][tokens] + (0 if short else positions)
    for layer in range(cfg.n_layers):
        at = f"blocks.{layer}.attn."
        read = normed(w, f"blocks.{layer}.ln1", x, cfg.norm)
        read_qk = read + positions if short else read
        out = w[at + "b_O"].expand_as(x).clone()
        for head in range(cfg.n_heads):
            q, k, v = (
                source @ w[f"{at}W_{name}"][head] + w[f"{at}b_{name}"][head]
                for name, source in (("Q", read_qk), ("K", read_qk), ("V", read))
            )
            for here in range(len(tokens)):
                pattern = (k[: here + 1] @ q[here] / cfg.d_head**0.5).softmax(0)
                out[here] += pattern @ v[: here + 1] @ w[at + "W_O"][head]
        x = x + out
        if not cfg.attn_only:
            mlp = f"blocks.{layer}.mlp."
            pre = normed(w, f"blocks.{layer}.ln2", x, cfg.norm) @ w[mlp + "W_in"] + w[mlp + "b_in"]
            post = {
                "solu": lambda a: a * a.exp() / a.exp().sum(-1, keepdim=True),
                "gelu_new": lambda a: 0.5 * a * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (a + 0.044715 * a**3))),
                "relu": F.relu,
            }[cfg.act_fn](pre)
            post = normed(w, mlp + "ln", post, "LN" if cfg.mlp_norm else None)
            x = x + post @ w[mlp + "W_out"] + w[mlp + "b_out"]
    x = normed(w, "ln_final", x, cfg.final_norm)
    return x @ w["unembed.W_U"] + w["unembed.b_U"]


class TestStructures:
    @torch.no_grad()
    def test_logits_are_those_written_out_by_hand(self, model, tokens):
        logits = model(tokens)
        assert logits.std() > 0.5
        for row in range(2):
            want = by_hand(model.state_dict(), model.cfg, tokens[row])
            torch.testing.assert_close(logits[row], want, **ATOL)

    @torch.no_grad()
    def test_activations_have_the_names_of_the_field(self, model, tokens):
        cfg = model.cfg
        _, cache = model.run_with_cache(tokens)
        names = set(cache)
        assert names == {name for name, point in model.hook_dict.items() if not point.on_request}
        start = cache["hook_embed"] + (cache["hook_pos_embed"] if cfg.positions == "learned" else 0)
        assert torch.equal(cache["resid_pre", 0], start)
        assert "hook_pos_embed" in names
        assert ("blocks.0.mlp.hook_mid" in names) == ("blocks.0.mlp.ln.hook_scale" in names) == cfg.mlp_norm
        assert ("blocks.0.ln1.hook_scale" in names) == (cfg.norm is not None)
        assert ("ln_final.hook_scale" in names) == (cfg.final_norm is not None)
        assert ("blocks.0.hook_resid_mid" in names) == ("blocks.0.mlp.hook_pre" in names) == (not cfg.attn_only)
        if cfg.mlp_norm:
            mid = cache["mid", 0]
            torch.testing.assert_close(model.blocks[0].mlp.ln(mid), cache["post", 0], **ATOL)

    @torch.no_grad()
    def test_stretches_padding_and_reading_in_pieces(self, model, tokens):
        whole = model(tokens)
        assert torch.equal(model(model(tokens, stop_at_layer=1), start_at_layer=1), whole)
        for side in ("left", "right"):
            n_pads = 3
            real = slice(n_pads, None) if side == "left" else slice(None, -n_pads)
            padded, mask = torch.zeros(2, 14, dtype=torch.long), torch.zeros(2, 14, dtype=torch.bool)
            padded[:, real], mask[:, real] = tokens, True
            torch.testing.assert_close(model(padded, attention_mask=mask)[:, real], whole, **ATOL)
        past = KeyValues()
        pieces = [model(piece, past=past) for piece in tokens.split([5, 1, 5], dim=1)]
        torch.testing.assert_close(torch.cat(pieces, 1), whole, **ATOL)

    @torch.no_grad()
    def test_one_input_for_each_head_changes_nothing_by_itself(self, model, tokens):
        points = [(f"blocks.1.hook_{x}_input", lambda x, hook: None) for x in "qkv"]
        torch.testing.assert_close(model.run_with_hooks(tokens, fwd_hooks=points), model(tokens), **ATOL)

    def test_gradients_and_half_precision(self, model, tokens):
        trained = copy.deepcopy(model)
        trained(tokens, return_type="loss").backward()
        assert [name for name, p in trained.named_parameters() if p.grad is None] == []
        assert copy.deepcopy(model).to(torch.bfloat16)(tokens).dtype == torch.bfloat16
        assert model.W_pos.shape == (32, 24)


class TestFiles:
    """State dicts as they were saved, made from a model whose weights are known."""

    def saved(self, model, **more) -> dict:
        state = {name: tensor.clone() for name, tensor in model.state_dict().items() if name != "unembed.b_U"}
        buffers = {f"blocks.{layer}.attn.mask": torch.ones(32, 32).tril().bool() for layer in range(2)}
        return state | buffers | {f"blocks.{layer}.attn.IGNORE": torch.tensor(-1e5) for layer in range(2)} | more

    def test_a_file_of_every_structure_gives_the_model_back(self, model):
        cfg, state = read_toy(config_of(model.name), self.saved(model))
        assert cfg == replace(model.cfg, absent=("unembed.b_U",))  # the one that the file does not hold
        assert state["unembed.b_U"].abs().max() == 0
        for name, tensor in state.items():
            assert name == "unembed.b_U" or torch.equal(tensor, model.state_dict()[name])
        assert state["blocks.0.attn.W_Q"].mT.is_contiguous()
        HookedTransformer.from_state(cfg, state)

    @pytest.mark.parametrize(("n_layers", "turned"), [(6, "all"), (8, "W_pos"), (10, "none")])
    def test_old_files_are_renamed_turned_and_cast_up(self, n_layers, turned):
        torch.manual_seed(0)
        config = config_of("solu-final-rms") | {"n_layers": n_layers}
        model = HookedTransformer(toy_config(config)).to(torch.bfloat16)
        old = {}
        for name, tensor in model.state_dict().items():
            wrong_way = turned != "none" and ("W_pos" if turned == "W_pos" else "W_") in name
            old[name.replace("ln_final", "norm").replace("ln", "norm")] = tensor.mT if wrong_way else tensor
        cfg, state = read_toy(config, old, old=True)
        assert cfg == model.cfg
        for name, tensor in model.state_dict().items():
            assert state[name].dtype == torch.float32
            assert torch.equal(state[name], tensor.float()), name

    def test_norms_are_what_the_file_holds(self):
        config = config_of("solu")  # it says LNPre: folded
        saved = self.saved(HookedTransformer(toy_config(config)))
        folded = {name: tensor for name, tensor in saved.items() if not name.endswith((".w", "ln1.b", "ln2.b"))}
        del folded["ln_final.b"], folded["blocks.0.mlp.ln.b"], folded["blocks.1.mlp.ln.b"]
        cfg, state = read_toy(config, folded)
        assert (cfg.norm, cfg.final_norm) == ("LN", "LN")
        assert state["blocks.1.ln2.w"].eq(1).all()
        assert state["blocks.1.ln2.b"].eq(0).all()
        rms = {name: tensor for name, tensor in saved.items() if name != "ln_final.b"}
        assert read_toy(config, rms).cfg.final_norm == "RMS"
        assert read_toy(config | {"normalization": None}, saved).cfg.norm == "LN"

    def test_what_does_not_fit_is_named(self):
        config = config_of("gelu")
        saved = self.saved(HookedTransformer(toy_config(config)))
        with pytest.raises(ValueError, match=r"no place.*mlp.ln.w"):
            read_toy(config, saved | {"blocks.0.mlp.ln.w": torch.ones(96)})
        with pytest.raises(ValueError, match=r"no place.*W_pos \[24, 32\]"):
            read_toy(config, saved | {"pos_embed.W_pos": torch.ones(24, 32)})
        with pytest.raises(ValueError, match=r"lack blocks.1.attn.W_Q"):
            read_toy(config, {name: tensor for name, tensor in saved.items() if name != "blocks.1.attn.W_Q"})
        for changes, said in (({"act_fn": "glu"}, "act_fn='glu'"), ({"normalization_type": "batch"}, "'batch'")):
            with pytest.raises(ValueError, match=said):
                toy_config(config | changes)

    def test_configs_are_told_apart(self):
        assert is_toy(config_of("gelu"))
        assert not is_toy({"model_type": "gpt2", "n_layer": 12})
        assert toy_config(config_of("gelu")).act_fn == "gelu_new"
