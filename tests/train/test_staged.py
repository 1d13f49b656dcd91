"""Two models trained side by side: the same for the same seed, stopped and continued, kept and opened by name."""

import os
import time

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.checkpoint import Setting, inputs_of
from lens.analysis.held_out import beginnings, is_read
from lens.analysis.stats import Estimate, estimate
from lens.analysis.verdicts import learned
from lens.load import staged as names
from lens.load.catalogue import resolve
from lens.load.checkpoints import checkpoints
from lens.load.staged import LAYERS, Staged, entries_here, entry_of, make_room, pairs_here
from lens.load.training_records import loss_log
from lens.train.periods import guess_loss, sequences
from lens.train.staged import MEASURED, N_MEASURED, SideBySide, curves_of, measure, read, train, unseen

SHORT, LONGER = Staged(0, 40), Staged(0, 120)  # 120 steps are enough for the two-layer model of this seed


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("LENS_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def longer() -> SideBySide:
    run = SideBySide(LONGER)
    list(run.steps())
    return run


@pytest.fixture(scope="module")
def short() -> SideBySide:
    """Stopped after ten steps, as by a cancel, and continued."""
    run = SideBySide(SHORT)
    for step in run.steps():
        if step == 10:
            break
    assert run.step == 10
    assert list(run.curves().of[2].steps) == list(range(11))
    list(run.steps())
    return run


def test_the_seed_alone_decides_the_weights(short, longer):
    for n_layers in LAYERS:
        early, same = short.trainees[n_layers].saved[24], longer.trainees[n_layers].saved[24]
        assert all(early[name].equal(same[name]) for name in early)
        other = SideBySide(Staged(1, 40)).trainees[n_layers].saved[0]
        assert not other["embed.W_E"].equal(short.trainees[n_layers].saved[0]["embed.W_E"])


def test_two_layers_learn_it_and_one_does_not(longer):
    curves, guess = longer.curves(), guess_loss(sequences(N_MEASURED, MEASURED))
    one, two = (estimate(torch.tensor(curves.of[n].loss[-1])) for n in LAYERS)
    assert float(two.high) < guess < float(one.low)
    assert learned(two, guess).state == "found"
    assert learned(one, guess).state == "none"
    assert curves.of[2].induction[-1].max() > 0.8
    assert curves.of[1].induction[-1].max() < 0.2
    assert curves.of[2].best[0] == 1


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [(0.8, 0.99, "found"), (0.8, 1.01, "unknown"), (1.4, 1.6, "unknown"), (1.51, 1.6, "none"), (3.0, 4.0, "none")],
)
def test_learned_is_below_half_of_a_guess_and_not_learned_above_three_quarters(low, high, state):
    ends = map(torch.tensor, ((low + high) / 2, low, high))
    assert learned(Estimate(*ends, 64, ""), guess=2.0).state == state
    assert learned(estimate(torch.full((15,), low)), guess=2.0).state == "unknown"  # too few to say


def test_a_model_that_knows_few_words_reads_no_novel(short):
    short.save()
    lens_2l = HookedTransformer.from_pretrained("lens-2l")
    model = HookedTransformer.from_pretrained(SHORT.name(2))
    assert not is_read(model, beginnings(model, 2, True))
    assert is_read(lens_2l, beginnings(lens_2l, 2, True))
    inputs = inputs_of(model, Setting(n=8, seqs=1, texts=2))
    assert inputs.texts is None
    assert inputs.words[0] == "<bos>"
    assert inputs.words[1:9] == inputs.words[9:]


def test_a_model_that_was_never_trained_has_not_learned_it():
    curves, guess = SideBySide(Staged(3, 40)).curves(), guess_loss(sequences(N_MEASURED, MEASURED))
    for n_layers in LAYERS:
        assert learned(estimate(torch.tensor(curves.of[n_layers].loss[-1])), guess).state == "none"


def test_the_score_is_the_attention_after_earlier_occurrences(short):
    model, given = short.trainees[2].model, sequences(4, 5)
    _, patterns = read(model, given)
    expected = torch.zeros(4, 2, 4)
    for row, (tokens, p) in enumerate(zip(given.tokens[:, :-1].tolist(), given.period.tolist())):
        queries = range(p + 1, 32)
        for q in queries:
            keys = [k for k in range(2, q) if tokens[k - 1] == tokens[q]]
            expected[row] += torch.stack([pattern[row, :, q, keys].sum(-1) for pattern in patterns]) / len(queries)
    torch.testing.assert_close(measure(model, given, 0).induction, expected.mean(0))


def test_a_trained_pair_is_kept_and_opened_by_its_name(short):
    assert entry_of("lens-2l") is None
    with pytest.raises(ValueError, match="stage-2l-seed0-steps40 is trained on request and is not on this machine"):
        resolve("stage-2l-seed0-steps40", paths=False)
    short.save()
    for n_layers in LAYERS:
        name = SHORT.name(n_layers)
        model = HookedTransformer.from_pretrained(name)
        assert model.name == name
        assert sum(one.numel() for one in model.parameters()) == names.n_params(n_layers)
        for parameter, value in short.trainees[n_layers].parameters.items():
            assert dict(model.named_parameters())[parameter].equal(value)
        run = checkpoints(name)
        assert run.tokens == tuple(64 * 32 * step for step in short.trainees[n_layers].saved)
        assert len(loss_log(name).loss) == 40
    assert [entry.alias for entry in entries_here()] == ["stage-2l-seed0-steps40", "stage-1l-seed0-steps40"]
    kept = curves_of(SHORT)
    assert all((kept.of[n].loss == short.curves().of[n].loss).all() for n in LAYERS)


def test_training_again_reads_what_is_kept(short):
    short.save()
    stages = []
    assert (train(SHORT, lambda *stage: stages.append(stage)).of[1].steps == short.curves().of[1].steps).all()
    assert not stages
    short.save()  # and keeping it twice changes nothing
    assert pairs_here() == [SHORT]


def test_an_unseen_sequence_is_read_by_both(short):
    short.save()
    first, second = unseen(SHORT, 0), unseen(SHORT, 1)
    assert first.words[0] == "<bos>"
    assert first.words != second.words
    given = sequences(1, 0, 2, 0)
    assert first.period == int(given.period)
    torch.testing.assert_close(first.loss[2], read(short.trainees[2].model, given)[0][0])


def test_the_pair_longest_unused_goes(short, monkeypatch):
    short.save()
    for seed in range(1, 4):
        other = SHORT._replace(seed=seed).folder
        other.mkdir()
        os.utime(other, (time.time() + seed, time.time() + seed))
    (names.store() / "unfinished-old").mkdir()
    os.utime(names.store() / "unfinished-old", (0, 0))
    make_room(most=3)
    assert [pair.seed for pair in pairs_here()] == [3, 2]
    assert not list(names.store().glob("unfinished-*"))


def test_where_nothing_can_be_written_it_is_said_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LENS_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"cannot hold trained models .* Set LENS_CACHE to a folder"):
        train(Staged(0, 1600))


@pytest.mark.parametrize("staged", [Staged(), Staged(7, 800), Staged(9999, 1600)])
def test_a_name_says_all(staged):
    found = names.NAME.fullmatch(staged.name(2))
    assert (int(found["seed"]), int(found["steps"] or names.STEPS)) == staged


def test_steps_are_a_multiple_of_what_is_measured():
    with pytest.raises(ValueError, match="steps=50; it must be a multiple of 40"):
        SideBySide(Staged(0, 50))
