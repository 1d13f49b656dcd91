"""Every architecture of GGUF that Lens reads gives the logits of the model that the file was written from."""

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from lens import HookedTransformer
from lens.load import read
from lens.load.gguf import Packed
from lens.load.gguf_model import ARCHITECTURES, FORMATS, dequantise
from tests.families.variants import GEMMA_SIZE, LLAMA3_ROPE, LOCAL, LONGROPE, YARN, tiny
from tests.helpers import LLAMA_SIZE, SIZES
from tests.load.gguf_files import write
from tests.load.models import byte_vocabulary

KIND = gguf.GGMLQuantizationType
TOKENS = torch.arange(1, 60)[None]
VOCAB = {"vocab_size": len(byte_vocabulary()[0])}
GROUPED = {**LLAMA_SIZE, **VOCAB, "num_key_value_heads": 2}
GEMMA = {**GEMMA_SIZE, **VOCAB}
WINDOWS = {**LOCAL, **VOCAB, "query_pre_attn_scalar": 12}  # the file does not say it: it is the head size
WIDE = {**WINDOWS, "head_dim": 256, "query_pre_attn_scalar": 256}  # what transformers takes where a file is silent
PHI3 = {**GROUPED, "pad_token_id": 0}
MODELS = {
    "llama": ("llama", tiny("Llama", GROUPED)),
    "llama-tied": ("llama", tiny("Llama", GROUPED, tie_word_embeddings=True, rope_theta=500.0)),
    "llama-biases": ("llama", tiny("Llama", GROUPED, attention_bias=True)),
    "mistral": ("llama", tiny("Mistral", GROUPED, sliding_window=None)),
    "qwen2": ("qwen2", tiny("Qwen2", GROUPED, tie_word_embeddings=True)),
    "qwen3": ("qwen3", tiny("Qwen3", GROUPED, head_dim=128)),
    "gemma": ("gemma", tiny("Gemma", GEMMA)),
    "gemma2": ("gemma2", tiny("Gemma2", WINDOWS, attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
    "gemma2-wide-heads": ("gemma2", tiny("Gemma2", WIDE)),
    "gemma3": ("gemma3", tiny("Gemma3Text", WINDOWS, num_hidden_layers=7)),
    "gemma3-wide-heads": ("gemma3", tiny("Gemma3Text", WIDE, num_hidden_layers=7)),
    "phi3": ("phi3", tiny("Phi3", PHI3)),
    "phi3-window": ("phi3", tiny("Phi3", PHI3, sliding_window=5)),
    "phi3-partial": ("phi3", tiny("Phi3", PHI3, partial_rotary_factor=0.5)),
    "gpt2": ("gpt2", tiny("GPT2", {**SIZES["gpt2"], **VOCAB}, n_positions=1024)),
    "gpt2-untied": ("gpt2", tiny("GPT2", {**SIZES["gpt2"], **VOCAB}, tie_word_embeddings=False)),
    "gptneox": ("gptneox", tiny("GPTNeoX", {**LLAMA_SIZE, **VOCAB}, rotary_pct=0.5)),
    "gptneox-sequential": ("gptneox", tiny("GPTNeoX", {**LLAMA_SIZE, **VOCAB}, use_parallel_residual=False)),
}
# What the reader of transformers gets right on models as small as these.
OF_TRANSFORMERS = ["llama", "llama-tied", "mistral", "qwen2", "qwen3", "gemma2-wide-heads", "gemma3-wide-heads", "gpt2"]


@torch.no_grad()
def same_logits(path, hf, tokens=TOKENS):
    model = HookedTransformer.from_pretrained(str(path))
    want = hf(tokens).logits
    assert want.std() > 0.3
    torch.testing.assert_close(model(tokens), want, atol=2e-5, rtol=0)
    return model


def test_every_architecture_has_a_model():
    assert {architecture for architecture, _ in MODELS.values()} == set(ARCHITECTURES)


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_the_model(tmp_path, name):
    architecture, make = MODELS[name]
    hf = make()
    model = same_logits(write(tmp_path / "m.gguf", hf, architecture), hf)
    assert (model.cfg.tied, model.note) == (hf.config.tie_word_embeddings, "")


@pytest.mark.parametrize("name", OF_TRANSFORMERS)
def test_logits_are_those_of_the_reader_of_transformers(tmp_path, name):
    architecture, make = MODELS[name]
    write(tmp_path / "m.gguf", make(), architecture)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32).eval()
    same_logits(tmp_path / "m.gguf", theirs)


def frequencies(hf):
    """What the rotary frequencies of transformers are divided by, from its own two ways of making them."""
    d_head, base = hf.config.head_dim, hf.config.rope_parameters["rope_theta"]
    plain = base ** -(torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
    return (plain / hf.model.rotary_emb.inv_freq).float().numpy()


def test_frequencies_of_llama_3_that_are_divided_one_by_one(tmp_path):
    hf = tiny("Llama", GROUPED, rope_parameters=LLAMA3_ROPE)()
    divisors = frequencies(hf)
    assert divisors.min() < 1.01
    assert divisors.max() > 7.9
    model = same_logits(write(tmp_path / "m.gguf", hf, "llama", changes={"rope_freqs.weight": divisors}), hf)
    assert model.cfg.n_ctx == hf.config.max_position_embeddings


def test_frequencies_that_are_divided_by_one_say_nothing(tmp_path):
    hf = MODELS["llama"][1]()
    ones = np.ones(4, np.float32)
    model = same_logits(write(tmp_path / "m.gguf", hf, "llama", changes={"rope_freqs.weight": ones}), hf)
    assert model.cfg.rotary_divisors is None


def test_frequencies_of_phi3_for_long_contexts(tmp_path):
    hf = tiny("Phi3", PHI3, original_max_position_embeddings=32, rope_parameters=LONGROPE)()
    factors = {
        f"rope_factors_{name}.weight": np.array(LONGROPE[f"{name}_factor"], np.float32) for name in ("long", "short")
    }

    def add(writer):
        writer.add_rope_scaling_orig_ctx_len(32)
        writer.add_rope_scaling_attn_factors(hf.model.rotary_emb.attention_scaling)

    model = same_logits(write(tmp_path / "m.gguf", hf, "phi3", add, factors), hf, TOKENS[:, :30])
    assert model.cfg.n_ctx == 32
    with pytest.raises(ValueError, match=r"not both rope_factors_long\.weight"):
        read(str(write(tmp_path / "n.gguf", hf, "phi3", add, {"rope_factors_short.weight": np.ones(4, np.float32)})))


@pytest.mark.parametrize("said", [True, False])
def test_positions_that_are_scaled_evenly(tmp_path, said):
    """A factor without a type is a linear one, as in llama.cpp."""
    rope = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e3}
    hf = tiny("Llama", GROUPED, rope_parameters=rope)()

    def add(writer):
        writer.add_rope_scaling_factor(4.0)
        if said:
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)

    same_logits(write(tmp_path / "m.gguf", hf, "llama", add), hf)


