"""The verbs that people type."""

import threading

import pytest
import torch

from lens.cache import get_act_name
from lens.generate import Sampling, generate_tokens, next_token_probs, padded_left

TEXT = "John gave a drink to Mary"


class TestForward:
    @torch.no_grad()
    def test_text_texts_and_tokens_are_one(self, tiny):
        tokens = tiny.to_tokens(TEXT)
        assert tokens[0, 0] == tiny.bos.id
        torch.testing.assert_close(tiny(TEXT), tiny(tokens))
        torch.testing.assert_close(tiny([TEXT, TEXT])[1], tiny(tokens[0])[0], atol=2e-5, rtol=0)
        assert tiny(TEXT, prepend_bos=False).shape[1] == tokens.shape[1] - 1

    @torch.no_grad()
    def test_loss_is_cross_entropy_of_the_next_token(self, tiny):
        tokens = tiny.to_tokens(TEXT)
        logits, loss = tiny(tokens, return_type="both")
        want = torch.nn.functional.cross_entropy(logits[0, :-1], tokens[0, 1:], reduction="none")
        torch.testing.assert_close(tiny(tokens, return_type="loss", loss_per_token=True)[0], want)
        torch.testing.assert_close(loss, want.mean())
        torch.testing.assert_close(tiny.loss_fn(logits, tokens), want.mean())

    @torch.no_grad()
    def test_no_return_runs_every_hook_but_no_unembedding(self, tiny):
        out, cache = tiny.run_with_cache(TEXT, return_type=None)
        assert out is None
        _, want = tiny.run_with_cache(TEXT)
        assert set(cache) == set(want)
        assert all(torch.equal(cache[name], want[name]) for name in cache)

    @pytest.mark.parametrize(
        ("args", "kwargs", "said"),
        [
            ((TEXT,), {"return_type": "logit"}, "return_type='logit'"),
            (("",), {"prepend_bos": False}, "empty"),
            (("x" * 500,), {}, "at most 128"),
            (("",), {"return_type": "loss"}, "at least two"),
            ((TEXT,), {"return_type": "loss", "logit_positions": -1}, "logit_positions"),
            (([],), {}, "No text"),
        ],
    )
    def test_what_cannot_be_answered_is_said(self, tiny, args, kwargs, said):
        with pytest.raises(ValueError, match=said):
            tiny(*args, **kwargs)

    def test_without_a_tokenizer_text_is_refused_and_tokens_are_read(self, tiny):
        from lens import HookedTransformer

        bare = HookedTransformer.from_state(tiny.cfg, tiny.state_dict(), name="bare")
        with pytest.raises(ValueError, match=r"bare has no tokenizer.*token ids"):
            bare(TEXT)
        assert bare(torch.tensor([1, 2, 3])).shape == (1, 3, tiny.cfg.d_vocab)
        assert bare.generate(torch.tensor([1, 2, 3]), 2, temperature=0).shape == (1, 5)


class TestTokens:
    def test_text_survives(self, tiny):
        for text in (TEXT, " two  spaces", "emoji 🙂 and ñ", "line\nend\t"):
            assert tiny.to_string(tiny.to_tokens(text, prepend_bos=False)[0]) == text
            assert "".join(tiny.to_str_tokens("plain ascii", prepend_bos=False)) == "plain ascii"

    def test_a_text_is_cut_only_when_that_is_asked_for(self, tiny):
        text = TEXT * tiny.cfg.n_ctx
        with pytest.raises(ValueError, match=f"reads at most {tiny.cfg.n_ctx}"):
            tiny.to_tokens(text)
        cut = tiny.to_tokens([text, TEXT], longest=7)
        assert cut.tolist() == [tiny.all_ids(text)[:7], tiny.all_ids(TEXT)[:7]]

    def test_str_tokens_of_text_row_and_rows(self, tiny):
        tokens = tiny.to_tokens(TEXT)
        strings = tiny.to_str_tokens(TEXT)
        assert strings[0] == "<bos>"
        assert strings == tiny.to_str_tokens(tokens) == tiny.to_str_tokens(tokens[0])
        assert tiny.to_str_tokens([TEXT, "a"])[0] == strings

    def test_single_tokens(self, tiny):
        token = tiny.to_single_token("a")
        assert tiny.to_single_str_token(token) == "a"
        with pytest.raises(ValueError, match="wanted exactly one"):
            tiny.to_single_token("a zebra")
        with pytest.raises(ValueError, match="0 tokens"):
            tiny.to_single_token("")

    def test_position_of_a_token_counts_the_bos(self, tiny):
        text = "The cat sat on the mat. The mat sat on the cat."
        strings = tiny.to_str_tokens(text)
        cat = next(s for s in strings if "cat" in s)
        places = [i for i, s in enumerate(strings) if s == cat]
        assert len(places) == 2
        assert tiny.get_token_position(cat, text) == places[0]
        assert tiny.get_token_position(cat, text, mode="last") == places[1]
        assert tiny.get_token_position(cat, text, prepend_bos=False) == places[0] - 1
        assert tiny.get_token_position(cat, tiny.to_tokens(text)) == places[0]
        with pytest.raises(ValueError, match="does not occur"):
            tiny.get_token_position("9", text)

    def test_rows_are_padded_on_the_chosen_side(self, tiny):
        left, right = (tiny.tokenize(["a", TEXT], padding_side=side) for side in ("left", "right"))
        assert left.lengths.tolist() == right.lengths.tolist() == [2, right.tokens.shape[1]]
        assert right.mask[0].tolist() == sorted(right.mask[0].tolist(), reverse=True)
        assert torch.equal(left.tokens[0].roll(2), right.tokens[0])


