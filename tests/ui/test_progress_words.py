import ast
from pathlib import Path

from lens.ui.progress_words import WORDS, words_of

UI = Path(__file__).parents[2] / "lens" / "ui"


def test_all_that_has_words_is_used_by_a_page():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in UI.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    assert not set(WORDS) - names


def test_words_say_how_many_parts():
    def text_attention():
        pass

    def of_nobody_of():
        pass

    assert words_of(text_attention) == "Attention of every head on the text"
    assert words_of(text_attention, 12) == "Attention of every head on the text, 12 parts"
    assert words_of(of_nobody_of) == "Of nobody"
