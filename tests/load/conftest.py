import pytest


@pytest.fixture(autouse=True)
def caches(monkeypatch, tmp_path):
    """No test reads or writes the caches of the person who runs it."""
    monkeypatch.setenv("LENS_CACHE", str(tmp_path / "lens-cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    return tmp_path


@pytest.fixture
def stages():
    """Give ``stages.append``-like progress: calling it records, ``texts`` are the stages in order without repeats."""
    return Stages()


class Stages:
    def __init__(self):
        self.seen = []

    def __call__(self, fraction, text):
        assert 0 <= fraction <= 1
        self.seen.append((fraction, text))

    @property
    def texts(self):
        return list(dict.fromkeys(text for _, text in self.seen))

    @property
    def fractions(self):
        return [fraction for fraction, _ in self.seen]
