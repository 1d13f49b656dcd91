"""What holds inside every structure, with no reference to compare with."""

import copy

import torch

from lens.attention import KeyValues
from lens.model import within_layer

ATOL = {"atol": 2e-5, "rtol": 0}
ON_REQUEST = {"hook_result", "hook_q_input", "hook_k_input", "hook_v_input", "hook_mlp_in"}


@torch.no_grad()
def test_every_point_fires_and_the_stream_is_the_sum_of_what_is_written(model, tokens):
    cfg = model.cfg
    _, cache = model.run_with_cache(tokens)
    assert set(cache) == {name for name, point in model.hook_dict.items() if not point.on_request}
    assert {name.rsplit(".", 1)[-1] for name, point in model.hook_dict.items() if point.on_request} == ON_REQUEST
    start = cache["hook_embed"] + (cache["hook_pos_embed"] if cfg.positions == "learned" else 0)
    assert torch.equal(cache["resid_pre", 0], start)
    for layer in range(cfg.n_layers):
        mid = cache["resid_pre", layer] + cache["attn_out", layer]
        if cfg.parallel:
            assert ("resid_mid", layer) not in cache
        else:
            assert torch.equal(cache["resid_mid", layer], mid)
        assert torch.equal(cache["resid_post", layer], mid + cache["mlp_out", layer])
        assert (("scale", layer, "ln1_post") in cache) == cfg.post_norm


@torch.no_grad()
def test_names_and_shapes(model, tokens):
    cfg, (batch, pos) = model.cfg, tokens.shape
    _, cache = model.run_with_cache(tokens)
    shapes = {
        "q": (batch, pos, cfg.n_heads, cfg.d_head),
        "k": (batch, pos, cfg.n_kv_heads, cfg.d_head),
        "v": (batch, pos, cfg.n_kv_heads, cfg.d_head),
        "z": (batch, pos, cfg.n_heads, cfg.d_head),
        "attn_scores": (batch, cfg.n_heads, pos, pos),
        "pattern": (batch, cfg.n_heads, pos, pos),
        "attn_out": (batch, pos, cfg.d_model),
        "mlp_out": (batch, pos, cfg.d_model),
        "pre": (batch, pos, cfg.d_mlp),
        "post": (batch, pos, cfg.d_mlp),
    }
    if cfg.positions == "rotary":
        shapes |= {"rot_q": shapes["q"], "rot_k": shapes["k"]}
    for name, shape in shapes.items():
        assert cache[name, 1].shape == shape, name
    for name in cache:
        if name.endswith(("ln1.hook_scale", "ln2_post.hook_scale")):
            assert cache[name].shape == (batch, pos, 1)


@torch.no_grad()
def test_patterns_are_distributions_over_the_keys_that_a_query_may_see(model, tokens):
    _, cache = model.run_with_cache(tokens)
    distance = torch.arange(17)[:, None] - torch.arange(17)
    for layer in range(model.cfg.n_layers):
        width = model.cfg.window(layer) or 17
        pattern = cache["pattern", layer]
        torch.testing.assert_close(pattern.sum(-1), torch.ones(2, model.cfg.n_heads, 17))
        assert pattern[:, :, (distance < 0) | (distance >= width)].sum() == 0
        assert (pattern[:, :, (distance >= 0) & (distance < width)] > 0).float().mean() > 0.99


@torch.no_grad()
def test_heads_sum_to_the_attention_output(model, tokens):
    wanted = ("hook_result", "hook_attn_out", "hook_z")
    _, cache = model.run_with_cache(tokens, names_filter=lambda name: name.endswith(wanted))
    for layer, block in enumerate(model.blocks):
        result = cache["result", layer]
        torch.testing.assert_close(result[:, :, 1], cache["z", layer][:, :, 1] @ block.attn.W_O[1], **ATOL)
        total = result.sum(2) + block.attn.b_O
        torch.testing.assert_close(block.ln1_post(total), cache["attn_out", layer], **ATOL)


