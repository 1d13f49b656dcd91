"""All heads on documents: against loops over cells, on patterns made by hand, and the same however they are batched."""

import numpy as np
import pytest
import torch

from lens.analysis.attention import head_patterns
from lens.analysis.corpus.distances import bin_of, distance_bins
from lens.analysis.corpus.head import head_on_text, scores_on_text, selectivity, token_lifts
from lens.analysis.corpus.own_text import own_text
from lens.analysis.corpus.reading import (
    Corpus,
    Readers,
    TokenSums,
    corpus,
    corpus_part,
    join,
    of_head,
    parts_of,
    private_part,
    read_documents,
    text_instruments,
)
from lens.analysis.instruments.layout import even_pattern, text_layout
from lens.analysis.instruments.patterns import Readings, measure_patterns
from lens.analysis.instruments.sample import text
from lens.analysis.names import Head
from lens.analysis.weights_digest import weights_digest
from lens.tokens import TokenBatch
from tests.analysis.shaken import make_model

LENGTHS = (11, 7, 2)
HEADS = 3


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LENS_CACHE", str(tmp_path))


@pytest.fixture
def texts():
    tokens = torch.randint(3, 9, (len(LENGTHS), max(LENGTHS)), generator=torch.Generator().manual_seed(2))
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return TokenBatch(tokens, mask)


@pytest.fixture
def patterns(texts):
    scores = torch.randn(len(LENGTHS), HEADS, 11, 11, generator=torch.Generator().manual_seed(1))
    hidden = ~torch.ones(11, 11, dtype=torch.bool).tril()
    return scores.masked_fill(hidden, -torch.inf).softmax(-1)


def alike(found, want):
    """Two readings of the same documents."""
    for name in ("shares", "even_shares", "look", "key"):
        torch.testing.assert_close(getattr(found, name), getattr(want, name), equal_nan=True)
    for name in found.tokens._fields:
        torch.testing.assert_close(getattr(found.tokens, name), getattr(want.tokens, name))
    for got, other in zip(found.readings[1:], want.readings[1:]):
        torch.testing.assert_close(got, other, equal_nan=True)


def test_bins_double_and_hold_every_distance_once():
    assert [str(one) for one in distance_bins(12)] == ["0", "1", "2", "3–4", "5–8", "9–11"]
    for n in (1, 2, 3, 9, 10, 33):
        assert [d for one in distance_bins(n) for d in range(one.nearest, one.farthest + 1)] == list(range(n))
    assert bin_of(torch.tensor([0, 1, 2, 3, 4, 5, 8, 9, 16, 17])).tolist() == [0, 1, 2, 3, 3, 4, 4, 5, 5, 6]


def test_patterns_are_read_as_loops_over_their_cells_read_them(texts, patterns):
    read = Readers(text_layout(*texts), text_instruments())(patterns, slice(0, 3))
    for at, length in enumerate(LENGTHS):
        bins = distance_bins(length)
        for head in range(HEADS):
            shares, got = np.zeros(read.shares.shape[-1]), np.zeros(11)
            for q in range(1, length):
                row = patterns[at, head, q]
                for k in range(1, q + 1):
                    place = next(i for i, one in enumerate(bins) if one.nearest <= q - k <= one.farthest)
                    shares[place] += float(row[k]) / (length - 1)
                    got[k] += float(row[k])
                assert float(read.look[at, head, q - 1]) == pytest.approx(max(row[1 : q + 1].tolist()))
                assert float(row[read.key[at, head, q - 1]]) == float(read.look[at, head, q - 1])
                assert float(read.gave[at, head, q]) == pytest.approx(1 - float(row[0]), abs=1e-6)
            np.testing.assert_allclose(read.shares[at, head], shares, atol=1e-6)
            np.testing.assert_allclose(read.got[at, head], got, atol=1e-6)
        assert read.look[at, :, length - 1 :].isnan().all()
        assert float(read.gave[at, :, length:].abs().sum()) == 0


def test_shares_and_the_first_token_are_all_of_the_attention(texts, patterns):
    read = Readers(text_layout(*texts), text_instruments())(patterns, slice(0, 3))
    first = read.readings[0, [one.name for one in text_instruments()].index("first")]
    torch.testing.assert_close(read.shares.sum(-1) + first, torch.ones(3, HEADS))


