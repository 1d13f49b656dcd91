import ast
from pathlib import Path

from lens.ui.progress_words import WORDS, words_of

UI = Path(__file__).parents[2] / "lens" / "ui"


def computed(tree: ast.AST) -> set[str]:
    """Names of the functions that are handed to ``analyse`` and ``sweep``."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    first = [node.args[0] for node in calls if node.func.id in ("analyse", "sweep") and node.args]
    named = [node for node in first if isinstance(node, (ast.Attribute, ast.Name))]
    return {node.attr if isinstance(node, ast.Attribute) else node.id for node in named}


def test_all_that_is_computed_has_words():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in UI.rglob("*.py")]
    names = set().union(*map(computed, trees))
    assert len(names) > 50
    assert names - {"function"} <= set(WORDS)  # handed on by a helper


def test_words_say_how_many_parts():
    def text_attention():
        pass

    def of_nobody_of():
        pass

    assert words_of(text_attention) == "Attention of every head on the text"
    assert words_of(text_attention, 12) == "Attention of every head on the text, 12 parts"
    assert words_of(of_nobody_of) == "Of nobody"