@torch.no_grad()
def test_one_input_for_each_head_changes_nothing_by_itself(model, tokens):
    points = [(f"blocks.1.hook_{x}_input", lambda x, hook: None) for x in "qkv"]
    torch.testing.assert_close(model.run_with_hooks(tokens, fwd_hooks=points), model(tokens), **ATOL)


@torch.no_grad()
def test_stopping_and_starting_again_changes_nothing(model, tokens):
    whole = model(tokens)
    for layer in (0, 2, model.cfg.n_layers):
        assert torch.equal(model(model(tokens, stop_at_layer=layer), start_at_layer=layer), whole)


@torch.no_grad()
def test_padding_on_either_side_changes_nothing(model, tokens):
    lengths = (17, 9)
    alone = [model(row[None, :n])[0] for row, n in zip(tokens, lengths, strict=True)]
    for side in ("left", "right"):
        padded, mask = torch.zeros_like(tokens), torch.zeros_like(tokens, dtype=torch.bool)
        for row, n in enumerate(lengths):
            real = slice(17 - n, 17) if side == "left" else slice(0, n)
            padded[row, real], mask[row, real] = tokens[row, :n], True
        logits, cache = model.run_with_cache(padded, attention_mask=mask)
        for row in range(2):
            torch.testing.assert_close(logits[row, mask[row]], alone[row], **ATOL)
            assert cache["pattern", 1][row][:, mask[row]][..., ~mask[row]].sum() == 0


@torch.no_grad()
def test_reading_in_pieces_equals_reading_at_once(model, tokens):
    past, pieces = KeyValues(), []
    for piece in tokens.split([7, 1, 9], dim=1):
        pieces.append(model(piece, past=past))
    torch.testing.assert_close(torch.cat(pieces, 1), model(tokens), **ATOL)


@torch.no_grad()
def test_generating_after_left_padding_takes_the_top_token_each_time(model, tokens):
    from lens.generate import Sampling, generate_tokens
    from lens.tokens import TokenBatch

    prompts, mask = tokens[:, :8].clone(), torch.ones(2, 8, dtype=torch.bool)
    mask[1, :3] = False
    written = generate_tokens(model, TokenBatch(prompts, mask), 6, Sampling(temperature=0))
    for row, start in ((0, 0), (1, 3)):
        for n in range(8, written.shape[1]):
            assert written[row, n] == model(written[row : row + 1, start:n])[0, -1].argmax()


@torch.no_grad()
def test_half_precision_keeps_softmax_and_norms_in_float32(model, tokens):
    half = copy.deepcopy(model).to(torch.bfloat16)
    logits, cache = half.run_with_cache(tokens)
    assert logits.dtype == cache["pattern", 0].dtype == cache["resid_post", 0].dtype == torch.bfloat16
    assert all(cache[name].dtype == torch.float32 for name in cache if name.endswith("hook_scale"))
    assert (logits.float() - model(tokens)).abs().mean() < 0.2 * model(tokens).std()


def test_gradients_reach_every_parameter(model, tokens):
    trained = copy.deepcopy(model)
    trained(tokens, return_type="loss").backward()
    still = {within_layer(name) for name, p in trained.named_parameters() if p.grad is None}
    assert still == set(model.cfg.absent)


def test_weights_of_all_layers_have_one_entry_per_query_head(model):
    cfg = model.cfg
    assert model.W_Q.shape == model.W_K.shape == model.W_V.shape == (cfg.n_layers, cfg.n_heads, cfg.d_model, cfg.d_head)
    assert torch.equal(model.W_K[1, -1], model.blocks[1].attn.W_K[-1])
    assert torch.equal(model.b_V[1, 1], model.blocks[1].attn.b_V[1 // cfg.group_size])
    assert model.W_in.shape == (cfg.n_layers, cfg.d_model, cfg.d_mlp)