def test_a_head_that_looks_at_all_keys_alike_has_every_token_as_often_as_it_stands_there(texts):
    layout = text_layout(*texts)
    read = Readers(layout, text_instruments())(even_pattern(layout), slice(0, 3))
    back = [sum(1 / (q + 1) for q in range(d + 1, 11)) / 10 for d in range(3)]
    assert read.shares[0, 0, :3].tolist() == pytest.approx(back)
    assert float(read.gave[0, 0, 4]) == pytest.approx(4 / 5)


def test_a_padded_batch_reads_every_document_as_if_it_were_alone(model, texts, monkeypatch):
    together = read_documents(model, texts)
    monkeypatch.setattr("lens.analysis.streaming.TOKENS", 11)  # one at a time
    alike(read_documents(model, texts), together)
    alone = [
        read_documents(model, TokenBatch(tokens[None, :n], mask[None, :n])) for tokens, mask, n in zip(*texts, LENGTHS)
    ]
    alike(join(alone), together)
    layer, head = model.cfg.n_layers - 1, model.cfg.n_heads - 1
    pattern = head_patterns(model, texts.tokens[:1], [Head(layer, head)]).pattern[0]
    pattern = pattern.reshape(pattern.shape[-2:])
    one = of_head(together, Head(layer, head))
    assert float(one.shares[0, 1]) == pytest.approx(float(pattern.diagonal(-1)[1:].sum()) / 10, abs=1e-5)
    assert float(one.look[0, 5]) == pytest.approx(float(pattern[5, 1:].max()), abs=1e-5)


def test_the_scores_are_those_of_the_instruments(model, texts):
    sample = text(texts)
    found = scores_on_text(read_documents(model, texts).readings, sample)
    want = measure_patterns(model, text_instruments(), sample)
    assert found.missing == want.missing
    for key, score in want.scores.items():
        torch.testing.assert_close(found[key].score.mean, score.score.mean, msg=key)


def test_the_mean_of_the_largest_looks_is_an_instrument(model, texts):
    read = read_documents(model, texts)
    score = scores_on_text(read.readings, text(texts))["largest"].per_sequence
    torch.testing.assert_close(score, read.look.nanmean(-1).movedim(-1, 0))


def test_the_mean_distance_lies_in_the_shares(model, texts):
    """Of texts of up to three tokens every bin is one distance."""
    short = TokenBatch(texts.tokens[:, :3], texts.mask[:, :3])
    read = read_documents(model, short)
    distance = scores_on_text(read.readings, text(short))["distance"].per_sequence
    back = (read.shares * torch.arange(3)).sum(-1) / read.shares.sum(-1)
    torch.testing.assert_close(distance, back.movedim(-1, 0))


def test_parts_are_kept_and_what_is_stopped_loses_none_of_them(model, texts, monkeypatch):
    monkeypatch.setattr("lens.analysis.corpus.reading.TOKENS", 22)
    assert parts_of(3, 11) == [(0, 2), (2, 3)]
    whole, seen = read_documents(model, texts), []

    def stop(fraction: float, stage: str) -> None:
        if fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        corpus(model, text(texts), stop, show=lambda some: seen.append(some.look.shape[2]))
    assert seen == [2]
    kept = corpus_part((0, 2), model, texts, stop_at_once)
    torch.testing.assert_close(kept.look, whole.look[:, :, :2], equal_nan=True)
    found = corpus(model, text(texts), show=lambda some: seen.append(some.look.shape[2]))
    assert seen == [2, 2, 3]
    alike(found, whole)
    alike(corpus(model, text(texts), stop_at_once), whole)


def stop_at_once(fraction: float, stage: str) -> None:
    raise AssertionError("it is read again")


def test_other_weights_have_another_name():
    model = make_model()
    before = weights_digest(model)
    assert weights_digest(model) == before
    with torch.no_grad():
        model.blocks[0].attn.W_O.add_(1)
    assert weights_digest(model) != before


def by_hand(pattern: torch.Tensor, tokens: list[int]):
    """One head that attends as ``pattern`` on one text, as the summary reads it."""
    texts = TokenBatch(torch.tensor([tokens]), torch.ones(1, len(tokens), dtype=torch.bool))
    layout = text_layout(*texts)
    readers = Readers(layout, text_instruments())
    read, even = (readers(values[None, None], slice(0, 1)) for values in (pattern, even_pattern(layout)[0, 0]))
    ids, places = texts.tokens[0, 1:].unique(return_inverse=True)
    sums = [
        torch.zeros(len(ids)).index_add_(0, places, one[0, 0, 1:]) for one in (even.gave, even.got, read.gave, read.got)
    ]
    look = torch.nn.functional.pad(read.look[:, 0], (1, 0), value=torch.nan)
    key = torch.nn.functional.pad(read.key[:, 0], (1, 0))
    readings = Readings((), *(torch.empty(0),) * 4)
    tokens_of = TokenSums(ids, places.bincount(), *sums)
    return Corpus(readings, read.shares[:, 0], even.shares[:, 0], look, key, tokens_of)