class TestCache:
    def test_short_names(self):
        assert get_act_name("pattern", 3) == "blocks.3.attn.hook_pattern"
        assert get_act_name("resid_pre", 0) == "blocks.0.hook_resid_pre"
        assert get_act_name("k", 6, "a") == get_act_name("k6a") == "blocks.6.attn.hook_k"
        assert get_act_name("normalized", 0, "ln2") == "blocks.0.ln2.hook_normalized"
        assert get_act_name("scale") == "ln_final.hook_scale"
        assert get_act_name("mlp_post", 1) == get_act_name("post", 1) == "blocks.1.mlp.hook_post"
        assert get_act_name("attn", 2) == get_act_name("pattern2") == "blocks.2.attn.hook_pattern"
        assert get_act_name("embed") == get_act_name("hook_embed") == "hook_embed"
        assert get_act_name("blocks.0.hook_mlp_out") == "blocks.0.hook_mlp_out"

    @torch.no_grad()
    def test_one_entry_under_all_its_names(self, tiny):
        _, cache = tiny.run_with_cache([TEXT, TEXT])
        entry = cache["blocks.2.attn.hook_pattern"]
        for key in (("pattern", 2), ("pattern", 2, "attn"), ("pattern", -1)):
            assert cache[key] is entry
            assert key in cache
        assert ("pattern", 3) not in cache
        with pytest.raises(KeyError, match=r"hook_patern.*hook_pattern"):
            cache["blocks.2.attn.hook_patern"]

    @torch.no_grad()
    def test_batch_axis(self, tiny):
        _, cache = tiny.run_with_cache([TEXT, TEXT])
        with pytest.raises(ValueError, match="batch of 2"):
            cache.remove_batch_dim()
        assert cache.slice_batch(1)["pattern", 0].ndim == 3
        assert cache.slice_batch(slice(0, 1)).remove_batch_dim()["pattern", 0].ndim == 3
        _, one = tiny.run_with_cache(TEXT, remove_batch_dim=True)
        torch.testing.assert_close(one["resid_post", 1], cache["resid_post", 1][0], atol=2e-5, rtol=0)

    @torch.no_grad()
    def test_only_what_is_asked_for_is_kept(self, tiny):
        _, cache = tiny.run_with_cache(TEXT, names_filter=lambda name: name.endswith("hook_z"))
        assert list(cache) == [f"blocks.{layer}.attn.hook_z" for layer in range(tiny.cfg.n_layers)]


