"""The small functions of ``transformer_lens.utils``, on cases worked out by hand."""

import numpy as np
import pytest
import torch

from lens import FactoredMatrix
from lens.compat import utils
from lens.compat.datasets import TokenDataset


def test_arrays_and_corners():
    x = torch.arange(12.0, requires_grad=True).reshape(3, 4)
    assert isinstance(utils.to_numpy(x), np.ndarray)
    assert utils.to_numpy([1, 2]).tolist() == [1, 2]
    assert utils.to_numpy(3) == 3
    assert utils.get_corner(x, 2).tolist() == [[0, 1], [4, 5]]
    factored = FactoredMatrix(torch.eye(3), torch.eye(3))
    assert utils.get_corner(factored, 2).tolist() == [[1, 0], [0, 1]]
    assert utils.remove_batch_dim(torch.zeros(1, 3)).shape == (3,)
    assert utils.remove_batch_dim(torch.zeros(2, 3)).shape == (2, 3)
    assert utils.transpose(torch.zeros(2, 3, 4)).shape == (2, 4, 3)
    assert utils.get_act_name("scale4ln1") == "blocks.4.ln1.hook_scale"
    assert utils.get_cumsum_along_dim(torch.tensor([1, 2, 3]), 0, reverse=True).tolist() == [6, 5, 3]
    assert utils.is_lower_triangular(torch.ones(3, 3).tril())
    assert not utils.is_lower_triangular(torch.ones(3, 3))
    assert utils.get_device().type in ("cpu", "cuda", "mps")


def test_activation_functions():
    x = torch.linspace(-3, 3, 13)
    want = 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))
    torch.testing.assert_close(utils.gelu_new(x), want)
    torch.testing.assert_close(utils.solu(x), x * x.exp() / x.exp().sum())
    assert utils.ACTIVATION_FN_DICT["gelu_fast"] is utils.gelu_fast


def test_loss_and_accuracy():
    """Probabilities 1/2, 1/4, 1/4 of three tokens, the same everywhere."""
    logits = torch.tensor([0.5, 0.25, 0.25]).log().expand(1, 4, 3)
    tokens = torch.tensor([[1, 0, 2, 0]])
    two = torch.log(torch.tensor(2.0))
    torch.testing.assert_close(
        utils.lm_cross_entropy_loss(logits, tokens, per_token=True)[0], torch.stack([two, 2 * two, two])
    )
    torch.testing.assert_close(utils.lm_cross_entropy_loss(logits, tokens), 4 * two / 3)
    mask = torch.tensor([[1, 1, 1, 0]])
    torch.testing.assert_close(utils.lm_cross_entropy_loss(logits, tokens, mask), 3 * two / 2)
    assert utils.lm_accuracy(logits, tokens, per_token=True).tolist() == [[True, False, True]]
    torch.testing.assert_close(utils.lm_accuracy(logits, tokens), torch.tensor(2 / 3))


def test_sampling():
    torch.manual_seed(0)
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    assert utils.sample_logits(logits, temperature=0.0).tolist() == [0]
    many = logits.repeat(4000, 1)
    counts = utils.sample_logits(many).bincount(minlength=4) / 4000
    torch.testing.assert_close(counts, torch.tensor([0.4, 0.3, 0.2, 0.1]), atol=0.03, rtol=0)
    assert set(utils.sample_logits(many, top_k=2).tolist()) == {0, 1}
    assert set(utils.sample_logits(many, top_p=0.5).tolist()) == {0, 1}
    seen = torch.tensor([[0, 0, 1]]).repeat(4000, 1)
    drawn = utils.sample_logits(many, freq_penalty=1000.0, tokens=seen)
    assert set(drawn.tolist()) == {2, 3}
    with pytest.raises(ValueError, match="give tokens"):
        utils.sample_logits(logits, freq_penalty=1.0)


def test_composition_scores_of_pairs_or_of_all():
    left, right = (FactoredMatrix(torch.randn(3, 8, 2), torch.randn(3, 2, 8)) for _ in range(2))
    every, pairs = utils.composition_scores(left, right), utils.composition_scores(left, right, broadcast_dims=False)
    assert every.shape == (3, 3)
    torch.testing.assert_close(every.diagonal(), pairs)


def test_texts_become_rows(tokenizer):
    texts = [{"text": "the cat sat on the mat. " * 4}, {"text": "a b c. " * 5}]
    rows = utils.tokenize_and_concatenate(texts, tokenizer, max_length=10)
    assert isinstance(rows, TokenDataset)
    ids = [tokenizer.encode(row["text"], add_special_tokens=False) for row in texts]
    stream = [*ids[0], tokenizer.eos_token_id, *ids[1]]
    assert rows["tokens"][:, 0].unique().tolist() == [tokenizer.bos_token_id]
    assert rows["tokens"][:, 1:].flatten().tolist() == stream[: len(rows) * 9]
    assert len(stream) - len(rows) * 9 < 9
    assert torch.equal(rows[1]["tokens"], rows["tokens"][1])
    assert rows[:2]["tokens"].shape == (2, 10)
    assert sorted(rows.shuffle(3)["tokens"].tolist()) == sorted(rows["tokens"].tolist())
    assert torch.equal(rows.select([1])["tokens"][0], rows["tokens"][1])
    bare = utils.tokenize_and_concatenate(["the cat", "sat"], tokenizer, max_length=3, add_bos_token=False)
    assert bare["tokens"].shape[1] == 3
    with pytest.raises(ValueError, match="Lower max_length"):
        utils.tokenize_and_concatenate(["a"], tokenizer)
    with pytest.raises(KeyError, match="text"):
        rows["text"]


@torch.no_grad()
def test_prompts_are_rated_against_a_sort(classic, capsys):
    prompt, answer = "the cat sat on the", "mat"
    frame = utils.test_prompt(prompt, answer, classic)
    pieces = classic.to_str_tokens(" mat", prepend_bos=False)
    assert frame["token"].tolist() == pieces
    tokens = torch.cat([classic.to_tokens(prompt), classic.to_tokens(" mat", prepend_bos=False)], 1)
    logits = classic(tokens)[0, -1 - len(pieces)]
    first = tokens[0, -len(pieces)]
    assert frame["rank"][0] == logits.argsort(descending=True).tolist().index(first.item())
    assert frame["prob"][0] == pytest.approx(logits.softmax(-1)[first].item())
    printed = capsys.readouterr().out
    assert "Ranks of the answer tokens" in printed
    assert "Top 9th token" in printed
    two = utils.test_prompt(prompt, ["mat", "cat"], classic, print_details=False, prepend_space_to_answer=False)
    assert two["answer"].tolist() == ["mat", "cat"]
    assert "Top" not in capsys.readouterr().out


def test_attributes_by_name(classic):
    assert utils.get_nested_attr(classic, "blocks.1.attn.W_Q") is classic.blocks[1].attn.W_Q
    utils.set_nested_attr(classic, "blocks.1.remark", 3)
    assert classic.blocks[1].remark == 3


def test_a_loss_of_half_logits_is_taken_in_float32():
    logits = torch.zeros(1, 3, 50000, dtype=torch.float16)
    tokens = torch.zeros(1, 3, dtype=torch.long)
    assert utils.lm_cross_entropy_loss(logits, tokens) == torch.tensor(50000.0).log()