def test_a_head_that_looks_one_back_is_in_one_bin():
    n = 12
    pattern = torch.eye(n)[[max(0, q - 1) for q in range(n)]]
    found = head_on_text(by_hand(pattern, [7] * n))
    assert found.shares.mean.tolist() == pytest.approx([1 / (n - 1), 0, (n - 2) / (n - 1), 0, 0, 0, 0])
    assert [(one.query - one.key, one.value) for one in found.top] == [(1, 1.0)] * 10
    assert found.n_queries == n - 1
    assert len(found.tenths) == 10
    assert found.edges.tolist()[1:] == [1.0] * 10


def test_tokens_stand_out_by_what_an_even_pattern_would_give_them():
    """A head that looks at the places of one token alone, from those of another: both lifts by hand."""
    tokens = [0, *[1, 2, 3] * 6]
    n, at = len(tokens), torch.tensor(tokens)
    pattern = torch.zeros(n, n)
    pattern[:, 0] = 1
    for q in range(4, n):
        if tokens[q] == 2:
            allowed = (at == 1) & (torch.arange(n) <= q)
            pattern[q] = allowed / allowed.sum()
    found = head_on_text(by_hand(pattern, tokens))
    cells = [(q, k, 1 / (q + 1)) for q in range(1, n) for k in range(1, q + 1)]
    total = sum(value for *_, value in cells)
    asked = sum(value for q, _, value in cells if tokens[q] == 2)
    looked = sum(value for _, k, value in cells if tokens[k] == 1)
    assert found.from_tokens[0][::2] == (2, 6)
    assert [one.lift for one in found.from_tokens] == pytest.approx([total / asked, 0, 0])
    assert [one.lift for one in found.to_tokens] == pytest.approx([total / looked, 0, 0])
    assert found.to_tokens[0].id == 1


def test_a_text_of_a_few_tokens_has_looks_and_no_more_than_it_has_queries():
    found = head_on_text(by_hand(torch.eye(4), [0, 1, 2, 3]))
    assert [(one.query, one.key) for one in found.top] == [(1, 1), (2, 2), (3, 3)]
    assert sum(len(tenth) for tenth in found.tenths) == 3
    assert (found.from_tokens, found.shares.low) == ([], None)


def test_a_rare_token_has_no_lift_and_a_head_at_rest_has_none():
    tokens = [0, *[1] * 5, *[2] * 4]
    even = by_hand(even_pattern(text_layout(torch.tensor([tokens]), torch.ones(1, 10, dtype=torch.bool)))[0, 0], tokens)
    assert [one.id for one in token_lifts(even.tokens, even.tokens.gave, even.tokens.even_gave)] == [1]
    assert token_lifts(even.tokens, even.tokens.gave, even.tokens.even_gave)[0].lift == pytest.approx(1)
    rest = torch.zeros(10, 10)
    rest[:, 0] = 1
    found = head_on_text(by_hand(rest, tokens))
    assert (found.from_tokens, found.to_tokens) == ([], [])
    assert found.shares.mean.tolist() == pytest.approx([1, *[0] * len(found.bins)])


def test_a_text_of_ones_own_is_cut_into_pieces(with_tokenizer):
    words = "abc " * 10
    sample = own_text(with_tokenizer, f"{words}\n---\nxyz{words}", n=9, length=8, prepend_bos=False)
    written = [with_tokenizer.to_string(row[mask]) for row, mask in zip(*sample.texts)]
    second = next(place for place, piece in enumerate(written) if piece.startswith("xyz"))
    assert "".join(written[:second]) == words.strip()
    assert all(int(mask.sum()) == 8 for mask in sample.texts.mask[: second - 1])
    assert len(own_text(with_tokenizer, words * 9, n=2, length=16).texts.tokens) == 2
    with pytest.raises(ValueError, match="give a longer text"):
        own_text(with_tokenizer, "a", prepend_bos=False)