def test_positions_that_are_scaled_by_yarn(tmp_path):
    rope = {name: value for name, value in YARN.items() if not name.startswith("beta")}
    hf = tiny("Qwen2", {**GROUPED, "num_attention_heads": 2}, rope_parameters=rope)()

    def add(writer):
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(4.0)
        writer.add_rope_scaling_orig_ctx_len(16)

    same_logits(write(tmp_path / "m.gguf", hf, "qwen2", add), hf)


def test_gemma3_with_scaled_global_layers(tmp_path):
    rope = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    }
    hf = tiny("Gemma3Text", WINDOWS, num_hidden_layers=7, rope_parameters=rope)()

    def add(writer):
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(8.0)

    same_logits(write(tmp_path / "m.gguf", hf, "gemma3", add), hf)


@pytest.mark.parametrize(
    ("name", "layers", "scalar"), [("gemma2", 3, 12), ("gemma2", 46, 8), ("gemma3", 7, 12), ("gemma3", 62, 8)]
)
def test_the_models_of_27b_divide_scores_by_another_number(tmp_path, name, layers, scalar):
    """By the width over the number of heads, here 32 / 4, in place of the head size."""
    kind = {"gemma2": "Gemma2", "gemma3": "Gemma3Text"}[name]
    hf = tiny(kind, WINDOWS, num_hidden_layers=layers)()
    assert read(str(write(tmp_path / "m.gguf", hf, name))).cfg.attn_scale == scalar**0.5


