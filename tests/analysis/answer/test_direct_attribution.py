"""Parts of an answer: they sum to the model's number on every family, and are what the plain decomposition reads."""

from types import SimpleNamespace

import pytest
import torch

from lens.analysis.answer import direct_attribution as direct
from lens.analysis.answer.direct_attribution import (
    Target,
    asked_at_random,
    direct_attribution,
    neuron_attribution,
    neuron_push,
    source_split,
    task_attribution,
)
from lens.analysis.answer.head_inputs import Write
from lens.analysis.circuit_weights import constant_values
from lens.analysis.interventions import Pairs
from lens.analysis.random_tokens import sampling_set
from lens.components import Norm
from lens.decompose import by_head, by_layer, neuron_writes
from lens.process import center_unembed, center_writing_weights, fold_layer_norm, fold_value_biases, why_inexact
from tests.families.conftest import lens_of
from tests.families.variants import VARIANTS

TOKENS = torch.randint(0, 110, (3, 11), generator=torch.Generator().manual_seed(5))
POS, RIGHT, WRONG = torch.tensor([10, 7, 4]), torch.tensor([3, 90, 41]), torch.tensor([8, 1, 77])
TARGETS = {
    "logit": Target("logit", POS, RIGHT),
    "logit_diff": Target("logit_diff", POS, RIGHT, WRONG),
    "log_prob": Target("log_prob", POS, RIGHT),
}
ROWS = torch.arange(3)


def number(model, kind):
    logits = model(TOKENS)[ROWS, POS]
    if kind == "log_prob":
        return logits.log_softmax(-1)[ROWS, RIGHT]
    return logits[ROWS, RIGHT] - (logits[ROWS, WRONG] if kind == "logit_diff" else 0)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_the_parts_sum_to_the_models_own_number_on_every_family(variant, kind):
    model = lens_of(variant)
    found = direct_attribution(model, TOKENS, TARGETS[kind])
    torch.testing.assert_close(found.value, number(model, kind), atol=1e-5, rtol=1e-5)
    size = found.parts.abs().sum(-1)
    assert (found.remainder.abs() < 1e-4 * size).all()
    assert found.parts.shape == (3, len(found.writes))
    assert len(set(found.writes)) == len(found.writes)


