import pytest

from lens.load.checkpoints import checkpoints
from tests.analysis.runs import write_run


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("LENS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    return write_run(tmp_path_factory.mktemp("runs") / "run", tokenizer)


@pytest.fixture
def run(folder):
    return checkpoints(str(folder))
