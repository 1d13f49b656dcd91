"""Attribution and QK scores against plain transformers: hidden states, inputs of modules and eager attention only."""

from contextlib import ExitStack
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lens import HookedTransformer
from lens.analysis.answer.direct_attribution import Target, direct_attribution, source_split
from lens.analysis.answer.qk_attribution import Cells, qk_attribution
from lens.load.catalogue import wheel_file
from lens.load.entries import SMOLLM2_INSTRUCT
from tests.families.conftest import hf_of, lens_of

REAL = "smollm2-135m-instruct"
CELLS = Cells((8, 12, 11), (6, 10, 3))


class Names(NamedTuple):
    """What Hugging Face calls the parts of a family."""

    layers: str
    out: str  # the projection after attention
    out_mlp: str  # the last projection of an MLP
    norm: str  # the final one


NAMES = {
    "llama": Names("model.layers", "self_attn.o_proj", "mlp.down_proj", "model.norm"),
    "qwen2": Names("model.layers", "self_attn.o_proj", "mlp.down_proj", "model.norm"),
    "gpt2": Names("transformer.h", "attn.c_proj", "mlp.c_proj", "transformer.ln_f"),
    "gpt-neox": Names("gpt_neox.layers", "attention.dense", "mlp.dense_4h_to_h", "gpt_neox.final_layer_norm"),
    REAL: Names("model.layers", "self_attn.o_proj", "mlp.down_proj", "model.norm"),
}


class Run(NamedTuple):
    """One run of a plain model."""

    logits: Tensor
    embedding: Tensor
    final: Tensor  # what the final norm reads
    read: list[Tensor]  # what the projection after attention reads, [batch, pos, heads · d_head]
    mlps: list[Tensor]  # what the last projection of each MLP writes
    attentions: tuple[Tensor, ...]


@cache
def both(name: str) -> tuple[PreTrainedModel, HookedTransformer]:
    if name != REAL:
        return hf_of(name), lens_of(name)
    path = wheel_file(SMOLLM2_INSTRUCT.wheel)
    how = {"gguf_file": path.name, "dtype": torch.float32, "attn_implementation": "eager"}
    return AutoModelForCausalLM.from_pretrained(path.parent, **how).eval(), HookedTransformer.from_pretrained(REAL)


