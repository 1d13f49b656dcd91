"""Evaluations, patching and head detection, on hand-made patterns and against naive loops."""

import pytest
import torch

from lens.compat import evals, head_detector, patching, utils


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


class TestEvals:
    def test_induction_loss_is_that_of_the_second_copy(self, classic):
        def losses(**kwargs):
            torch.manual_seed(5)
            return evals.induction_loss(classic, batch_size=3, subseq_len=20, **kwargs)

        torch.manual_seed(5)
        block = torch.randint(100, classic.cfg.d_vocab, (3, 20))
        rows = torch.cat([torch.full((3, 1), classic.bos.id), block, block], 1)
        logprobs = classic(rows).log_softmax(-1)
        want = [-logprobs[b, p, rows[b, p + 1]] for b in range(3) for p in range(40) if p + 1 >= 22]
        assert len(want) == 3 * 19
        torch.testing.assert_close(losses(), torch.stack(want).mean())
        assert losses(prepend_bos=False) != losses()

    def test_mean_over_the_batches_there_are(self, classic):
        rows = [{"tokens": torch.randint(0, 50, (2, 8))} for _ in range(3)]
        each = [classic(row["tokens"], return_type="loss").item() for row in rows]
        assert evals.evaluate_on_dataset(classic, rows) == pytest.approx(sum(each) / 3)
        assert evals.evaluate_on_dataset(classic, rows, truncate=2) == pytest.approx(sum(each[:2]) / 2)
        with pytest.raises(ValueError, match="no batch"):
            evals.evaluate_on_dataset(classic, [])

    def test_without_a_network_the_batches_are_of_the_shipped_book(self, tokenizer, capsys):
        loader = evals.make_pile_data_loader(tokenizer, batch_size=4, max_length=64)
        assert "Alice" in capsys.readouterr().out
        batch = next(iter(loader))["tokens"]
        assert batch.shape == (4, 64)
        assert len(evals.book()) == 12
        assert evals.book()[0].startswith("CHAPTER I. ")

    def test_sanity_check_is_the_loss_of_its_paragraph(self, classic):
        torch.testing.assert_close(evals.sanity_check(classic), classic(evals.PARAGRAPH, return_type="loss"))


CLEAN, CORRUPTED = torch.tensor([[3, 1, 4, 1, 5]]), torch.tensor([[3, 9, 4, 1, 5]])


def difference(logits):
    return logits[0, -1, 7] - logits[0, -1, 8]


@pytest.fixture
def runs(each):
    with torch.no_grad():
        clean, cache = each.run_with_cache(CLEAN)
        yield each, difference(clean), difference(each(CORRUPTED)), cache