@pytest.mark.parametrize(
    ("name", "add", "named"),
    [
        ("llama", lambda w: w.add_expert_count(4), "llama.expert_count is 4"),
        ("llama", lambda w: w.add_sliding_window(8), "llama.attention.sliding_window"),
        ("llama", lambda w: w.add_uint32("llama.something", 1), "llama.something"),
        ("llama", lambda w: w.add_string("llama.rope.scaling.type", "longrope"), "not both rope_factors_long"),
        ("gemma3", lambda w: w.add_sliding_window_pattern(2), "sliding_window_pattern is 2"),
        ("qwen2", lambda w: w.add_causal_attention(False), "attention.causal is False"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_lens_does_not_compute_are_named(tmp_path, name, add, named):
    architecture, make = MODELS[name]
    with pytest.raises(ValueError, match=named):
        read(str(write(tmp_path / "m.gguf", make(), architecture, add)))


def test_settings_that_say_nothing(tmp_path):
    def add(writer):
        writer.add_expert_count(0)
        writer.add_expert_used_count(0)
        writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
        writer.add_rope_scaling_finetuned(True)
        writer.add_tensor_data_layout("Meta AI original pth")
        writer.add_causal_attention(True)

    hf = MODELS["llama"][1]()
    same_logits(write(tmp_path / "m.gguf", hf, "llama", add), hf)


def test_another_architecture_is_named(tmp_path):
    path = write(tmp_path / "m.gguf", MODELS["llama"][1](), "llama")
    path.write_bytes(path.read_bytes().replace(b"\5\0\0\0\0\0\0\0llama", b"\5\0\0\0\0\0\0\0mamba", 1))
    with pytest.raises(ValueError, match=r"'mamba'; Lens reads 'llama', 'qwen2'"):
        read(str(path))


class TestFormats:
    """Each format is dequantised by llama.cpp's own package; here, that Lens takes its numbers and no others'."""

    @pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
    def test_the_numbers_of_a_file_are_those_of_its_blocks(self, tmp_path, kind):
        hf = tiny("Llama", {**GROUPED, "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1})()
        block, size = gguf.GGML_QUANT_SIZES[kind]
        raw = np.random.default_rng(0).integers(0, 256, (256, 256 // block * size), np.uint8)
        if kind in (KIND.Q4_K, KIND.Q5_K, KIND.Q6_K):  # a scale of every block in half precision: any bits might be NaN
            at = 208 if kind == KIND.Q6_K else 0
            blocks = raw.reshape(-1, size)
            blocks[:, at : at + 2] = np.frombuffer(np.float16(0.01).tobytes(), np.uint8)
            if kind != KIND.Q6_K:
                blocks[:, 2:4] = np.frombuffer(np.float16(0.002).tobytes(), np.uint8)
        else:
            raw = gguf.quantize(hf.model.layers[0].mlp.up_proj.weight.detach().numpy(), kind).view(np.uint8)
        want = dequantise(Packed(kind, (256, 256), raw.view(np.float32) if kind == KIND.F32 else raw))
        path = write_with_raw(tmp_path / "m.gguf", hf, raw, kind)
        loaded = read(str(path))
        assert np.isfinite(want).all()
        assert want.std() > 0.01
        assert torch.equal(loaded.state["blocks.0.mlp.W_in"], torch.from_numpy(want).T)
        lossy = kind not in (KIND.F32, KIND.F16, KIND.BF16)
        assert (kind.name in loaded.note) == lossy

    @pytest.mark.parametrize("kind", [KIND.Q2_K, KIND.Q3_K, KIND.IQ4_NL, KIND.TQ1_0, KIND.MXFP4], ids=lambda k: k.name)
    def test_others_are_named(self, tmp_path, kind):
        hf = tiny("Llama", {**GROUPED, "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1})()
        block, size = gguf.GGML_QUANT_SIZES[kind]
        path = write_with_raw(tmp_path / "m.gguf", hf, np.zeros((256, 256 // block * size), np.uint8), kind)
        with pytest.raises(
            ValueError, match=rf"blk\.0\.ffn_up\.weight is in the GGUF format {kind.name}; Lens reads F32"
        ):
            read(str(path))


def write_with_raw(path, hf, raw, kind):
    """The model with the bytes ``raw`` in the format ``kind`` as its ffn_up."""
    write(path.with_suffix(".plain"), hf, "llama", changes={"blk.0.ffn_up.weight": None})
    plain = gguf.GGUFReader(path.with_suffix(".plain"))
    writer = gguf.GGUFWriter(path, "llama")
    for name, field in plain.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            writer.add_key_value(
                name, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None
            )
    for tensor in plain.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.add_tensor("blk.0.ffn_up.weight", raw, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
