"""What the models read: the same contexts for all, repeats that move nothing."""

import numpy as np
import pytest
import torch

from lens.train.batches import Contexts, Plan, with_repeats
from lens.train.recipe import Recipe

TEXT = np.arange(1, 20_001).astype(np.uint16)  # every token tells its place
PLAIN = Plan(batch=8, n_ctx=64, repeat_share=0.0, shortest_repeat=16, data_seed=0, repeat_seed=0)


def test_a_context_is_bos_and_a_stretch_of_the_text():
    batch = Contexts(TEXT, PLAIN).batch(0)
    assert batch.shape == (8, 64)
    assert (batch[:, 0] == 0).all()
    assert (batch[:, 2:] - batch[:, 1:-1] == 1).all()


def test_an_epoch_reads_every_piece_once_and_the_next_cuts_elsewhere():
    contexts = Contexts(TEXT, PLAIN)
    first = np.concatenate([contexts.starts(step) for step in range(contexts.per_epoch)])
    second = np.concatenate([contexts.starts(step) for step in range(contexts.per_epoch, 2 * contexts.per_epoch)])
    assert len(set(first)) == len(first) == 8 * contexts.per_epoch
    assert (np.diff(np.sort(first)) == 63).all()
    assert set(first) != set(second)
    assert not np.array_equal(np.argsort(first), np.argsort(second))


def test_any_step_can_be_asked_for_in_any_order():
    forward, backward = Contexts(TEXT, PLAIN), Contexts(TEXT, PLAIN)
    steps = [0, 1, 2, 50, 51]
    there = [forward.batch(step) for step in steps]
    back = [backward.batch(step) for step in reversed(steps)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(there, back, strict=True))


def test_repeats_move_no_context_and_change_only_their_own_rows():
    plain, repeated = Contexts(TEXT, PLAIN), Contexts(TEXT, PLAIN._replace(repeat_share=0.1))
    other = Contexts(TEXT, PLAIN._replace(repeat_share=0.1, repeat_seed=1))
    changed = []
    for step in range(30):
        assert np.array_equal(plain.starts(step), repeated.starts(step))
        assert np.array_equal(plain.starts(step), other.starts(step))
        changed.append((plain.batch(step) != repeated.batch(step)).any(1))
    assert 0.03 < torch.cat(changed).float().mean() < 0.2  # a tenth of 240 rows


def test_a_repeat_is_one_passage_of_the_row_later_in_the_row():
    rows = np.tile(np.arange(256), (200, 1))
    for row in with_repeats(rows, PLAIN._replace(repeat_share=1.0), 0):
        written = np.flatnonzero(row != np.arange(256))
        assert len(written) >= PLAIN.shortest_repeat
        assert np.array_equal(written, np.arange(written[0], written[-1] + 1))  # in one piece
        source = row[written]
        assert (np.diff(source) == 1).all()  # a passage of the row itself
        assert 1 <= source[0] <= source[-1] < written[0]  # which stands before it, and is not BOS


def test_the_share_of_repeats_is_what_was_asked_for():
    rows = np.tile(np.arange(256), (4000, 1))
    share = (with_repeats(rows, PLAIN._replace(repeat_share=0.1), 3) != rows).any(1).mean()
    assert abs(share - 0.1) < 4 * (0.1 * 0.9 / 4000) ** 0.5


def test_more_than_a_tenth_is_refused():
    with pytest.raises(ValueError, match="at most a tenth"):
        Recipe(repeat_share=0.2)


def test_a_text_too_short_for_a_batch_is_refused():
    with pytest.raises(ValueError, match="too few"):
        Contexts(TEXT[:400], PLAIN)