class TestPatching:
    def test_cells_against_a_loop(self, runs):
        model, _, _, cache = runs
        got = patching.get_act_patch_attn_head_out_by_pos(model, CORRUPTED, cache, difference)
        assert got.shape == (model.cfg.n_layers, 5, model.cfg.n_heads)
        for layer, pos, head in ((0, 1, 0), (1, 4, 3)):
            name = f"blocks.{layer}.attn.hook_z"

            def put(z, hook, pos=pos, head=head, name=name):
                z[:, pos, head] = cache[name][:, pos, head]
                return z

            torch.testing.assert_close(
                got[layer, pos, head], difference(model.run_with_hooks(CORRUPTED, fwd_hooks=[(name, put)]))
            )

    def test_what_is_certain_beforehand(self, runs):
        """The clean stream everywhere is the clean run; before the first difference nothing changes."""
        model, clean, corrupted, cache = runs
        resid = patching.get_act_patch_resid_pre(model, CORRUPTED, cache, difference)
        assert resid.shape == (model.cfg.n_layers, 5)
        torch.testing.assert_close(resid[0, 1], clean)
        torch.testing.assert_close(resid[0, [0, 2, 3, 4]], corrupted.expand(4))
        torch.testing.assert_close(resid[:, 0], corrupted.expand(model.cfg.n_layers))
        assert (clean - corrupted).abs() > 0.05
        _, own = model.run_with_cache(CORRUPTED)
        same = patching.get_act_patch_attn_head_all_pos_every(model, CORRUPTED, own, difference)
        torch.testing.assert_close(same, corrupted.expand_as(same))

    def test_shapes_and_grouped_heads(self, runs):
        model, _, _, cache = runs
        cfg = model.cfg
        every = patching.get_act_patch_attn_head_all_pos_every(model, CORRUPTED, cache, difference)
        assert every.shape == (5, cfg.n_layers, cfg.n_heads)
        v = patching.get_act_patch_attn_head_v_all_pos(model, CORRUPTED, cache, difference)
        assert v.shape == (cfg.n_layers, cfg.n_kv_heads)
        for head in range(cfg.n_heads):
            assert torch.equal(every[3, :, head], v[:, head // cfg.group_size])
        by_pos = patching.get_act_patch_attn_head_by_pos_every(model, CORRUPTED, cache, difference)
        assert by_pos.shape == (5, cfg.n_layers, 5, cfg.n_heads)
        pattern = patching.get_act_patch_attn_head_pattern_by_pos(model, CORRUPTED, cache, difference)
        assert torch.equal(by_pos[4], pattern.mT)
        if cfg.attn_only:
            with pytest.raises(KeyError, match="hook_mlp_out"):
                patching.get_act_patch_block_every(model, CORRUPTED, cache, difference)
        else:
            block = patching.get_act_patch_block_every(model, CORRUPTED, cache, difference)
            assert block.shape == (3, cfg.n_layers, 5)
            assert torch.equal(block[2], patching.get_act_patch_mlp_out(model, CORRUPTED, cache, difference))

    def test_indices_of_ones_own(self, runs):
        model, _, _, cache = runs
        frame = patching.make_df_from_ranges((2, 2), ("layer", "pos"))
        assert frame.values.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
        setter = patching.layer_pos_patch_setter
        flat, back = patching.generic_activation_patch(
            model, CORRUPTED, cache, difference, setter, "attn_out", index_df=frame, return_index_df=True
        )
        whole = patching.get_act_patch_attn_out(model, CORRUPTED, cache, difference)
        torch.testing.assert_close(flat.reshape(2, 2), whole[:2, :2])  # batches of other sizes round otherwise
        assert back is frame
        with pytest.raises(ValueError, match="one of the two"):
            patching.generic_activation_patch(model, CORRUPTED, cache, difference, setter, "attn_out")


class TestHeadDetector:
    def test_patterns_of_a_hand_made_text(self):
        tokens = torch.tensor([[0, 5, 6, 5, 6, 5]])
        previous = head_detector.get_previous_token_head_detection_pattern(tokens)
        assert previous.nonzero().tolist() == [[i, i - 1] for i in range(1, 6)]
        duplicate = head_detector.get_duplicate_token_head_detection_pattern(tokens)
        assert duplicate.nonzero().tolist() == [[3, 1], [4, 2], [5, 1], [5, 3]]
        induction = head_detector.get_induction_head_detection_pattern(tokens)
        assert induction.nonzero().tolist() == [[3, 2], [4, 3], [5, 2], [5, 4]]
        for pattern in (previous, duplicate, induction):
            assert utils.is_lower_triangular(pattern)

    def test_a_perfect_head_scores_one_and_its_opposite_zero(self, classic):
        n = classic.to_tokens("the cat sat").shape[1]
        perfect = torch.zeros(4, n, n)
        perfect[:, 0, 0] = 1
        perfect[:, 1:, :-1] = torch.eye(n - 1)
        first = torch.zeros(4, n, n)
        first[..., 0] = 1
        cache = {("pattern", 0): perfect, ("pattern", 1): first}
        kept = {key: pattern.clone() for key, pattern in cache.items()}
        scores = head_detector.detect_head(
            classic, "the cat sat", "previous_token_head", cache=cache, exclude_current_token=True
        )
        torch.testing.assert_close(scores[0], torch.ones(4))
        torch.testing.assert_close(scores[1], torch.full((4,), 1 / (n - 1)))
        by_difference = head_detector.detect_head(
            classic, "the cat sat", "previous_token_head", cache=cache, exclude_current_token=True, error_measure="abs"
        )
        torch.testing.assert_close(by_difference[0], torch.ones(4))
        assert all(torch.equal(cache[key], kept[key]) for key in cache)

    def test_only_the_heads_asked_about_and_several_texts(self, each):
        one, two = "the cat sat on the mat", "a b a b a b"
        both = head_detector.detect_head(each, [one, two], "induction_head", heads=[(0, 1)], exclude_bos=True)
        alone = [
            head_detector.detect_head(each, text, "induction_head", {0: [1]}, exclude_bos=True) for text in (one, two)
        ]
        torch.testing.assert_close(both, (alone[0] + alone[1]) / 2)
        assert (both == -1).sum() == both.numel() - 1
        assert 0 < both[0, 1] < 1

    def test_a_pattern_of_ones_own(self, each):
        n = each.to_tokens("the cat sat").shape[1]
        with torch.no_grad():
            _, cache = each.run_with_cache("the cat sat", remove_batch_dim=True)
        diagonal = torch.eye(n)
        scores = head_detector.detect_head(each, "the cat sat", diagonal)
        want = cache["pattern", 1][2].diagonal().sum() / n
        torch.testing.assert_close(scores[1, 2], want)
        for bad in (torch.ones(n, n), torch.eye(n + 1)):
            with pytest.raises(ValueError, match="lower triangular"):
                head_detector.detect_head(each, "the cat sat", bad)
        with pytest.raises(ValueError, match="not a known kind"):
            head_detector.detect_head(each, "the cat sat", "copying_head")
        with pytest.raises(ValueError, match="error_measure='mse'"):
            head_detector.detect_head(each, "the cat sat", diagonal, error_measure="mse")