def ids_of(name: str) -> Tensor:
    most = 110 if name != REAL else 40000
    return torch.randint(5, most, (2, 13), generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def run_of(name: str) -> Run:
    hf, _ = both(name)
    names, kept = NAMES[name], {"read": [], "mlps": [], "final": []}

    def before(key: str):
        return lambda module, inputs: kept[key].append(inputs[0])

    with ExitStack() as hooks:
        for layer in hf.get_submodule(names.layers):
            out, mlp = layer.get_submodule(names.out), layer.get_submodule(names.out_mlp)
            hooks.enter_context(hooked(out.register_forward_pre_hook(before("read"))))
            hooks.enter_context(
                hooked(mlp.register_forward_hook(lambda module, inputs, written: kept["mlps"].append(written)))
            )
        hooks.enter_context(hooked(hf.get_submodule(names.norm).register_forward_pre_hook(before("final"))))
        found = hf(ids_of(name), output_hidden_states=True, output_attentions=True)
    return Run(found.logits, found.hidden_states[0], kept["final"][0], kept["read"], kept["mlps"], found.attentions)


class hooked:
    """A handle that is taken off at the end of a block."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.handle.remove()


@torch.no_grad()
def reader(name: str, run: Run, rows: Tensor, pos: Tensor, right: Tensor, wrong: Tensor):
    """What the final norm, at the scale of the run, and the unembedding make of a write."""
    hf, _ = both(name)
    norm, centred = hf.get_submodule(NAMES[name].norm), name in ("gpt2", "gpt-neox")

    def centre(x: Tensor) -> Tensor:
        return x - x.mean(-1, keepdim=True) if centred else x

    final = centre(run.final[rows, pos])
    eps = norm.eps if centred else norm.variance_epsilon
    scale = (final.square().mean(-1, keepdim=True) + eps).sqrt()
    direction = hf.get_output_embeddings().weight[right] - hf.get_output_embeddings().weight[wrong]
    return lambda x: (centre(x) / scale * norm.weight * direction).sum(-1)


def weight(module: torch.nn.Module) -> Tensor:
    """Of a projection, [in, out]."""
    return module.weight if isinstance(module, Conv1D) else module.weight.T


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_the_parts_of_an_answer_are_what_the_plain_model_writes(name):
    hf, model = both(name)
    run, tokens, cfg = run_of(name), ids_of(name), model.cfg
    rows, pos = torch.arange(2), torch.tensor([12, 9])
    right, wrong = torch.tensor([41, 90]), torch.tensor([77, 3])
    found = direct_attribution(model, tokens, Target("logit_diff", pos, right, wrong))
    of = {str(write): found.parts[:, at] for at, write in enumerate(found.writes)}
    plain = run.logits[rows, pos]
    close = {"atol": 2e-4 if name == REAL else 2e-5, "rtol": 1e-3}
    torch.testing.assert_close(found.value, plain[rows, right] - plain[rows, wrong], **close)
    read = reader(name, run, rows, pos, right, wrong)
    positions = of.get("positions", torch.zeros(2))
    torch.testing.assert_close(of["embedding"] + positions, read(run.embedding[rows, pos]), **close)
    attention = torch.zeros(2)
    for layer, block in enumerate(hf.get_submodule(NAMES[name].layers)):
        mlp, out = block.get_submodule(NAMES[name].out_mlp), block.get_submodule(NAMES[name].out)
        bias = mlp.bias if mlp.bias is not None else 0
        torch.testing.assert_close(of[f"mlp {layer}"], read(run.mlps[layer][rows, pos] - bias), **close)
        z = run.read[layer][rows, pos].unflatten(-1, (cfg.n_heads, -1))
        W_O = weight(out).unflatten(0, (cfg.n_heads, -1))
        for head in range(cfg.n_heads):
            written = read(z[:, head] @ W_O[head])
            attention += written
            if name in ("llama", REAL):  # no biases: nothing stands in every value
                torch.testing.assert_close(of[f"{layer}.{head}"], written, **close)
        for bias in (out.bias, mlp.bias):
            attention += 0 if bias is None else read(bias.expand(2, -1))
    ours = found.heads(cfg.n_layers, cfg.n_heads).sum((1, 2)) + of["biases"]
    torch.testing.assert_close(ours, attention, **close)


@pytest.mark.parametrize("name", ["llama", REAL])
@torch.no_grad()
def test_the_sources_of_a_head_are_attention_times_what_the_values_add(name):
    hf, model = both(name)
    run, tokens, cfg = run_of(name), ids_of(name), model.cfg
    rows, pos = torch.arange(2), torch.tensor([12, 9])
    right, wrong = torch.tensor([41, 90]), torch.tensor([77, 3])
    layer, head = cfg.n_layers - 1, 2
    split = source_split(model, tokens, Target("logit_diff", pos, right, wrong), (layer, head))
    read = reader(name, run, rows, pos, right, wrong)
    out = hf.get_submodule(NAMES[name].layers)[layer].get_submodule(NAMES[name].out)
    W_O = weight(out).unflatten(0, (cfg.n_heads, -1))[head]
    block = hf.get_submodule(NAMES[name].layers)[layer]
    states = hf(tokens, output_hidden_states=True).hidden_states[layer]
    values = block.self_attn.v_proj(block.input_layernorm(states)).unflatten(-1, (-1, cfg.d_head))
    values = values[:, :, head // cfg.group_size] @ W_O
    pattern = run.attentions[layer][rows, head, pos]
    want = torch.stack([pattern[:, key] * read(values[:, key]) for key in range(tokens.shape[1])], 1)
    torch.testing.assert_close(split.parts, want, atol=2e-4 if name == REAL else 2e-5, rtol=1e-3)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt-neox", "qwen2", "bloom", "opt", "gptj", REAL])
@torch.no_grad()
def test_the_contrast_is_that_of_the_plain_models_log_attention(name):
    """A constant per query falls out of the logarithm of a softmax as it does of a contrast."""
    hf, model = both(name)
    tokens = ids_of(name)
    patterns = hf(tokens, output_attentions=True).attentions
    for layer, head in ((model.cfg.n_layers - 1, 1), (1, 2)):
        found = qk_attribution(model, (layer, head), tokens, CELLS)
        logs = patterns[layer][:, head].log()
        want = torch.zeros(2)
        for query, key in zip(*CELLS):
            others = [other for other in range(1, query + 1) if other != key]
            want += (logs[:, query, key] - logs[:, query, others].mean(-1)) / len(CELLS.queries)
        torch.testing.assert_close(found.total, want, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["llama", REAL])
@torch.no_grad()
def test_a_head_that_is_read_by_keys_is_read_as_in_the_plain_model(name):
    """The share of one earlier head on the side of the keys, by way of Hugging Face's own weights and rotation."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    hf, model = both(name)
    tokens, cfg = ids_of(name), model.cfg
    run, layers = run_of(name), hf.get_submodule(NAMES[name].layers)
    layer, head, before = 2, 1, (1, 3)
    block = layers[layer]
    states = hf(tokens, output_hidden_states=True).hidden_states[layer]
    scale = (states.square().mean(-1, keepdim=True) + block.input_layernorm.variance_epsilon).sqrt()
    W_O = weight(layers[before[0]].self_attn.o_proj).unflatten(0, (cfg.n_heads, -1))[before[1]]
    written = run.read[before[0]].unflatten(-1, (cfg.n_heads, -1))[:, :, before[1]] @ W_O

    def project(proj, x, which):
        made = proj(x / scale * block.input_layernorm.weight).unflatten(-1, (-1, cfg.d_head))
        return made[:, :, which][:, None]

    q = project(block.self_attn.q_proj, states, head)
    k = project(block.self_attn.k_proj, written, head // cfg.group_size)
    cos, sin = hf.model.rotary_emb(states, torch.arange(tokens.shape[1])[None])
    q, k = (x[:, 0] for x in apply_rotary_pos_emb(q, k, cos, sin))
    scores = q @ k.mT / cfg.d_head**0.5
    want = torch.zeros(2)
    for query, key in zip(*CELLS):
        others = [other for other in range(1, query + 1) if other != key]
        want += (scores[:, query, key] - scores[:, query, others].mean(-1)) / len(CELLS.queries)
    found = qk_attribution(model, (layer, head), tokens, CELLS)
    at = [str(write) for write in found.writes].index(f"{before[0]}.{before[1]}")
    torch.testing.assert_close(found.key_side[:, at], want, atol=1e-4, rtol=1e-3)
