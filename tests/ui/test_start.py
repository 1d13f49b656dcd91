"""``streamlit run app.py`` in a fresh clone: it answers, and prints no warning."""

import shutil
from pathlib import Path

from tests.browser.conftest import streamlit_server

ROOT = Path(__file__).parents[2]


def fresh_clone(folder: Path) -> Path:
    """What a clone holds that Streamlit reads at start: of ``static`` no more than version control keeps."""
    for name in (".streamlit", "pages"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "app.py", folder)
    kept = ROOT / "static" / ".gitignore"
    (folder / "static").mkdir()
    shutil.copy(kept, folder / "static")
    return folder


def test_a_start_from_a_fresh_clone_prints_no_warning(tmp_path):
    folder = fresh_clone(tmp_path)
    with streamlit_server(folder / "app.py", {}, cwd=folder):
        pass
    log = (folder / ".server.log").read_text(encoding="utf-8")
    assert "started" in log
    assert "warning" not in log.lower()


def test_version_control_keeps_the_folder_and_nothing_that_is_copied_into_it():
    assert not any("static" in line for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines())
    rules = (ROOT / "static" / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert [rule for rule in rules if not rule.startswith("#")] == ["*", "!.gitignore"]
