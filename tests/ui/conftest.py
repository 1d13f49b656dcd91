"""Small apps on disk whose pages use the real frame."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).parents[2]
REAL = "smollm2-135m-instruct"  # the real language model: tests of its numbers name it
HOME = """
from lens.ui.frame import frame
with frame("Home", question="Where do I begin?") as view:
    pass
"""


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
    """All HTML that the page drew, as one text."""
    return "\n".join(element.proto.body for element in at.get("html"))


def fine(at: AppTest) -> str:
    """All HTML of a page without errors."""
    assert not at.exception
    assert not at.error
    return html(at)


def local(page: str, folder: Path, **query: str) -> AppTest:
    """A page, not yet run, with the model in ``folder`` open under the folder's name."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    at.switch_page(f"pages/{page}.py")
    at.query_params.update({"model": f"local:{folder.name}"} | query)
    at.session_state["lens:paths"] = {f"local:{folder.name}": str(folder)}
    return at


def bound(elements: Sequence, name: str):
    """The one widget among ``elements`` that shows this field of the view: ``bound(at.selectbox, "query")``."""
    (found,) = (one for one in elements if re.fullmatch(rf"view:{name}(:\d+)?", one.key or ""))
    return found
