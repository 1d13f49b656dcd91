"""Neel Nanda's toy models, from a folder and from the Hub: both layouts, their checkpoints, their tokenizer."""

import json

import pytest
import torch

from lens import HookedTransformer
from lens.load import read
from lens.load.catalogue import is_local
from lens.load.checkpoints import checkpoints
from tests.load.test_folder import Evil
from tests.load.toys import TOKENIZER, new_repository, old_repository

LABELS = (262_144, 2_621_440, 4_718_592)
LAYOUTS = {"new": new_repository, "old": old_repository}
NAMES = {"new": "attn-only-2l", "old": "solu-2l-pile"}
IDS = {"new": "NeelNanda/Attn_Only_2L512W_C4_Code", "old": "NeelNanda/SoLU_2L_v10_old"}


@pytest.fixture
def tokens():
    return torch.randint(0, 50, (2, 11), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def same_logits(loaded, model, tokens):
    opened = HookedTransformer.from_state(loaded.cfg, loaded.state).eval()
    want = model(tokens)
    assert want.std() > 0.5
    torch.testing.assert_close(opened(tokens), want, atol=2e-5, rtol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
class TestBothLayouts:
    def test_from_a_folder(self, layout, tmp_path, tokens):
        models = LAYOUTS[layout](tmp_path / "m", 50, LABELS)
        loaded = read(str(tmp_path / "m"))
        same_logits(loaded, models[None], tokens)
        assert loaded.revision is None
        for label in LABELS:
            loaded = read(str(tmp_path / "m"), checkpoint_value=label)
            same_logits(loaded, models[label], tokens)
        found = checkpoints(str(tmp_path / "m"))
        assert (found.labels, found.unit) == (LABELS, "tokens" if layout == "new" else "steps")
        assert found.tokens_per_step == (262_144 if layout == "new" else None)

    def test_from_the_hub_only_the_needed_file(self, layout, tmp_path, tokens, fake_hub, tokenizer):
        models = LAYOUTS[layout](tmp_path / "m", len(tokenizer), LABELS)
        fake_hub.add(IDS[layout], tmp_path / "m")
        name = json.loads((tmp_path / "m" / "config.json").read_text())["tokenizer_name"]
        tokenizer.save_pretrained(tmp_path / "t")
        (tmp_path / "t" / "pytorch_model.bin").write_bytes(b"40 GB of another model")
        fake_hub.add(name, tmp_path / "t")
        loaded = read(NAMES[layout])
        same_logits(loaded, models[None], tokens)
        weights = [name for name in fake_hub.served if name.endswith((".pth", ".bin"))]
        assert len(weights) == 1
        assert weights[0].endswith("final.pth")
        loaded = read(NAMES[layout], checkpoint_index=-1)
        same_logits(loaded, models[LABELS[-1]], tokens)
        weights = [name for name in fake_hub.served if name.endswith((".pth", ".bin"))]
        assert len(weights) == 2
        assert loaded.revision == f"{fake_hub.commit(IDS[layout], 'main')}/{loaded.checkpoint.place}"
        assert loaded.tokenizer.encode("the cat") == tokenizer.encode("the cat")
        place = loaded.checkpoint.place
        same_logits(read(NAMES[layout], revision=place), models[LABELS[-1]], tokens)
        assert is_local(NAMES[layout], place)
        assert not is_local(NAMES[layout], "another")

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
    def test_bfloat16_files_in_every_format(self, layout, tmp_path, dtype):
        models = LAYOUTS[layout](tmp_path / "m", 50, dtype=torch.bfloat16)
        state = read(str(tmp_path / "m"), dtype=dtype).state
        assert {tensor.dtype for tensor in state.values()} == {dtype}
        want = models[None].W_E.bfloat16().to(dtype)
        assert torch.equal(state["embed.W_E"], want)

    def test_a_pickle_with_code_is_not_run(self, layout, tmp_path):
        LAYOUTS[layout](tmp_path / "m", 50, LABELS)
        for file in (tmp_path / "m").rglob("*.pth"):
            torch.save({"embed.W_E": torch.ones(50, 24), "x": Evil(str(tmp_path / "ran"))}, file)
        for which in ({}, {"checkpoint_index": 0}):
            with pytest.raises(ValueError, match="never run"):
                read(str(tmp_path / "m"), **which)
        assert not (tmp_path / "ran").exists()


class TestTokenizer:
    def test_bos_is_put_before_every_text(self, tmp_path, tokenizer):
        new_repository(tmp_path / "m", len(tokenizer))
        tokenizer.save_pretrained(tmp_path / "m")
        model = HookedTransformer.from_pretrained(str(tmp_path / "m"))
        assert model.bos[:3] == (0, "<bos>", True)
        assert "training began with this token" in model.bos.reason
        assert model.to_tokens("the cat")[0, 0] == 0

    def test_a_folder_says_which_tokenizer_it_lacks(self, tmp_path):
        new_repository(tmp_path / "m", 50)
        model = HookedTransformer.from_pretrained(str(tmp_path / "m"))
        assert model.bos.id is None
        with pytest.raises(ValueError, match=f"{TOKENIZER}.*not on this machine; put its tokenizer.json beside"):
            model.to_tokens("the cat")

    def test_a_folder_uses_a_cached_tokenizer_and_never_asks_for_it(self, tmp_path, tokenizer, fake_hub):
        new_repository(tmp_path / "m", len(tokenizer))
        tokenizer.save_pretrained(tmp_path / "t")
        fake_hub.add(TOKENIZER, tmp_path / "t")
        assert read(str(tmp_path / "m")).tokenizer is None
        assert fake_hub.served == []
        from lens.load.hub import fetch_tokenizer

        fetch_tokenizer(TOKENIZER)
        assert read(str(tmp_path / "m")).bos.id == 0

    def test_offline_without_it(self, tmp_path, fake_hub, monkeypatch):
        """The weights are in the cache and the tokenizer is not: ids can be read."""
        new_repository(tmp_path / "m", 50)
        fake_hub.add(IDS["new"], tmp_path / "m")
        with pytest.raises(ValueError, match=f"no public model '{TOKENIZER}'"):
            read("attn-only-2l")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        loaded = read("attn-only-2l")
        assert loaded.tokenizer is None
        assert "the Hub cannot be reached" in loaded.bos.reason

    @pytest.mark.parametrize("name", ["../secret", "/etc", None, 3, "https://x/y"])
    def test_a_config_that_names_no_repository(self, tmp_path, name):
        new_repository(tmp_path / "m", 50)
        config = json.loads((tmp_path / "m" / "config.json").read_text()) | {"tokenizer_name": name}
        (tmp_path / "m" / "config.json").write_text(json.dumps(config))
        assert "its config names none" in read(str(tmp_path / "m")).bos.reason
