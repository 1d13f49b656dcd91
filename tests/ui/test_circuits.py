import json
import re
import subprocess
import sys

import numpy as np
import pytest

from lens.ui import circuitsvis
from lens.ui import circuitsvis_bundle as bundle

NASTY = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "&lt;img src=x&gt;",
    'render("a", B, {"c": 1}',
    "\n",
]


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def heads(tokens, **kwargs):
    from circuitsvis.attention import attention_heads

    attention = circuitsvis.rounded(np.full((2, len(tokens), len(tokens)), 1 / 3))
    return attention_heads(tokens=tokens, attention=attention, attention_head_names=["0.1", "<b>"], **kwargs)


def test_extraction_finds_the_element_and_every_token_whatever_it_holds():
    element, props = circuitsvis.extract(heads(NASTY).cdn_src)
    assert element == "AttentionHeads"
    assert [token.replace(circuitsvis.WORD_JOINER, "") for token in props["tokens"]] == NASTY
    assert np.shape(props["attention"]) == (2, 5, 5)


def test_no_string_can_start_a_tag_or_an_entity():
    _, props = circuitsvis.extract(heads(NASTY, positive_color="<x&y").cdn_src)
    found = list(strings(props))
    assert len(found) >= 8
    assert not any(re.search(r"[<&](?!\u2060)", text) for text in found)


def test_strings_are_made_safe_beside_numbers_too():
    assert circuitsvis.safe([1.0, "<"]) == [1.0, "<\u2060"]
    assert circuitsvis.safe({"a&": [["<"], [0.5]]}) == {"a&\u2060": [["<\u2060"], [0.5]]}


def test_numbers_are_short():
    _, props = circuitsvis.extract(heads(["a", "b"]).cdn_src)
    assert "0.3333," in json.dumps(props["attention"])
    assert "0.33333" not in json.dumps(props["attention"])


def test_a_source_without_the_call_is_refused():
    with pytest.raises(ValueError, match="No render"):
        circuitsvis.extract("<div>nothing</div>")


def test_shapes_are_checked_before_anything_is_drawn():
    with pytest.raises(ValueError, match=r"\(2, 3, 3\) for 4 tokens"):
        circuitsvis.attention_patterns(list("abcd"), np.zeros((2, 3, 3)), key="k")
    with pytest.raises(ValueError, match="1 names for 2 heads"):
        circuitsvis.attention_heads(list("abc"), np.zeros((2, 3, 3)), ["0.0"], key="k")


def test_the_bundle_is_copied_once_whole_and_under_its_version(tmp_path):
    name = circuitsvis.ensure_bundle(tmp_path / "static")
    target = tmp_path / "static" / name
    assert re.fullmatch(r"circuitsvis-[\d.]+\.js", name)
    assert "CircuitsVis" in target.read_text(encoding="utf-8")[:100]
    first = target.stat()
    assert circuitsvis.ensure_bundle(tmp_path / "static") == name
    assert target.stat().st_mtime_ns == first.st_mtime_ns
    assert [path.name for path in target.parent.iterdir()] == [name]


def test_importing_the_module_does_not_import_torch():
    code = "import sys, lens.ui.circuitsvis; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_importing_every_figure_imports_neither_torch_nor_streamlit():
    modules = ", ".join(
        f"lens.figures.{n}" for n in ("grid", "matrix", "thumbnails", "strip", "lines", "scatter", "theme")
    )
    code = f"import sys, {modules}; sys.exit(bool({{'torch', 'streamlit'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


PAGE = """
import numpy as np
from lens.ui import circuitsvis
from lens.ui import circuitsvis_bundle as bundle

attention = np.tril(np.ones((2, 3, 3)))
circuitsvis.attention_patterns(list("abc"), attention, ["0.0", "0.1"], key="a")
circuitsvis.attention_heads(list("abc"), attention, ["0.0", "0.1"], key="b")
"""


def test_a_page_draws_every_view_and_puts_the_bundle_beside_its_script(tmp_path):
    from streamlit.testing.v1 import AppTest

    (tmp_path / "app.py").write_text(PAGE)
    app = AppTest.from_file(tmp_path / "app.py", default_timeout=60).run()
    assert not app.exception
    assert len(app.get("bidi_component")) == 2
    assert len(list((tmp_path / "static").glob("circuitsvis-*.js"))) == 1


def test_the_bundle_is_written_in_our_words_or_refused():
    passages = "".join(old * (1 + (old in bundle.TWICE)) for old in bundle.PASSAGES)
    ours = bundle.in_our_words(passages)
    assert "Source" not in ours
    assert '"query"' in ours
    with pytest.raises(ValueError, match=r"0 times 'function Rgt"):
        bundle.in_our_words(passages.replace("function Rgt", ""))


def test_every_head_has_its_hue_in_the_maps():
    from lens.figures.theme import head_colours

    assert circuitsvis.hues(head_colours([(0, 0)]), 1) == [[12, 132, 250]]
    assert circuitsvis.hues(["#000000", "#ffffff"], 3) == [[0, 0, 0], [255, 255, 255], [0, 0, 0]]