def test_what_cannot_be_read_is_said(model, texts):
    with pytest.raises(ValueError, match="pad on the right"):
        read_documents(model, TokenBatch(texts.tokens.flip(1), texts.mask.flip(1)))
    with pytest.raises(ValueError, match="texts of 1 to 1 tokens"):
        read_documents(model, TokenBatch(texts.tokens[:, :1], texts.mask[:, :1]))
    with pytest.raises(ValueError, match="no parts"):
        join([])


def test_selectivity_is_attention_to_marked_keys_over_that_to_as_many_others(model):
    tokens = torch.tensor([[3, 4, 5, 3, 6, 7]])
    texts = TokenBatch(tokens, torch.ones_like(tokens).bool())
    score, head = scores_on_text(read_documents(model, texts).readings, text(texts))["induction"], Head(1, 1)
    found = selectivity(score, head)
    assert found.ratio is None  # one document: whether the others get anything cannot be told
    pattern = head_patterns(model, tokens, [head]).pattern.reshape(6, 6)
    assert found.target == pytest.approx(float(pattern[3, 1]), abs=1e-5)  # after the 3 at 0, which query 3 reads again
    assert found.others == pytest.approx(float(pattern[3, 2]), abs=1e-5)  # the only other earlier key
    with pytest.raises(ValueError, match="no null"):
        selectivity(score._replace(null_per_sequence=None), head)


def test_a_ratio_takes_others_that_get_more_than_chance_alone_leaves(model):
    tokens = one_by_one([[3, 4, 5, 3, 6, 7]])
    one = scores_on_text(read_documents(model, tokens).readings, text(tokens))["induction"]
    null = torch.full((16, *one.score.mean.shape), 0.1) + torch.linspace(-0.01, 0.01, 16)[:, None, None]
    found = selectivity(one._replace(null_per_sequence=null), Head(1, 1))
    assert found.ratio == pytest.approx(found.target / 0.1, rel=1e-4)
    assert selectivity(one._replace(null_per_sequence=null[:15]), Head(1, 1)).ratio is None
    null[1:] = 0  # a mean above 0, of one document
    found = selectivity(one._replace(null_per_sequence=null), Head(1, 1))
    assert (found.others > 0, found.ratio) == (True, None)


def one_by_one(rows):
    tokens = torch.tensor(rows)
    return TokenBatch(tokens, torch.ones_like(tokens).bool())


def test_pieces_of_one_text_have_no_interval_and_no_verdict(with_tokenizer):
    words = "abc xyz " * 60
    sample = own_text(with_tokenizer, words, n=16, length=8)
    assert (len(sample.texts.tokens), set(sample.documents), sample.independent) == (16, {0}, "documents")
    assert "1 document; pieces of one document are not independent, so no interval" in sample.source
    read = read_documents(with_tokenizer, sample.text_batch())
    for score in scores_on_text(read.readings, sample).scores.values():
        assert (score.score.n, score.score.low, score.above) == (1, None, None)
    one = head_on_text(of_head(read, Head(0, 1)), sample.independent, documents=sample.documents)
    assert (one.shares.n, one.shares.low) == (1, None)
    assert one.shares.note == "no interval: 1 document, at least 16 are needed"
    assert one.shares.mean.tolist() == pytest.approx(head_on_text(of_head(read, Head(0, 1))).shares.mean.tolist())


def test_sixteen_documents_count_once_each_and_share_the_pieces(with_tokenizer):
    long, short = "abc xyz " * 40, "abc xyz abc"
    sample = own_text(with_tokenizer, "\n---\n".join([long, *[short] * 15]), n=20, length=12, prepend_bos=False)
    assert sorted(set(sample.documents)) == list(range(16))
    assert sample.documents == tuple(sorted(sample.documents))
    assert len(sample.documents) == 20
    read = read_documents(with_tokenizer, sample.text_batch())
    score = scores_on_text(read.readings, sample)["sink"].score
    readings, documents = read.readings.of("sink").score, torch.tensor(sample.documents)
    by_hand = torch.stack([readings[documents == number].mean(0) for number in range(16)]).mean(0)
    torch.testing.assert_close(score.mean, by_hand)
    assert (score.n, score.low is None) == (16, False)


def test_a_private_text_leaves_nothing_on_disk(model, texts, tmp_path):
    alike(private_part((0, 3), model, texts), read_documents(model, texts))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    corpus_part((0, 3), model, texts)
    assert [path for path in tmp_path.rglob("*") if path.name.startswith("corpus")]
