"""lens-1l, lens-2l and lens-3l: every checkpoint opens, says what it is, and scores what the tables say."""

import csv
import json
import math

import pytest
import torch

from lens.analysis.head_scores import head_scores
from lens.analysis.loss import next_token_stats
from lens.analysis.random_tokens import repeated_tokens
from lens.hooked import HookedTransformer
from lens.load.catalogue import available_offline, is_local, resolve
from lens.load.checkpoints import checkpoints
from lens.load.entries import ASSETS, SHIPPED
from lens.load.training_records import loss_log, training_runs
from lens.texts import held_out
from lens.train.scores import held_out_contexts, held_out_loss
from lens.train.ship import read_header, results_table

NAMES = ("lens-1l", "lens-2l", "lens-3l")
MEGABYTES = 80


@pytest.fixture(scope="module")
def models():
    return {name: HookedTransformer.from_pretrained(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
class TestEach:
    def test_it_opens_without_a_network_at_its_last_checkpoint(self, name, models):
        model, found = models[name], checkpoints(name)
        assert is_local(name)
        assert name in available_offline()
        assert model.checkpoint == found.at(-1)
        assert model.revision == found.places[-1]
        assert (model.cfg.n_layers, model.cfg.attn_only, model.cfg.norm) == (int(name[5]), True, "LN")
        assert model.dtype == torch.float32
        assert model.bos.prepend
        assert model.to_str_tokens("John")[0] == "<|endoftext|>"
        assert "repeat" in model.note
        assert "fp16" in model.note

    def test_its_entry_tells_its_sizes(self, name, models):
        entry, model = resolve(name), models[name]
        names = ("n_layers", "n_heads", "d_model", "d_head", "d_mlp", "d_vocab")
        assert [getattr(entry.sizes, one) for one in names] == [getattr(model.cfg, one) for one in names]
        assert entry.n_params == sum(parameter.numel() for parameter in model.parameters())

    def test_every_checkpoint_loads_into_the_model_and_its_header_is_right(self, name):
        found = checkpoints(name)
        assert len(found) >= 20
        assert found.unit == "tokens"
        assert found.labels[0] == 0
        model = HookedTransformer.from_pretrained(name, checkpoint_index=0)
        parameters = {id(parameter) for parameter in model.parameters()}
        rows = {row.tokens: row for row in training_runs() if row.model == name and row.shipped}
        assert set(rows) == set(found.labels)
        previous = model.W_E.clone()
        for index, label in enumerate(found.labels):
            one = model.load_checkpoint(index)
            header = read_header(found.entry.path / one.place)
            assert (one.label, one.tokens, header.tokens, header.step) == (label, label, label, label // 2048)
            assert all(parameter.isfinite().all() for parameter in model.parameters())
            assert index == 0 or not torch.equal(model.W_E, previous)
            assert header.train_loss == pytest.approx(rows[label].train_loss, abs=1e-4, nan_ok=True)
            assert header.held_out_loss == pytest.approx(rows[label].held_out_loss, abs=5e-3)  # before and after fp16
            previous = model.W_E.clone()
        assert {id(parameter) for parameter in model.parameters()} == parameters

    def test_by_value_and_by_index_are_the_same(self, name):
        label = checkpoints(name).labels[7]
        by_value = HookedTransformer.from_pretrained(name, checkpoint_value=label)
        by_index = HookedTransformer.from_pretrained(name, checkpoint_index=7)
        assert by_value.revision == by_index.revision
        assert torch.equal(by_value.W_E, by_index.W_E)

    def test_the_table_of_scores_is_what_the_files_give(self, name, models):
        model = models[name]
        row = [row for row in training_runs() if row.model == name and row.shipped][-1]
        repeated = repeated_tokens(model)
        induction = head_scores(model, repeated).scores["induction"]
        stats = next_token_stats(model, repeated.tokens, top_k=1)
        assert induction.per_sequence.mean(0).max().item() == pytest.approx(row.prefix_matching, abs=1e-4)
        assert stats.loss[:, 26:50].mean().item() == pytest.approx(row.second_copy_loss, abs=1e-3)
        guesses = model(repeated.tokens).argmax(-1)[:, 26:50]
        top1 = (guesses == repeated.tokens[:, 27:51]).float().mean().item()
        assert top1 == pytest.approx(row.second_copy_top1, abs=1e-4)
        contexts = held_out_contexts(model, held_out())
        assert held_out_loss(model, contexts) == pytest.approx(row.held_out_loss, abs=1e-3)

    def test_its_training_log_has_every_step(self, name):
        log, found = loss_log(name), checkpoints(name)
        assert log.step.tolist() == list(range(found.labels[-1] // 2048))
        assert (log.tokens == log.step * 2048).all()
        assert log.loss[0] > 6.5
        last = read_header(found.entry.path / found.places[-1])
        assert log.loss[-100:].mean() == pytest.approx(last.train_loss, abs=1e-3)


def test_one_layer_has_no_induction_head_and_the_others_do(models):
    best = {
        name: head_scores(model, repeated_tokens(model)).scores["induction"].per_sequence.mean(0).max().item()
        for name, model in models.items()
    }
    assert best["lens-1l"] < 0.1
    assert best["lens-2l"] > 0.7
    assert best["lens-3l"] > 0.7


def test_what_is_shipped_follows_the_rule():
    """The run of a depth that ends with the highest score above its control; one layer has the seed of two."""
    last = {(row.model, row.seed): row for row in training_runs() if row.repeat_share > 0}  # rows of a run are in order
    shipped = {row.model: row.seed for row in last.values() if row.shipped}
    assert set(shipped) == set(NAMES)
    for name in ("lens-2l", "lens-3l"):
        effects = {seed: row.prefix_matching - row.prefix_control for (one, seed), row in last.items() if one == name}
        assert len(effects) == 3
        assert shipped[name] == max(effects, key=effects.get)
    assert shipped["lens-1l"] == shipped["lens-2l"]


def test_all_three_read_the_same_contexts_in_the_same_order():
    recipes = [json.loads((SHIPPED / name / "recipe.json").read_text("utf-8")) for name in NAMES]
    for name in ("data_seed", "batch", "n_ctx", "steps"):
        assert len({recipe[name] for recipe in recipes}) == 1
    assert all(recipe["repeat_share"] <= 0.1 for recipe in recipes)


def test_a_run_without_repeats_and_other_seeds_stand_beside_them():
    runs = {(row.model, row.seed, row.repeat_share) for row in training_runs()}
    assert any(share == 0 for _, _, share in runs)
    assert len({seed for model, seed, share in runs if model == "lens-2l" and share > 0}) >= 2


def test_the_readme_shows_the_results_of_the_table():
    assert results_table() in (ASSETS / "README.md").read_text("utf-8")


def test_they_are_small():
    size = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    assert size < MEGABYTES * 1e6


def test_no_row_of_the_table_is_empty():
    with (ASSETS / "runs.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            numbers = [float(row[name]) for name in ("held_out_loss", "prefix_matching", "second_copy_top1")]
            assert all(map(math.isfinite, numbers))


def test_another_model_has_no_training_log():
    with pytest.raises(ValueError, match="lens-1l, lens-2l, lens-3l"):
        loss_log("gpt2")


def test_a_revision_is_refused_and_says_so():
    with pytest.raises(ValueError, match="revision"):
        HookedTransformer.from_pretrained("lens-2l", revision="main")
