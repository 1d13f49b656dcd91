"""The classic model: what its old arguments mean, and that it computes what Lens's own model computes."""

import pytest
import torch

from lens import HookedTransformer as Plain
from lens.compat.past_key_value_caching import HookedTransformerKeyValueCache
from lens.compat.transformer import HookedTransformer

TEXT = "John gave a drink to Mary"


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def close(got, want):
    torch.testing.assert_close(got, want, atol=2e-5, rtol=1e-5)


class TestForward:
    def test_the_same_numbers_as_the_model_it_wraps(self, tiny):
        classic = HookedTransformer.of(tiny)
        assert classic.W_E.data_ptr() == tiny.W_E.data_ptr()
        assert torch.equal(classic(TEXT), tiny(TEXT))
        assert classic.cfg.default_prepend_bos is tiny.bos.prepend
        assert (classic.name, classic.note) == (tiny.name, tiny.note)

    def test_texts_are_padded_on_either_side_without_effect(self, each):
        texts = ["a b", TEXT]
        left, right = (each(texts, padding_side=side) for side in ("left", "right"))
        alone = each("a b")
        close(right[0, : alone.shape[1]], alone[0])
        close(left[0, -alone.shape[1] :], alone[0])

    def test_prepend_bos_is_the_configs_unless_given(self, each):
        n = each(TEXT).shape[1]
        each.cfg.default_prepend_bos = False
        assert each(TEXT).shape[1] == each.to_tokens(TEXT).shape[1] == n - 1
        assert each(TEXT, prepend_bos=True).shape[1] == n
        each.cfg.default_prepend_bos = True
        assert each.to_tokens(TEXT)[0, 0] == each.bos.id

    def test_restarting_in_the_middle(self, each):
        tokens = each.to_tokens(TEXT)
        resid = each(tokens, stop_at_layer=1)
        assert resid.shape == (*tokens.shape, each.cfg.d_model)
        close(each(resid, start_at_layer=1), each(tokens))
        close(each(resid, "loss", start_at_layer=1, tokens=tokens), each(tokens, return_type="loss"))
        logits, loss = each(resid, return_type="both", start_at_layer=1, tokens=tokens)
        close(loss, each.loss_fn(logits, tokens))
        with pytest.raises(ValueError, match="give tokens"):
            each(resid, return_type="loss", start_at_layer=1)

    def test_reading_on_from_what_was_read(self, each):
        tokens = each.to_tokens(TEXT)
        past = HookedTransformerKeyValueCache.init_cache(each.cfg, each.cfg.device, 1)
        each(tokens[:, :-1], past_kv_cache=past)
        close(each(tokens[:, -1:], past_kv_cache=past)[:, -1], each(tokens)[:, -1])

    def test_loss_leaves_padding_out(self, each):
        tokens = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
        mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
        logits = each(tokens, attention_mask=mask)
        per_token = each.loss_fn(logits, tokens, per_token=True)
        want = (per_token[0].sum() + per_token[1, 0]) / 4
        close(each.loss_fn(logits, tokens, mask), want)
        close(each(tokens, return_type="loss", attention_mask=mask), want)


class TestText:
    def test_long_texts_are_cut_unless_told_otherwise(self, classic):
        text = "a " * 200
        assert classic.to_tokens(text).shape == (1, 64)
        assert classic(text).shape[1] == 64
        whole = classic.to_tokens([text, "a"], truncate=False, move_to_device=False)
        assert whole.shape[1] > 64
        assert torch.equal(whole[:1, :64], classic.to_tokens(text))

    def test_padding_side(self, classic):
        left = classic.to_tokens(["a", TEXT], padding_side="left")
        right = classic.to_tokens(["a", TEXT])
        assert torch.equal(left[0, -2:], right[0, :2])

    def test_strings_of_anything(self, classic):
        tokens = classic.to_tokens(TEXT)
        strings = classic.to_str_tokens(TEXT)
        assert classic.to_str_tokens(tokens.numpy()) == classic.to_str_tokens(tokens[0].tolist()) == strings
        assert classic.to_str_tokens([TEXT, "a"])[1] == classic.to_str_tokens("a")
        assert classic.to_str_tokens([tokens[0], tokens[0, :2]])[1] == strings[:2]
        assert classic.to_string([tokens[0, 1:3], tokens[0, 1:2]])[1] == classic.to_string(tokens[0, 1:2])
        assert classic.get_token_position(strings[2], TEXT) == 2
        assert classic.get_token_position(strings[2], tokens, mode="last") >= 2

    def test_generating(self, classic):
        greedy = classic.generate(TEXT, max_new_tokens=4, temperature=0, verbose=False)
        assert greedy == classic.generate(TEXT, 4, do_sample=False, stop_at_eos=False)[: len(greedy)]
        tokens = classic.generate(TEXT, 4, do_sample=False, stop_at_eos=False, return_type="tensor")
        assert tokens.shape == (1, classic.to_tokens(TEXT).shape[1] + 4)
        assert torch.equal(classic.generate(tokens[:, :-4], 4, do_sample=False, stop_at_eos=False), tokens)
        stopped = classic.generate(tokens[:, :-4], 4, do_sample=False, eos_token_id=tokens[0, -4].item())
        assert stopped.shape[1] == tokens.shape[1] - 3
        assert len(classic.generate([TEXT, "a"], 2, seed=1)) == 2
        assert classic.generate(TEXT, 4, seed=1) == classic.generate(TEXT, 4, seed=1)
        with pytest.raises(ValueError, match="freq_penalty"):
            classic.generate(TEXT, freq_penalty=0.5)
        with pytest.raises(ValueError, match="return_type='text'"):
            classic.generate(TEXT, return_type="text")


def test_what_has_another_shape_here_is_refused(grouped, classic):
    with pytest.raises(ValueError, match="2 heads, each shared by 2"):
        grouped.set_ungroup_grouped_query_attention(True)
    classic.set_ungroup_grouped_query_attention(True)
    with pytest.raises(ValueError, match="hook_q_input"):
        classic.set_use_attn_in(True)
    with pytest.raises(ValueError, match="shortformer_pos_embed"):
        classic(TEXT, shortformer_pos_embed=torch.zeros(1))


def test_printing(each, capsys):
    _, cache = each.run_with_cache(TEXT)
    print(each.cfg, cache, each.OV, each.hook_dict["blocks.0.attn.hook_z"])  # noqa: T201
    printed = capsys.readouterr().out
    assert "HookedTransformerConfig" in printed
    assert "ActivationCache" in printed
    assert "FactoredMatrix" in printed


def test_embeddings_of_tokens_and_positions(classic):
    assert classic.W_E_pos.shape == (classic.cfg.d_vocab + classic.cfg.n_ctx, classic.cfg.d_model)


def test_a_plain_model_is_not_changed_by_its_classic_face(tiny):
    HookedTransformer.of(tiny).cfg.default_prepend_bos = False
    assert isinstance(tiny, Plain)
    assert not isinstance(tiny, HookedTransformer)
    assert tiny(TEXT).shape[1] == tiny.to_tokens(TEXT).shape[1]
