"""A text over training: by hand, and against the plain analysis of a freshly loaded checkpoint."""

import numpy as np
import pytest
import torch

from lens import HookedTransformer
from lens.analysis.loss import next_token_stats
from lens.analysis.token_learning import TokenCurves, acquired, change, common_word, is_repeated, token_dynamics
from lens.analysis.training_run import TrainingRun
from lens.load.checkpoints import checkpoints
from lens.texts import passage
from tests.analysis.runs import STEPS, spoil, write_run


def curves(loss, is_top=None) -> TokenCurves:
    loss = np.asarray(loss, float)
    is_top = np.zeros(loss.shape, bool) if is_top is None else np.asarray(is_top, bool)
    places = list(range(len(loss)))
    return TokenCurves(places, places, loss, is_top)


def test_first_and_stays():
    found = acquired(curves(np.zeros((4, 5)), [[0, 0, 1, 1, 1], [1, 0, 0, 1, 1], [0, 0, 1, 1, 0], [1, 0, 1, 1, 0]]))
    assert found.first.tolist() == [1, -1, 0, 0, 0]
    assert found.stays.tolist() == [3, -1, 2, 0, -1]
    assert found.is_lost.tolist() == [False, False, False, False, True]


def test_a_pair_that_stands_earlier_is_repeated():
    assert is_repeated([0, 5, 6, 7, 5, 6, 6, 7, 5]).tolist() == [False] * 4 + [True, False, True, True]
    assert is_repeated([0, 5, 0, 5], skip=1).tolist() == [False] * 3
    assert is_repeated([0, 5, 0, 5]).tolist() == [False, False, True]


def test_the_commonest_word():
    words = ["<s>", ",", ",", ",", " the", " a", "cat", " the", " a", " a"]
    ids = [0, 1, 1, 1, 2, 3, 4, 2, 3, 3]
    assert common_word(ids, words, skip=1).tolist() == [word == " the" for word in words[1:]]
    assert not common_word([0, 1, 1], ["<s>", ",", ","]).any()


def test_a_change_is_split_by_what_repeats():
    of = curves([[4.0, 3.0, 5.0, 2.0], [3.0, 1.0, 2.0, 2.5]])
    found = change(of, 0, 1, np.array([False, True, False, True]))
    assert (found.before, found.after) == (3.5, 2.125)
    assert (found.repeated, found.others) == (-0.75, -2.0)
    assert (found.n_repeated, found.n_others, found.at) == (2, 2, 1)
    without = change(of, 0, 1, np.zeros(4, bool))
    assert np.isnan(without.repeated)
    assert without.at == 2
    assert change(of, 1, 0, np.ones(4, bool)).before == 2.125


def test_every_checkpoint_is_the_plain_analysis_and_a_broken_one_is_left_out(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setenv("LENS_CACHE", str(tmp_path / "cache"))
    folder = write_run(tmp_path / "run", tokenizer, steps=STEPS[:3])
    spoil(folder, STEPS[1])
    run = TrainingRun(checkpoints(str(folder)))
    tokens = run.read(passage(), None, 40).tokens
    found = token_dynamics(run, tokens)
    assert (found.indices, found.labels) == ([0, 2], [STEPS[0], STEPS[2]])
    stats = next_token_stats(HookedTransformer.from_pretrained(str(folder), checkpoint_index=2), tokens)
    torch.testing.assert_close(torch.from_numpy(found.loss[1]), stats.loss[0, :-1], atol=1e-6, rtol=1e-5)
    assert found.is_top[1].tolist() == ((stats.rank == 0) & (stats.tied == 0))[0, :-1].tolist()
    again = TrainingRun(run.checkpoints)
    again._opened = lambda: pytest.fail("the model was opened")
    np.testing.assert_array_equal(token_dynamics(again, tokens, [0, 2]).loss, found.loss)


def test_the_passage_has_rare_names_that_come_again():
    assert passage().count("Gryphon") == 7
    assert passage().count("Mock Turtle") == 4
