"""Small apps on disk whose pages use the real frame."""

import contextlib
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.helpers import hf_llama
from tests.load.models import save

ROOT = Path(__file__).parents[2]
REAL = "smollm2-135m-instruct"  # the real language model: tests of its numbers name it
HOME = """
from lens.ui.frame import frame
with frame("Home", question="Where do I begin?") as view:
    pass
"""


def llama_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any, **sizes: int) -> Path:
    """A folder "tiny" with a shaken LLaMA of three layers of four heads."""
    model = hf_llama(**{"vocab_size": len(tokenizer)} | sizes)
    return save(model, tmp_path_factory.mktemp("model") / "tiny", tokenizer)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    """:func:`llama_folder`, two of whose heads share keys and values, that reads 90 tokens."""
    return llama_folder(tmp_path_factory, tokenizer, num_key_value_heads=2, max_position_embeddings=90)


@pytest.fixture
def app(tmp_path: Path) -> Callable[..., AppTest]:
    """``app(home_body, pages={"tokens": script})``: an AppTest of a folder with these pages, not yet run."""

    def build(home: str = HOME, **pages: str) -> AppTest:
        (tmp_path / "pages").mkdir(exist_ok=True)
        (tmp_path / "app.py").write_text(home, encoding="utf-8")
        for name, script in pages.items():
            (tmp_path / "pages" / f"{name}.py").write_text(script, encoding="utf-8")
        return AppTest.from_file(str(tmp_path / "app.py"), default_timeout=60)

    return build


def html(at: AppTest) -> str:
    """All HTML that the page drew, as one text without links and marks of terms, so that sentences are whole."""
    drawn = "\n".join(element.proto.body for element in at.get("html"))
    return re.sub(r'<(a class="lens-go"|dfn class="lens-term")[^>]*>([^<]*)</(?:a|dfn)>', r"\2", drawn)


def python_of(at: AppTest) -> list[str]:
    """The programs that a page offers, from top to bottom."""
    return [block.value for block in at.code if block.language == "python"]


def fine(at: AppTest) -> str:
    """All HTML of a page without errors."""
    assert not at.exception
    assert not at.error, [error.value for error in at.error]
    return html(at)


def markdown(at: AppTest) -> str:
    """All Markdown that the page drew, as one text."""
    return " ".join(element.value for element in at.markdown)


def printed(code: str) -> str:
    """What a script prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, {})
    return out.getvalue()


def app_page(page: str, /, **query: str) -> AppTest:
    """A page of the app, not yet run; ``page`` is "" for Home."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180)
    if page:
        at.switch_page(f"pages/{page}.py")
    at.query_params.update(query)
    return at


def local(page: str, folder: Path, /, **query: str) -> AppTest:
    """A page, not yet run, with the model in ``folder`` open under the folder's name."""
    at = app_page(page, **{"model": f"local:{folder.name}"} | query)
    at.session_state["lens:paths"] = {f"local:{folder.name}": str(folder)}
    return at


def bound(elements: Sequence, name: str):
    """The one widget among ``elements`` that shows this field of the view: ``bound(at.selectbox, "query")``."""
    (found,) = (one for one in elements if re.fullmatch(rf"view:{name}(:\d+)?", one.key or ""))
    return found