@pytest.mark.parametrize("variant", ["gpt2", "llama", "gemma2", "olmo2", "bloom"])
@torch.no_grad()
def test_each_part_is_what_the_plain_decomposition_reads(variant):
    model = lens_of(variant)
    _, cache = model.run_with_cache(TOKENS)
    found = direct_attribution(model, TOKENS, TARGETS["logit_diff"])
    of = {str(write): found.parts[:, at] for at, write in enumerate(found.writes)}
    final, norm = cache["resid_post", -1], model.ln_final
    assert isinstance(norm, Norm)
    scale = norm.scale_of(norm.centre(final))
    direction = model.W_U.T[RIGHT] - model.W_U.T[WRONG]

    def read(x):
        return ((norm.centre(x) / scale * norm.w)[ROWS, POS] * direction).sum(-1)

    heads = by_head(cache)
    for written, label in zip(heads.values, heads.labels, strict=True):
        layer, head = map(int, label.removeprefix("L").split("H"))
        attn, post = model.blocks[layer].attn, model.blocks[layer].ln1_post
        constant = (constant_values(model, layer)[head] @ attn.W_O[head]).expand_as(written)
        if isinstance(post, Norm):
            constant = post.centre(constant) / cache[f"blocks.{layer}.ln1_post.hook_scale"] * post.w
        torch.testing.assert_close(of[f"{layer}.{head}"], read(written - constant), atol=1e-5, rtol=1e-4)
    for layer, written in enumerate(by_layer(cache, kinds=("mlp",)).values):
        if not model.blocks[layer].mlp.b_out.any() and not getattr(model.blocks[layer].ln2_post, "centred", False):
            torch.testing.assert_close(of[f"mlp {layer}"], read(written), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(of["embedding"], read(cache["hook_embed"]), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_value_biases_belong_to_no_head():
    """Folding moves b_V into b_O: no head's part may change by it."""
    model = lens_of("gpt2")
    assert model.blocks[1].attn.b_V.abs().max() > 0.1
    raw = direct_attribution(model, TOKENS, TARGETS["logit_diff"])
    folded = direct_attribution(fold_value_biases(model), TOKENS, TARGETS["logit_diff"])
    torch.testing.assert_close(folded.parts, raw.parts, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_folding_changes_no_part_of_a_head_or_an_mlp():
    model = lens_of("gpt2")
    folded = center_unembed(center_writing_weights(fold_layer_norm(model)))
    raw, after = (direct_attribution(one, TOKENS, TARGETS["logit_diff"]) for one in (model, folded))
    at = [place for place, write in enumerate(raw.writes) if write.kind in ("head", "mlp")]
    again = [after.writes.index(raw.writes[place]) for place in at]
    torch.testing.assert_close(after.parts[:, again], raw.parts[:, at], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_sources_and_neurons_sum_to_their_head_and_mlps(variant):
    model = lens_of(variant)
    cfg, target = model.cfg, TARGETS["log_prob"]
    found = direct_attribution(model, TOKENS, target)
    head = (cfg.n_layers - 1, cfg.n_heads - 1)
    split = source_split(model, TOKENS, target, head)
    own = found.heads(cfg.n_layers, cfg.n_heads)[:, *head]
    torch.testing.assert_close(split.parts.sum(-1), own, atol=1e-5, rtol=1e-4)
    for row, pos in enumerate(POS.tolist()):
        assert not split.parts[row, pos + 1 :].any()
    if cfg.attn_only:
        with pytest.raises(ValueError, match="no neurons"):
            neuron_attribution(model, TOKENS, target)
        return
    every = neuron_attribution(model, TOKENS, target, count=cfg.n_layers * cfg.d_mlp)
    mlps = [place for place, write in enumerate(found.writes) if write.kind == "mlp"]
    torch.testing.assert_close(every.parts.sum(-1), found.parts[:, mlps].sum(-1), atol=1e-4, rtol=1e-4)
    top = neuron_attribution(model, TOKENS, target, count=3)
    assert top.neurons == every.neurons[:3]
    assert torch.equal(top.parts, every.parts[:, :3])


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_push_of_one_neuron_is_its_part_and_at_random_that_of_the_drawn_tokens(variant, kind, monkeypatch):
    model = lens_of(variant)
    if model.cfg.attn_only:
        with pytest.raises(ValueError, match="no neurons"):
            neuron_push(model, TOKENS[:1], TARGETS["logit"], 0, 0)
        return
    monkeypatch.setattr(direct, "sampling_set", lambda _: SimpleNamespace(ids=torch.tensor([17])))
    own = Target(kind, POS[:1], RIGHT[:1], None if kind != "logit_diff" else WRONG[:1])
    every = neuron_attribution(model, TOKENS[:1], own, count=9)
    for place in (0, 8):
        push = neuron_push(model, TOKENS[:1], own, *every.neurons[place], draws=2)
        assert push.part == pytest.approx(float(every.parts[0, place]), rel=1e-4, abs=1e-6)
    seventeen = own._replace(right=torch.tensor([17]), wrong=own.wrong if own.wrong is None else torch.tensor([17]))
    other = neuron_attribution(model, TOKENS[:1], seventeen, count=model.cfg.n_layers * model.cfg.d_mlp)
    want = float(other.parts[0, other.neurons.index(every.neurons[8])])
    assert push.at_random.tolist() == pytest.approx([want, want], rel=1e-4, abs=1e-6)


@torch.no_grad()
def test_one_neuron_is_its_write_read_by_the_direction():
    model = lens_of("gpt2")
    _, cache = model.run_with_cache(TOKENS)
    top = neuron_attribution(model, TOKENS, TARGETS["logit"], count=1)
    layer, neuron = top.neurons[0]
    written = neuron_writes(cache, layer, [neuron])[ROWS, POS, 0]
    norm, final = model.ln_final, cache["resid_post", -1][ROWS, POS]
    read = norm.centre(written) / norm.scale_of(norm.centre(final)) * norm.w * model.W_U.T[RIGHT]
    torch.testing.assert_close(top.parts[:, 0], read.sum(-1), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_padding_changes_nothing():
    model = lens_of("llama")
    found = direct_attribution(model, TOKENS[:1], Target("logit", POS[:1], RIGHT[:1]))
    padded = torch.cat([torch.full((1, 4), 7), TOKENS[:1]], 1)
    mask = torch.tensor([[False] * 4 + [True] * 11])
    again = direct_attribution(model, padded, Target("logit", POS[:1] + 4, RIGHT[:1]), mask)
    torch.testing.assert_close(again.parts, found.parts, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Target("loss", POS, RIGHT), "must be one of"),
        (Target("logit", POS, RIGHT, WRONG), "only it has them"),
        (Target("logit_diff", POS, RIGHT), "needs the wrong tokens"),
        (Target("logit", POS + 1, RIGHT), "pos="),
        (Target("logit", POS, RIGHT[:2]), "one per prompt"),
    ],
)
def test_a_target_that_the_prompts_do_not_have(target, said):
    with pytest.raises(ValueError, match=said):
        direct_attribution(lens_of("gpt2"), TOKENS, target)


def test_names_of_parts():
    assert str(Write("head", 1, 2)) == "1.2"
    assert str(Write("mlp", 3)) == "mlp 3"
    assert str(Write("minus entropy")) == "minus entropy"


@pytest.mark.parametrize("variant", ["gpt2", "gpt-neox", "llama", "opt", "bloom"])
@pytest.mark.parametrize("kind", TARGETS)
@torch.no_grad()
def test_read_as_folded_is_what_a_folded_model_gives(variant, kind):
    model = lens_of(variant)
    folded = center_unembed(fold_layer_norm(model))
    if why_inexact(model.cfg, "center_writing_weights") is None:
        folded = center_writing_weights(folded)
    here = direct_attribution(model, TOKENS, TARGETS[kind]._replace(folded=True))
    there = direct_attribution(folded, TOKENS, TARGETS[kind])
    torch.testing.assert_close(here.value, there.value, atol=1e-4, rtol=1e-3)
    assert "final norm bias" not in map(str, here.writes)
    for place, write in enumerate(here.writes):
        if write.kind in ("head", "mlp", "embedding", "unembedding bias", "minus entropy"):
            own = there.parts[:, there.writes.index(write)]
            if write.kind == "unembedding bias" and Write("final norm bias") in there.writes:
                own = own + there.parts[:, there.writes.index(Write("final norm bias"))]
            torch.testing.assert_close(here.parts[:, place], own, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", TARGETS)
@torch.no_grad()
def test_asked_about_random_tokens_each_draw_is_its_own_attribution(kind):
    model = lens_of("gpt2")
    target = TARGETS[kind]._replace(pos=POS[:1], right=RIGHT[:1])
    target = target._replace(wrong=WRONG[:1] if kind == "logit_diff" else None)
    null = asked_at_random(model, TOKENS[:1], target, draws=5, seed=3)
    ids, generator = sampling_set(model).ids, torch.Generator().manual_seed(3)
    right, wrong = (ids[torch.randint(len(ids), (5,), generator=generator)] for _ in range(2))
    for draw in range(5):
        one = target._replace(right=right[draw, None], wrong=wrong[draw, None] if kind == "logit_diff" else None)
        own = direct_attribution(model, TOKENS[:1], one)
        torch.testing.assert_close(null.parts[draw], own.parts[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(null.value[draw], own.value[0], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="3 prompts; wanted one"):
        asked_at_random(model, TOKENS, TARGETS[kind])


@torch.no_grad()
def test_pairs_of_prompts_are_read_at_their_last_tokens():
    model = lens_of("gpt2")
    clean, other = ((1, 2, 3, 4), (5, 6, 7)), ((1, 9, 3, 4), (5, 8, 7))
    pairs = Pairs(clean, other, answers=((11, 12), (13,)), wrong=((14,), (15,)))
    for side, prompts in (("clean", clean), ("corrupted", other)):
        found = task_attribution(model, pairs, side)
        for row, ids in enumerate(prompts):
            logits = model(torch.tensor([ids]))[0, -1]
            want = logits[pairs.answers[row][0]] - logits[pairs.wrong[row][0]]
            torch.testing.assert_close(found.value[row], want, atol=1e-5, rtol=1e-4)
            assert found.remainder[row].abs() < 1e-4
    alone = task_attribution(model, Pairs(clean, other, answers=((11,), (13,))))
    assert Write("minus entropy") in alone.writes
    with pytest.raises(ValueError, match="no answers to attribute"):
        task_attribution(model, Pairs(clean, other))
