"""Writing on: padded ids, every end token, with and without the cache; pads that are no row of the embedding."""

import json

import pytest
import torch
from transformers import AddedToken

from lens import HookedTransformer
from lens.compat.transformer import HookedTransformer as Classic
from lens.generate import padded_left
from lens.hooked import next_token_loss
from tests.helpers import byte_tokenizer, hf_gpt2, hf_llama, in_lens
from tests.load.models import save

TEXT = "John gave a drink to Mary"


@pytest.fixture(params=["plain", "classic"])
def writer(request, tiny):
    """Both doors: the model's own verbs and the classic ones."""
    return tiny if request.param == "plain" else Classic.of(tiny)


def greedy(writer, tokens, n=5, **how):
    off = {"temperature": 0.0, "stop_at_eos": False}
    return writer.generate(tokens, n, **off, **how)


def rows(writer, side):
    batch = writer.tokenize(["a cat", TEXT, "The mat"], padding_side=side)
    assert not batch.mask.all()
    return batch


class TestMask:
    @pytest.mark.parametrize("side", ["left", "right"])
    def test_padded_ids_are_continued_as_if_alone(self, writer, side):
        tokens, mask = rows(writer, side)
        together = greedy(writer, tokens, attention_mask=mask)
        for row, real, out in zip(tokens, mask, together, strict=True):
            alone = greedy(writer, row[real])[0]
            assert out[-len(alone) :].tolist() == alone.tolist()

    def test_what_stands_at_a_pad_changes_nothing(self, writer):
        tokens, mask = rows(writer, "right")
        other = tokens.masked_fill(~mask, 7)
        new = tokens.shape[1]
        assert torch.equal(
            greedy(writer, tokens, attention_mask=mask.int())[:, new:],
            greedy(writer, other, attention_mask=mask)[:, new:],
        )

    def test_masks_that_fit_no_rows_are_refused(self, writer):
        tokens, mask = rows(writer, "right")
        with pytest.raises(ValueError, match="wanted that of the ids"):
            writer.generate(tokens, 1, attention_mask=mask[:, 1:])
        mask[1] = False
        with pytest.raises(ValueError, match="Row 1 of attention_mask has no real token"):
            writer.generate(tokens, 1, attention_mask=mask)
        with pytest.raises(ValueError, match="texts bring their own mask"):
            writer.generate(TEXT, 1, attention_mask=mask)

    def test_pads_move_to_the_left_and_the_order_stays(self):
        tokens = torch.tensor([[5, 6, 0, 7, 0]])
        moved = padded_left(tokens, torch.tensor([[1, 1, 0, 1, 0]]))
        assert moved.tokens.tolist() == [[0, 0, 5, 6, 7]]
        assert moved.mask.tolist() == [[False, False, True, True, True]]


class TestCache:
    def test_a_hook_on_all_positions_writes_the_same_with_and_without(self, writer):
        def ablate(z, hook):
            z[:, :, 1] = 0

        tokens, mask = rows(writer, "right")
        plain = greedy(writer, tokens, 8, attention_mask=mask)
        with writer.hooks(
            fwd_hooks=[("blocks.1.attn.hook_z", ablate), ("blocks.0.hook_resid_pre", lambda x, hook: 2 * x)]
        ):
            cached = greedy(writer, tokens, 8, attention_mask=mask)
            read_again = greedy(writer, tokens, 8, attention_mask=mask, use_past_kv_cache=False)
        assert torch.equal(cached, read_again)
        assert not torch.equal(cached, plain)
        assert torch.equal(plain, greedy(writer, tokens, 8, attention_mask=mask, use_past_kv_cache=False))

    def test_the_switch_says_how_many_positions_a_hook_sees(self, writer):
        seen = []
        look = [("blocks.0.hook_resid_pre", lambda x, hook: seen.append(x.shape[1]))]
        tokens = writer.to_tokens("a cat")
        n = tokens.shape[1]
        with writer.hooks(fwd_hooks=look):
            greedy(writer, tokens, 3)
            greedy(writer, tokens, 3, use_past_kv_cache=False)
        assert seen == [n, 1, 1, n, n + 1, n + 2]


