"""Words that repeat, each sequence with a period of its own: what is drawn, what guesses cost, how text is read."""

import numpy as np
import pytest
import torch

from lens.load.staged import D_VOCAB
from lens.train.periods import (
    FIRST,
    PERIODS,
    WORDS,
    Sequences,
    distance_loss,
    guess_loss,
    make_tokenizer,
    per_sequence,
    sequences,
)


def test_every_sequence_repeats_its_own_period_of_distinct_words():
    tokens, period = sequences(400, 7)
    assert tokens.shape == (400, 33)
    assert set(period.tolist()) == set(PERIODS)
    assert (tokens[:, 0] == 0).all()
    assert tokens[:, 1:].min() >= FIRST
    assert tokens.max() < D_VOCAB
    for row, p in zip(tokens[:, 1:].tolist(), period.tolist()):
        assert len(set(row[:p])) == p
        assert row[p:] == row[:-p]


def test_periods_and_words_are_drawn_evenly():
    tokens, period = sequences(4400, 1)
    counts = np.bincount(period - PERIODS[0])
    assert counts.min() > 300  # of 400 expected
    assert counts.max() < 500
    first = np.bincount(tokens[:, 1] - FIRST, minlength=len(WORDS))
    assert first.min() > 50  # of 92 expected


def test_the_seed_decides_and_streams_differ():
    assert sequences(8, 3, 0, 5).tokens.equal(sequences(8, 3, 0, 5).tokens)
    assert not sequences(8, 3, 0, 5).tokens.equal(sequences(8, 3, 0, 6).tokens)
    assert not sequences(8, 3, 0, 5).tokens.equal(sequences(8, 4, 0, 5).tokens)


def test_later_predictions_are_those_of_words_that_were_there_before():
    given = sequences(50, 2)
    for row, later in zip(given.tokens.tolist(), given.later.tolist()):
        assert later == [row[target] in row[1:target] for target in range(1, 33)]


def test_what_guesses_cost_by_hand():
    def of(period: int) -> Sequences:
        words = torch.arange(32) % period + FIRST
        return Sequences(torch.cat([torch.zeros(1, dtype=torch.long), words])[None], torch.tensor([period]))

    assert guess_loss(of(8)) == pytest.approx(np.log(8))
    # Position 7 is one word back from 1, the only distance that there is: certain. From 17 on all eleven distances are
    # there, and period 16 has the next word at one of them.
    expected = -np.mean([np.log(1 / 11)] * 16)
    assert distance_loss(of(16)) == pytest.approx(expected)
    # Period 6: the word stands 6 and, from the third copy on, 12 tokens back; of 1 … 11 distances at targets 7 … 17.
    shares = [1 / (t - 6) if t < 13 else 2 / min(11, t - 6) for t in range(7, 33)]
    assert distance_loss(of(6)) == pytest.approx(-np.mean(np.log(shares)))


def test_the_mean_of_a_sequence_counts_later_copies_alone():
    given = sequences(5, 9)
    loss = torch.where(given.later, 2.0, 7.0)
    torch.testing.assert_close(per_sequence(loss, given), torch.full((5,), 2.0))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The cat sat on the mat. The cat", [" the", " cat", " sat", " on", " the", " mat", " the", " cat"]),
        ("red apple, green pear", [" red", " apple", " green", " pear"]),
        ("Hello cat", ["<unk>", " cat"]),
        ("cat ", [" cat"]),
        ("<bos> cat", ["<bos>", " cat"]),
        ("", []),
    ],
)
def test_text_is_read_word_by_word(text, tokens):
    assert make_tokenizer().encode(text).tokens == tokens


def test_every_word_decodes_and_encodes_as_itself():
    tokenizer = make_tokenizer()
    assert tokenizer.get_vocab_size() == D_VOCAB
    for token in range(FIRST, D_VOCAB):
        assert tokenizer.encode(tokenizer.decode([token])).ids == [token]
