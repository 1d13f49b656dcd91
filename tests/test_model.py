"""Identities of the forward pass that hold for every structure."""

import pytest
import torch

from lens import Config, HookedTransformer
from lens.attention import KeyValues
from lens.model import within_layer

ATOL = {"atol": 2e-5, "rtol": 0}


@pytest.fixture
def tokens(tiny):
    torch.manual_seed(3)
    return torch.randint(1, tiny.cfg.d_vocab, (2, 12))


@pytest.fixture
def run(tiny, tokens):
    with torch.no_grad():
        return tiny.run_with_cache(tokens)


def test_the_stream_is_the_sum_of_what_is_written(tiny, run):
    _, cache = run
    for layer in range(tiny.cfg.n_layers):
        mid = cache["resid_pre", layer] + cache["attn_out", layer]
        assert torch.equal(cache["resid_mid", layer], mid)
        assert torch.equal(cache["resid_post", layer], mid + cache["mlp_out", layer])
    start = cache["hook_embed"] + (cache["hook_pos_embed"] if tiny.cfg.positions == "learned" else 0)
    assert torch.equal(cache["resid_pre", 0], start)


def test_patterns_are_causal_distributions(tiny, run):
    _, cache = run
    for layer in range(tiny.cfg.n_layers):
        pattern = cache["pattern", layer]
        assert pattern.shape == (2, tiny.cfg.n_heads, 12, 12)
        torch.testing.assert_close(pattern.sum(-1), torch.ones(2, tiny.cfg.n_heads, 12))
        assert pattern.triu(1).abs().max() == 0


def test_pattern_comes_from_q_k_and_the_scale(tiny, run):
    _, cache = run
    rotary = tiny.cfg.positions == "rotary"
    q, k = cache["rot_q" if rotary else "q", 1], cache["rot_k" if rotary else "k", 1]
    k = k.repeat_interleave(tiny.cfg.group_size, dim=2)
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / tiny.cfg.attn_scale
    scores = scores.masked_fill(torch.ones(12, 12).triu(1).bool(), -torch.inf)
    torch.testing.assert_close(scores.softmax(-1), cache["pattern", 1], **ATOL)


@torch.no_grad()
def test_heads_sum_to_the_attention_output(tiny, tokens):
    _, cache = tiny.run_with_cache(
        tokens, names_filter=lambda name: name.endswith(("hook_result", "hook_attn_out", "hook_z"))
    )
    for layer, block in enumerate(tiny.blocks):
        result = cache["result", layer]
        one = cache["z", layer][:, :, 1] @ block.attn.W_O[1]
        torch.testing.assert_close(result[:, :, 1], one, **ATOL)
        torch.testing.assert_close(result.sum(2) + block.attn.b_O, cache["attn_out", layer], **ATOL)


def test_points_on_request_are_left_out_unless_they_are_named(tiny, run):
    _, cache = run
    on_request = {name for name, point in tiny.hook_dict.items() if point.on_request}
    assert {name.rsplit(".", 1)[-1] for name in on_request} == {
        "hook_result", "hook_q_input", "hook_k_input", "hook_v_input", "hook_mlp_in",
    }  # fmt: skip
    assert set(cache) == set(tiny.hook_dict) - on_request


@torch.no_grad()
def test_an_input_of_one_head_can_be_changed_alone(tiny, tokens):
    head = 2

    def blank(x, hook):
        x[:, :, head] = 0

    def pattern(*hooks):
        caching = {"names_filter": "blocks.1.attn.hook_pattern"}
        with tiny.hooks(fwd_hooks=hooks):
            return tiny.run_with_cache(tokens, **caching)[1]["pattern", 1]

    plain, changed = pattern(), pattern(("blocks.1.hook_q_input", blank))
    others = [h for h in range(tiny.cfg.n_heads) if h != head]
    torch.testing.assert_close(changed[:, others], plain[:, others], **ATOL)
    assert (changed[:, head] - plain[:, head]).abs().max() > 0.01
    same = pattern(*((f"blocks.1.hook_{x}_input", lambda x, hook: None) for x in "qkv"))
    torch.testing.assert_close(same, plain, **ATOL)


@torch.no_grad()
@pytest.mark.parametrize("layer", [0, 1, -1, 3])
def test_stopping_and_starting_again_changes_nothing(tiny, tokens, layer):
    stream = tiny(tokens, stop_at_layer=layer)
    assert torch.equal(tiny(stream, start_at_layer=layer), tiny(tokens))