class TestEnds:
    @pytest.fixture
    def folder(self, tmp_path):
        """A model that names two end tokens in its config and one more in generation_config.json."""
        tokenizer = byte_tokenizer()
        hf = hf_gpt2(vocab_size=len(tokenizer), n_positions=128)
        folder = save(hf, tmp_path / "ends", tokenizer)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": [0, 9]}))
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [9, 12]}))
        return folder

    @staticmethod
    def wanting(model, token):
        with torch.no_grad():
            model.unembed.b_U[token] = 1e4
        return model

    @pytest.mark.parametrize("end", [0, 9, 12])
    def test_each_of_them_ends_a_text(self, folder, end):
        model = self.wanting(HookedTransformer.from_pretrained(str(folder)), end)
        assert model.stop_ids == (0, 9, 12)
        prompt = model.to_tokens(TEXT)
        for one in (model, self.wanting(Classic.from_pretrained_no_processing(str(folder)), end)):
            assert one.generate(prompt, 6, temperature=0.0).shape[1] == prompt.shape[1] + 1
            assert one.generate(prompt, 6, temperature=0.0, stop_at_eos=False).shape[1] == prompt.shape[1] + 6

    def test_a_model_in_memory_says_them_too(self, folder):
        from transformers import GPT2LMHeadModel

        theirs = GPT2LMHeadModel.from_pretrained(folder)
        model = Classic.from_pretrained_no_processing("mine", hf_model=theirs, device="cpu")
        assert set(model.stop_ids) == {0, 9, 12}

    def test_without_a_tokenizer_they_end_ids(self, tmp_path):
        hf = hf_gpt2(eos_token_id=9)
        model = self.wanting(HookedTransformer.from_pretrained(str(save(hf, tmp_path / "bare"))), 9)
        assert model.tokenizer is None
        assert model.generate(torch.tensor([[1, 2]]), 6, temperature=0.0).tolist() == [[1, 2, 9]]

    def test_rows_that_ended_are_filled_up_but_their_texts_are_not(self, writer):
        """The first end token of a row is its last in the text, however long the other rows go on."""
        texts = [TEXT, "a cat"]
        first = greedy(writer, texts[:1] and writer.to_tokens(texts[0]), 1)[0, -1].item()
        writer.end_ids = (first,)
        together = writer.generate(texts, 6, temperature=0.0)
        alone = [writer.generate(text, 6, temperature=0.0) for text in texts]
        writer.end_ids = ()
        assert together == alone
        assert together[0] == TEXT + writer.to_string([first])


class TestPadWithoutARow:
    @pytest.fixture
    def model(self):
        """The tokenizer's pad token was added after training: W_E has no row for it."""
        tokenizer = byte_tokenizer()
        n_rows = len(tokenizer)
        tokenizer.add_special_tokens({"pad_token": AddedToken("<pad>", special=True)})
        assert tokenizer.pad_token_id == n_rows
        return in_lens(hf_llama(vocab_size=n_rows, max_position_embeddings=128), tokenizer)

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_a_batch_of_texts_is_read_as_each_alone(self, model, side):
        texts = ["a cat", TEXT]
        tokens, mask = model.tokenize(texts, padding_side=side)
        assert tokens.max() < model.cfg.d_vocab
        together = model(tokens, attention_mask=mask)
        for row, text in enumerate(texts):
            torch.testing.assert_close(together[row, mask[row]], model(text)[0], atol=2e-5, rtol=0)
        assert model.generate(texts, 3, temperature=0) == [model.generate(text, 3, temperature=0) for text in texts]

    def test_typed_into_a_text_it_is_refused_by_name(self, model):
        with pytest.raises(ValueError, match=r"'<pad>' has id 330 in the tokenizer; .* has rows for 0 … 329"):
            model("a <pad> cat")

    def test_ids_that_hold_it_under_the_mask_are_read(self, model):
        """As transformers' own tokenizer gives them."""
        batch = model.tokenizer(["a cat", TEXT], return_tensors="pt", padding=True, padding_side="left")
        tokens, mask = batch["input_ids"], batch["attention_mask"].bool()
        assert (tokens == model.cfg.d_vocab).any()
        logits, loss = model(tokens, return_type="both", attention_mask=batch["attention_mask"])
        short = mask[0]
        torch.testing.assert_close(logits[0, short], model(tokens[:1, short])[0], atol=2e-5, rtol=0)
        alone = [
            next_token_loss(model(row[real][None]), row[real][None], per_token=True) for row, real in zip(tokens, mask)
        ]
        torch.testing.assert_close(loss, torch.cat(alone, 1).mean(), atol=2e-5, rtol=0)
        with pytest.raises(ValueError, match=f"this vocabulary has 0 … {model.cfg.d_vocab - 1}"):
            model(tokens)
        classic = Classic.of(model)
        torch.testing.assert_close(classic(tokens, attention_mask=mask)[:, -1], logits[:, -1], atol=2e-5, rtol=0)
        out = model.generate(tokens, 3, temperature=0, attention_mask=mask)
        assert out[0, -3:].tolist() == model.generate(tokens[0, short], 3, temperature=0)[0, -3:].tolist()
