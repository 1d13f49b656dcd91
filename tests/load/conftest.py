import pytest

from tests.load.fake_hub import FakeHub


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


@pytest.fixture
def fake_hub(monkeypatch):
    """An empty Hub that huggingface_hub talks to in place of the real one."""
    hub = FakeHub()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1024)
    yield hub
    hub.close()


@pytest.fixture
def no_network(monkeypatch):
    """The Hub cannot be reached."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