def test_a_layer_that_does_not_exist_is_refused(tiny, tokens):
    with pytest.raises(ValueError, match=r"stop_at_layer=4.*0 … 2"):
        tiny(tokens, stop_at_layer=4)


@torch.no_grad()
@pytest.mark.parametrize("positions", [-1, 0, slice(2, 5), torch.tensor([3, 0])])
def test_logits_of_some_positions_are_those_of_all(tiny, tokens, positions):
    full = tiny(tokens)
    want = full[:, [positions] if isinstance(positions, int) else positions]
    torch.testing.assert_close(tiny(tokens, logit_positions=positions), want, **ATOL)


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing_and_is_never_attended_to(tiny, side):
    texts = ["The cat sat on the mat.", "Mary went home; John gave a drink to Mary."]
    tokens, mask = tiny.tokenize(texts, padding_side=side)
    assert not mask.all()
    logits, cache = tiny.run_with_cache(tokens, attention_mask=mask)
    loss = tiny(tokens, return_type="loss", loss_per_token=True, attention_mask=mask)
    for row, text in enumerate(texts):
        alone = tiny(text)[0]
        torch.testing.assert_close(logits[row, mask[row]], alone, **ATOL)
        seen = cache["pattern", 1][row][:, mask[row]]
        assert seen[:, :, ~mask[row]].sum() == 0
        scored = loss[row][~loss[row].isnan()]
        torch.testing.assert_close(scored, tiny(text, return_type="loss", loss_per_token=True)[0], **ATOL)


@torch.no_grad()
def test_reading_with_a_cache_of_keys_and_values_equals_reading_at_once(tiny, tokens):
    past, whole = KeyValues(), tiny(tokens)
    first, second = tiny(tokens[:, :7], past=past), tiny(tokens[:, 7:], past=past)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, **ATOL)
    assert past.n_pos == 12


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (torch.tensor([[5, 10_000]]), "10000; this vocabulary has 0"),
        (torch.tensor([[-1]]), "-1"),
        (torch.zeros(1, 0, dtype=torch.long), "at least one"),
        (torch.zeros(1, 3), "float32"),
        (torch.ones(1, 129, dtype=torch.long), "at most 128"),
    ],
)
def test_tokens_that_are_none_are_refused(tiny, tokens, said):
    with pytest.raises(ValueError, match=said):
        tiny(tokens)


@torch.no_grad()
def test_half_precision_keeps_softmax_and_norms_in_float32(tiny, tokens):
    import copy

    half = copy.deepcopy(tiny).to(torch.bfloat16)
    logits, cache = half.run_with_cache(tokens)
    assert logits.dtype == cache["pattern", 0].dtype == torch.bfloat16
    assert cache["scale", 0, "ln1"].dtype == torch.float32
    assert (logits.float() - tiny(tokens)).abs().mean() < 0.1 * tiny(tokens).std()


@torch.no_grad()
def test_attention_only_models_have_no_mlp():
    cfg = Config(n_layers=2, n_heads=2, d_model=16, d_head=8, d_vocab=20, n_ctx=32)
    model = HookedTransformer(cfg)
    _, cache = model.run_with_cache(torch.arange(10)[None])
    assert torch.equal(cache["resid_post", 0], cache["resid_pre", 0] + cache["attn_out", 0])
    assert not [name for name in cache if "mlp" in name or "resid_mid" in name or "ln2" in name]
    with pytest.raises(ValueError, match="attention layers only"):
        _ = model.W_in


def test_training_moves_every_weight_that_the_architecture_has(tiny, tokens):
    import copy

    model = copy.deepcopy(tiny)
    model(tokens, return_type="loss").backward()
    still = {within_layer(name) for name, p in model.named_parameters() if p.grad is None}
    assert still == set(model.cfg.absent)
    assert "unembed.b_U" in still


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_kv_heads": 3}, "3 key/value"),
        ({"norm": "batch"}, "norm='batch'"),
        ({"positions": "rotary", "rotary_dim": 7}, "rotary_dim 7"),
        ({"n_layers": 0}, "n_layers is 0"),
    ],
)
def test_a_config_that_makes_no_model_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        Config(**{"n_layers": 1, "n_heads": 4, "d_model": 16, "d_head": 8, "d_vocab": 20, "n_ctx": 8} | changes)
