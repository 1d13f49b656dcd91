"""GGUF files written by llama.cpp's own writer become the model they were written from."""

import struct

import gguf
import numpy as np
import pytest
import torch

from lens import HookedTransformer
from lens.load import read
from lens.load.converted import cache_folder
from lens.load.gguf import read_gguf
from lens.load.gguf_model import half_split, hf_config
from lens.load.gguf_tokenizer import build
from tests.helpers import hf_llama
from tests.load.models import SMOLLM_TOKENS, byte_vocabulary, interleaved, same_state, write_gguf

KIND = gguf.GGMLQuantizationType


def model(**changes):
    """Widths in whole blocks of 32, so that they can be quantised."""
    vocab_size = len(byte_vocabulary()[0])
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_key_value_heads": 2, "vocab_size": vocab_size}
    return hf_llama(**(sizes | changes))


def left_behind():
    folder = cache_folder()
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("tied", [False, True])
def test_float_weights_are_exact(tmp_path, tied):
    hf = model(tie_word_embeddings=tied, rms_norm_eps=1e-5, rope_theta=500.0)
    loaded = read(str(write_gguf(tmp_path / "m.gguf", hf)))
    same_state(loaded.state, hf)
    assert (loaded.cfg.norm_eps, loaded.cfg.rotary_base, loaded.cfg.tied) == (1e-5, 500.0, tied)
    assert loaded.note == ""


@torch.no_grad()
def test_logits_are_those_of_the_model(tmp_path):
    """The rotary pairs, above all: without the undone permutation of Q and K this fails."""
    hf = model()
    tokens = torch.arange(1, 60)[None]
    lens = HookedTransformer.from_pretrained(str(write_gguf(tmp_path / "m.gguf", hf)))
    want = hf(tokens).logits
    assert want.std() > 0.5
    torch.testing.assert_close(lens(tokens), want, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("kind", "steps"), [(KIND.Q8_0, 254), (KIND.F16, 2**10)])
def test_quantised_weights_are_within_half_a_step(tmp_path, kind, steps):
    hf = model()
    loaded = read(str(write_gguf(tmp_path / "m.gguf", hf, kind)))
    largest = max(parameter.abs().max().item() for parameter in hf.parameters())
    same_state(loaded.state, hf, atol=1.01 * largest / steps)
    assert ("Q8_0" in loaded.note) == (kind == KIND.Q8_0)


def test_permutation_by_hand():
    """Two heads of four dimensions: a GGUF's rows 0 1 2 3 are dimensions 0 2 1 3 of the head."""
    rows = np.arange(8, dtype=np.float32)[:, None]
    one, two = {"num_attention_heads": 1}, {"num_attention_heads": 2}
    assert half_split(rows, two)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert (half_split(interleaved(rows, 2), two) == rows).all()
    assert (half_split(rows, one) != half_split(rows, two)).any()


def test_tokenizer(tmp_path):
    loaded = read(str(write_gguf(tmp_path / "m.gguf", model())))
    tokens, _ = byte_vocabulary()
    tokenizer = loaded.tokenizer
    text = "the 12 in <|start|>é\t\n"
    pieces = tokenizer.convert_ids_to_tokens(tokenizer.encode(text))
    assert pieces == ["th", "e", "Ġ", "1", "2", "Ġ", "i", "n", "Ġ", "<|start|>", "Ã", "©", "ĉ", "Ċ"]
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text.replace("<|start|>", "")
    assert len(tokenizer) == len(tokens)
    assert (tokenizer.bos_token, tokenizer.eos_token) == (SMOLLM_TOKENS[1], SMOLLM_TOKENS[0])
    assert (loaded.bos.id, loaded.bos.token) == (1, "<|start|>")


def test_pre_tokenizer_decides_about_digits(tmp_path):
    """The merge "1 2" applies under GPT-2's rule and is out of reach where digits stand alone."""
    for pre, pieces in (("gpt-2", ["12"]), ("smollm", ["1", "2"])):
        tokenizer = build(read_gguf(write_gguf(tmp_path / f"{pre}.gguf", model(), pre=pre)))
        assert tokenizer.encode("12").tokens == pieces


def rejected(path, *words):
    with pytest.raises(ValueError, match=words[0]) as error:
        read(str(path))
    for word in words:
        assert word in str(error.value)
    assert left_behind() == []


def test_kinds_that_are_not_supported_are_named(tmp_path):
    rejected(write_gguf(tmp_path / "a.gguf", model(), architecture="mamba"), "'mamba'")
    rejected(write_gguf(tmp_path / "b.gguf", model(), pre="poro-chat"), "'poro-chat'", "'smollm'")
    rejected(write_gguf(tmp_path / "c.gguf", model(), extra={"llama.expert_count": 4}), "llama.expert_count")
    rejected(write_gguf(tmp_path / "d.gguf", model(), extra={"llama.rope.dimension_count": 8}), "rope.dimension_count")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"output_norm.weight": None}, "missing output_norm.weight"),
        ({"rope_freqs.weight": np.full(5, 2, np.float32)}, "rotary_divisors has 5 entries; wanted 8"),
        ({"rope_scale.weight": np.ones(8, np.float32)}, "rope_scale.weight"),
        ({"blk.0.attn_q.bias": np.ones(64, np.float32)}, "blk.0.attn_q.bias"),
        ({"blk.1.ffn_up.weight": np.ones((64, 96), np.float32)}, "blk.1.ffn_up.weight has shape"),
        ({"blk.2.ffn_down.weight": np.full((64, 96), np.inf, np.float32)}, "blk.2.ffn_down.weight holds infinite"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, changes, word):
    rejected(write_gguf(tmp_path / "m.gguf", model(), changes=changes), word)


@pytest.mark.parametrize("kept", [0, 3, 4, 8, 20, 100, 500, 3000, 6000, 8000, 20_000, -1000, -1])
def test_truncated_anywhere(tmp_path, kept):
    path = write_gguf(tmp_path / "m.gguf", model())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"truncated|no GGUF"):
        read(str(path))
    assert left_behind() == []


def test_damaged_counts_are_not_believed(tmp_path):
    """A list that claims 2^62 entries, a text of 2^62 bytes, a type that does not exist: an error at once."""
    path = write_gguf(tmp_path / "m.gguf", model())
    whole = path.read_bytes()
    place = whole.index(b"tokenizer.ggml.tokens") + len("tokenizer.ggml.tokens")
    for at, form, value in ((place, "<I", 77), (place + 8, "<Q", 2**62), (place + 16, "<Q", 2**62), (8, "<Q", 2**62)):
        raw = bytearray(whole)
        struct.pack_into(form, raw, at, value)
        path.write_bytes(raw)
        rejected(path, "damaged")


def test_other_files_are_no_gguf(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"PK\x03\x04 a zip archive")
    rejected(path, "no GGUF file")
    path.write_bytes(b"GGUF" + struct.pack("<I", 1) + bytes(100))
    rejected(path, "version 1")
    path.write_bytes(b"GGUF" + struct.pack(">I", 3) + bytes(100))
    rejected(path, "big-endian")


def test_config_reads_the_decimals_that_were_meant(tmp_path):
    config = hf_config(read_gguf(write_gguf(tmp_path / "m.gguf", model(rms_norm_eps=1e-5))))
    assert config["rms_norm_eps"] == 1e-5
