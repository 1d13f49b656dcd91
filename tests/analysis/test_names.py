import pytest

from lens.analysis.names import Head, parse_head, parse_heads
from lens.config import Config

CFG = Config(n_layers=20, n_heads=9, d_model=8, d_head=4, d_vocab=5, n_ctx=4)


def test_labels_parse_back():
    heads = [Head(*divmod(i, 9)) for i in range(180)]
    assert [str(head) for head in heads[:2]] == ["0.0", "0.1"]
    assert [parse_head(str(head), CFG) for head in heads] == heads


@pytest.mark.parametrize("text", ["18.6", "L18H6", "l18h6", " 18h6 "])
def test_ways_to_write_a_head(text):
    assert parse_head(text, CFG) == Head(18, 6)
    assert str(parse_head(text, CFG)) == "18.6"


@pytest.mark.parametrize("text", ["20.0", "0.9", "18", "18.6.1", "-1.2", "a.b", "", "¹.²", "0.00000"])
def test_heads_that_do_not_exist_are_refused(text):
    with pytest.raises(ValueError, match="head"):
        parse_head(text, CFG)


def test_lists_keep_their_order_and_drop_repeats():
    assert parse_heads("18.6, 17.3 18.6,,0.0", CFG) == [Head(18, 6), Head(17, 3), Head(0, 0)]
    assert parse_heads("", CFG) == []
