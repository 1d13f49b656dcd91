"""Models over several devices: which part goes where, that it is put there, and that streams cross the borders.

There is one real device here. torch's meta device stands for a second one: it refuses to compute with tensors of
another device, and what comes out of it has a shape and no values.
"""

import importlib.util

import pytest
import torch

from lens import HookedTransformer
from lens.load import read
from lens.load.placement import moved, place, units
from tests.helpers import hf_gpt2, hf_llama, in_lens
from tests.load.models import save

F32 = torch.float32


@pytest.fixture
def three_gpus(monkeypatch):
    """Device names are accepted as on a machine with three GPUs; nothing is moved to one."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)


def cfg_of(**changes):
    return in_lens(hf_llama(num_hidden_layers=6, **changes)).cfg


def block_bytes(model):
    return sum(p.nbytes for p in model.blocks[0].parameters())


class TestInference:
    def test_blocks_are_never_split_and_fill_the_devices_in_order(self, three_gpus):
        model = in_lens(hf_llama(num_hidden_layers=6))
        one = block_bytes(model)
        ends = model.W_E.nbytes + model.W_U.nbytes + model.b_U.nbytes + model.ln_final.w.nbytes
        memory = {0: ends + 3 * one, 1: ends + 3 * one, 2: ends + 3 * one, "cpu": 0}
        found = place(model.cfg, "sequential", F32, memory)
        assert set(found) == {name for unit in units(model.cfg) for name in unit}
        numbers = [found[f"blocks.{layer}"].index for layer in range(6)]
        assert numbers == sorted(numbers)
        assert len(set(numbers)) > 1
        for gpu in range(3):
            used = numbers.count(gpu) * one + (found["embed"].index == gpu) * model.W_E.nbytes
            assert used <= memory[gpu]
        assert found["ln_final"] == found["unembed"]

    def test_half_the_bytes_take_half_the_room(self, three_gpus):
        model = in_lens(hf_llama(num_hidden_layers=6))
        whole = sum(p.nbytes for p in model.parameters())
        memory = {0: int(0.75 * whole), "cpu": 10 * whole}
        assert len({*place(model.cfg, "sequential", F32, memory).values()}) == 2
        assert {*place(model.cfg, "sequential", torch.bfloat16, memory).values()} == {torch.device("cuda:0")}

    def test_tied_matrices_stay_together_and_count_once(self, three_gpus):
        model = in_lens(hf_gpt2(n_layer=4, vocab_size=5000))
        one, matrix = block_bytes(model), model.W_E.nbytes
        rest = model.W_pos.nbytes + model.b_U.nbytes + 1000
        found = place(model.cfg, "sequential", F32, {0: matrix + rest + 2 * one, 1: 10 * one, "cpu": 0})
        assert found["embed"] == found["pos_embed"] == found["unembed"] == found["ln_final"] == torch.device("cuda:0")
        assert found["blocks.3"] == torch.device("cuda:1")

    def test_on_this_machine_everything_goes_to_what_there_is(self):
        assert {device.type for device in place(cfg_of(), "auto", F32).values()} == {
            "cuda" if torch.cuda.is_available() else "cpu"
        }

    def test_what_does_not_fit_anywhere(self):
        with pytest.raises(ValueError, match=r"does not fit.*bfloat16"):
            place(cfg_of(), "auto", F32, {"cpu": 1000})

    def test_without_accelerate_the_sentence_says_what_to_install(self, monkeypatch):
        find = importlib.util.find_spec
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "accelerate" else find(name))
        with pytest.raises(ImportError, match="pip install accelerate"):
            place(cfg_of(), "auto", F32)
        assert place(cfg_of(), {"": "cpu"}, F32)["embed"] == torch.device("cpu")


class TestMaps:
    def test_the_narrowest_name_counts(self, three_gpus):
        found = place(cfg_of(), {"": 0, "blocks": "cuda:1", "blocks.4": torch.device("cuda:2")}, F32)
        assert [found[f"blocks.{layer}"].index for layer in range(6)] == [1, 1, 1, 1, 2, 1]
        assert found["embed"].index == found["unembed"].index == 0

    @pytest.mark.parametrize(
        ("device_map", "words"),
        [
            ({"embed": "cpu"}, "says nothing of blocks.0"),
            ({"": "cpu", "blocks.9": "cpu"}, "names blocks.9, which this model has not"),
            ({"": "cpu", "unembed": "cuda:1"}, "ln_final on cpu.*stay together"),
            ({"": 7}, "'cuda:7' does not exist"),
            ({"": "disk"}, "'disk' is not available"),
            ("cuda:5", "'cuda:5' does not exist"),
        ],
    )
    def test_a_map_that_does_not_work(self, device_map, words, three_gpus):
        with pytest.raises(ValueError, match=words):
            place(cfg_of(), device_map, F32)

    def test_a_device_and_a_map(self, tmp_path):
        with pytest.raises(ValueError, match="one of the two"):
            read(str(save(hf_llama(), tmp_path / "m")), device="cpu", device_map="auto")


@pytest.mark.parametrize("make", [hf_llama, hf_gpt2])
def test_from_pretrained_puts_every_parameter_where_the_map_says(make, tmp_path, monkeypatch):
    folder = str(save(make(), tmp_path / "m"))
    tokens = torch.arange(10)[None]
    plain = HookedTransformer.from_pretrained(folder, device="cpu")
    for device_map in ("auto", {"": "cpu"}):
        model = HookedTransformer.from_pretrained(folder, device_map=device_map, dtype=F32)
        assert torch.equal(model(tokens), plain(tokens))
        assert (model.W_U.data_ptr() == model.W_E.data_ptr()) == model.cfg.tied
    monkeypatch.setattr("lens.load.placement.pick_device", torch.device)  # meta is no device for people
    split = HookedTransformer.from_pretrained(folder, device_map={"": "cpu", "blocks.2": "meta"})
    for name, parameter in split.named_parameters():
        assert parameter.device.type == ("meta" if name.startswith("blocks.2.") else "cpu"), name


VARIANTS = {
    "rotary": lambda: hf_llama(num_key_value_heads=2),
    "learned, tied": hf_gpt2,
}


@pytest.mark.parametrize("first", [1, 2, 3])  # the first layer of the second device; 3: the unembedding alone
@pytest.mark.parametrize("make", VARIANTS.values(), ids=VARIANTS)
@torch.no_grad()
def test_streams_masks_and_angles_cross_from_one_device_to_the_next(make, first):
    hf = make()
    whole, split = in_lens(hf), in_lens(hf)
    for part in (*split.blocks[first:], split.ln_final, split.unembed):
        part.to("meta")
    tokens = torch.arange(20).view(2, 10)
    mask = torch.ones(2, 10, dtype=torch.bool)
    mask[1, 7:] = False
    want, (logits, cache) = (
        whole.run_with_cache(tokens, attention_mask=mask)[1],
        split.run_with_cache(tokens, attention_mask=mask),
    )
    assert (logits.device.type, logits.shape) == ("meta", (2, 10, 113))
    assert split.device.type == "cpu"
    for name, activation in cache.items():
        layer = int(name.split(".")[1]) if name.startswith("blocks.") else 9 if "final" in name else 0
        assert activation.device.type == ("meta" if layer >= first else "cpu"), name
        assert activation.shape == want[name].shape
        if layer < first:
            assert torch.equal(activation, want[name])
    loss = split(tokens, return_type="loss", attention_mask=mask)
    assert (loss.device.type, loss.shape) == ("meta", ())
    split(tokens, return_type=None)


def test_a_parameter_goes_with_its_part():
    devices = {"embed": torch.device("cpu"), "blocks.1": torch.device("meta"), "blocks.11": torch.device("cpu")}
    for name, kind in (("embed.W_E", "cpu"), ("blocks.1.attn.W_Q", "meta"), ("blocks.11.attn.W_Q", "cpu")):
        assert moved(name, torch.ones(1), devices).device.type == kind