class TestGenerate:
    def test_greedy_takes_the_top_token_each_time(self, tiny):
        tokens = tiny.to_tokens(TEXT)
        out = tiny.generate(tokens, 6, temperature=0, stop_at_eos=False)
        for n in range(tokens.shape[1], out.shape[1]):
            assert out[0, n] == tiny(out[:, :n])[0, -1].argmax()

    def test_a_seed_repeats_itself_and_reports_each_token(self, tiny):
        seen = []
        one = tiny.generate(TEXT, 8, seed=5, stop_at_eos=False, on_token=lambda ids: seen.append(ids.item()))
        assert one == tiny.generate(TEXT, 8, seed=5, stop_at_eos=False)
        assert one.startswith(TEXT)
        assert tiny.to_string(seen) == one.removeprefix(TEXT)
        assert len({tiny.generate(TEXT, 8, seed=seed) for seed in range(4)}) > 1

    def test_texts_of_different_lengths_continue_as_if_alone(self, tiny):
        texts = ["a", TEXT]
        together = tiny.generate(texts, 5, temperature=0)
        assert together == [tiny.generate(text, 5, temperature=0) for text in texts]

    def test_stopping(self, tiny):
        class Enough(Exception):
            pass

        def stop(ids):
            raise Enough

        with pytest.raises(Enough):
            tiny.generate(TEXT, 50, on_token=stop)
        prompt = tiny.to_tokens(TEXT)
        first = tiny.generate(prompt, 1, temperature=0)[0, -1].item()
        out = generate_tokens(tiny, padded_left(prompt), 9, Sampling(0.0), stop_ids=(first,))
        assert out.shape[1] == prompt.shape[1] + 1

    def test_what_may_be_drawn(self):
        logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()

        def probs(**kwargs):
            return next_token_probs(logits, Sampling(**kwargs))[0]

        torch.testing.assert_close(probs(), torch.tensor([0.4, 0.3, 0.2, 0.1]))
        torch.testing.assert_close(probs(top_k=2), torch.tensor([4 / 7, 3 / 7, 0, 0]))
        torch.testing.assert_close(probs(top_p=0.7), torch.tensor([4 / 7, 3 / 7, 0, 0]))
        torch.testing.assert_close(probs(top_p=0.71), torch.tensor([4 / 9, 3 / 9, 2 / 9, 0]))
        torch.testing.assert_close(probs(temperature=0), torch.tensor([1.0, 0, 0, 0]))
        torch.testing.assert_close(probs(temperature=0.5), torch.tensor([16.0, 9, 4, 1]) / 30)

    @pytest.mark.parametrize(
        "bad", [{"temperature": -1.0}, {"top_k": 0}, {"top_p": 1.5}, {"max_new_tokens": 0}, {"max_new_tokens": 1000}]
    )
    def test_bad_settings_are_refused(self, tiny, bad):
        with pytest.raises(ValueError, match=next(iter(bad))):
            tiny.generate(TEXT, **bad)


class TestWeights:
    def test_shapes_and_grouped_heads(self, tiny):
        cfg = tiny.cfg
        assert tiny.W_Q.shape == tiny.W_K.shape == (cfg.n_layers, cfg.n_heads, cfg.d_model, cfg.d_head)
        assert tiny.W_O.shape == (cfg.n_layers, cfg.n_heads, cfg.d_head, cfg.d_model)
        assert tiny.b_V.shape == (cfg.n_layers, cfg.n_heads, cfg.d_head)
        assert torch.equal(tiny.W_V[1, 3], tiny.blocks[1].attn.W_V[3 // cfg.group_size])
        assert tiny.W_in.shape == (cfg.n_layers, cfg.d_model, cfg.d_mlp)
        assert tiny.all_head_labels()[cfg.n_heads] == "L1H0"

    def test_residual_direction_of_a_token_is_its_column_of_the_unembedding(self, tiny):
        token = tiny.to_single_token("a")
        assert torch.equal(tiny.tokens_to_residual_directions("a"), tiny.W_U[:, token])
        assert tiny.tokens_to_residual_directions(torch.tensor([[1, 2], [3, 4]])).shape == (2, 2, tiny.cfg.d_model)


def test_two_visitors_one_of_whom_ablates(tiny):
    """The other's numbers are bit for bit those of a run alone."""
    tokens = tiny.to_tokens(TEXT)
    with torch.no_grad():
        alone = tiny(tokens)
    results, start = {}, threading.Barrier(2)

    def visitor(name, hooks):
        start.wait()
        with torch.no_grad():
            results[name] = [tiny.run_with_hooks(tokens, fwd_hooks=hooks) for _ in range(30)]

    def ablate(z, hook):
        z[:, :, 1] = 0

    visitors = [
        threading.Thread(target=visitor, args=("plain", [])),
        threading.Thread(target=visitor, args=("ablated", [("blocks.1.attn.hook_z", ablate)])),
    ]
    for thread in visitors:
        thread.start()
    for thread in visitors:
        thread.join()
    assert all(torch.equal(logits, alone) for logits in results["plain"])
    assert not any(torch.equal(logits, alone) for logits in results["ablated"])
