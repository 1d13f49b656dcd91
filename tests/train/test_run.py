"""Training is repeatable, goes on after a stop, and computes what the model computes."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from lens.config import Config
from lens.model import Transformer
from lens.train.forward import training_loss
from lens.train.optimise import Muon, orthogonalised, rate
from lens.train.recipe import new_model, sinusoids, trained
from lens.train.run import LOG, SCORES, Run
from lens.train.ship import read_header
from tests.train.conftest import TINY


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """A run from beginning to end."""
    run = Run(TINY, corpus, tmp_path_factory.mktemp("whole"))
    run.advance()
    return run


def test_the_loss_falls(whole):
    assert len(whole.losses) == TINY.steps
    assert whole.losses[0] == pytest.approx(np.log(1024), abs=0.5)
    assert np.mean(whole.losses[-5:]) < whole.losses[0] - 0.3


def test_the_same_seed_gives_the_same_losses(whole, corpus, tmp_path):
    again = Run(TINY, corpus, tmp_path)
    again.advance()
    assert again.losses == pytest.approx(whole.losses, abs=1e-3)


def test_200_steps_end_at_the_same_loss(corpus, tmp_path):
    recipe = replace(TINY, steps=200, save_every=200, repeat_share=0.1)
    both = [Run(recipe, corpus, tmp_path / name) for name in "ab"]
    for one in both:
        one.advance()
    a, b = (one.losses for one in both)
    assert len(a) == 200
    assert a == pytest.approx(b, abs=1e-3)
    assert np.mean(a[-10:]) < a[0] - 1


def test_another_seed_starts_elsewhere_and_reads_the_same(whole, corpus, tmp_path):
    other = Run(replace(TINY, seed=1), corpus, tmp_path)
    other.advance(2)
    assert abs(other.losses[0] - whole.losses[0]) > 1e-4
    assert np.array_equal(other.contexts.starts(7), whole.contexts.starts(7))


def test_depth_changes_nothing_in_what_is_read(whole, corpus, tmp_path):
    shallow = Run(replace(TINY, n_layers=1), corpus, tmp_path)
    assert torch.equal(shallow.contexts.batch(5), whole.contexts.batch(5))


def test_a_stopped_run_goes_on_as_if_it_had_not_been(whole, corpus, tmp_path):
    first = Run(TINY, corpus, tmp_path)
    first.advance(25)  # five steps after its last save; they are taken again
    second = Run(TINY, corpus, tmp_path)
    assert second.step == 20
    second.advance()
    assert second.losses == pytest.approx(whole.losses, abs=1e-6)
    for mine, theirs in zip(second.parameters.values(), whole.parameters.values(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_another_recipe_does_not_go_on_in_the_same_folder(whole, corpus):
    with pytest.raises(ValueError, match="adam_rate"):
        Run(replace(TINY, adam_rate=1e-4), corpus, whole.folder)


def test_a_run_may_grow_until_its_rates_fall(corpus, tmp_path):
    Run(TINY, corpus, tmp_path).advance(20)
    assert Run(replace(TINY, steps=80), corpus, tmp_path).step == 20
    Run(TINY, corpus, tmp_path).advance(30)
    with pytest.raises(ValueError, match="steps"):
        Run(replace(TINY, steps=80), corpus, tmp_path)


def test_what_a_run_leaves_behind(whole):
    with (whole.folder / SCORES).open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [int(row["step"]) for row in rows] == [0, 10, 20, 30, 40]
    assert len((whole.folder / LOG).read_text().splitlines()) == 1 + TINY.steps
    files = sorted((whole.folder / "checkpoints").iterdir())
    headers = [read_header(file) for file in files]
    assert [one.tokens for one in headers] == [step * 4 * 64 for step in (0, 10, 20, 30, 40)]
    assert headers[-1].train_loss == pytest.approx(np.mean(whole.losses))
    assert headers[-1].held_out_loss == pytest.approx(float(rows[-1]["held_out_loss"]))


def test_the_fast_loss_is_the_model_s_own():
    torch.manual_seed(0)
    model = Transformer(Config(n_layers=3, n_heads=4, d_model=32, d_head=16, d_vocab=50, n_ctx=40))
    parameters = trained(model)
    for parameter in parameters.values():
        parameter.data += 0.2 * torch.randn_like(parameter)
    tokens = torch.randint(0, 50, (3, 40))
    fast, own = training_loss(model, tokens, exact=True), cross_entropy(model, tokens)
    assert own > 0.5
    assert fast.item() == pytest.approx(own.item(), abs=1e-5)
    fast_grads = torch.autograd.grad(fast, parameters.values())
    for name, mine, theirs in zip(parameters, fast_grads, torch.autograd.grad(own, parameters.values()), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5), name
        assert theirs.abs().max() > 1e-6, name
    assert training_loss(model, tokens).item() == pytest.approx(own.item(), abs=0.05)  # bfloat16


def cross_entropy(model, tokens):
    return torch.nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())


def test_a_step_of_muon_turns_all_directions_alike():
    torch.manual_seed(0)
    for shape in ((3, 32, 8), (3, 8, 32)):
        G = torch.randn(shape) @ torch.diag(torch.logspace(0, -2, shape[-1]))
        values = torch.linalg.svdvals(orthogonalised(G))
        assert (values > 0.5).all()
        assert (values < 1.3).all()


def test_muon_takes_turned_matrices_together():
    torch.manual_seed(0)
    tall, wide = torch.nn.Parameter(torch.randn(2, 16, 8)), torch.nn.Parameter(torch.zeros(2, 8, 16))
    wide.data = tall.data.mT.clone()
    tall.grad, before = torch.randn(2, 16, 8), tall.detach().clone()
    wide.grad = tall.grad.mT.clone()
    Muon([tall, wide], lr=0.1).step()
    assert torch.allclose(tall, wide.mT, atol=1e-6)
    assert 0.05 < (tall - before).norm() / (0.1 * 2**0.5 * 4) < 2  # singular values about 1, 8 of them, times sqrt(2)


def test_the_schedule():
    rates = [rate(step, 1000, 200, 0.4) for step in range(1000)]
    assert rates[0] == 1 / 200
    assert rates[200:600] == [1.0] * 400
    assert rates[800] == pytest.approx(0.5)
    assert rates[999] == pytest.approx(1 / 400)


def test_positions_begin_as_sinusoids(corpus):
    waves = sinusoids(64, 16)
    assert torch.allclose(waves[:, 0], torch.arange(64).sin(), atol=1e-6)
    assert torch.allclose(waves[0, 1::2], torch.ones(8))
    model = new_model(TINY, corpus)
    assert torch.allclose(model.pos_embed.W_pos, TINY.position_size * waves)
