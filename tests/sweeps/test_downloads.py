"""Checkpoints of the Hub in a sweep: the next come while those before are used, few stay, nothing else is deleted."""

import threading

import pytest

from lens.analysis.checkpoint import Setting
from lens.analysis.training_run import TrainingRun
from lens.load.checkpoints import checkpoints
from lens.load.sources import locate
from lens.progress import silent
from lens.sweeps.downloads import Fetched, commits, delete_commit, fetched_ahead
from lens.sweeps.sweep import measure, plan, request, sweep
from tests.load.fake_hub import FakeHub

SETTING = Setting(n=12, seqs=16, seed=3, texts=2)
HUB_ID = "someone/run"


class Disk:
    """Checkpoints that are on a disk, by name, and the most there ever were."""

    def __init__(self, lost=(), here=()):
        self.names, self.most, self.lost, self.here = [], 0, lost, here
        self.came = {index: threading.Event() for index in range(10)}

    def fetch(self, index, progress):
        progress(0.5, "downloading")
        if index in self.lost:
            raise ConnectionError("The Hub cannot be reached.")
        if index in self.here:
            return ""
        self.names.append(str(index))
        self.most = max(self.most, len(self.names))
        self.came[index].set()
        return str(index)

    def forget(self, name):
        self.names.remove(name)


@pytest.mark.parametrize(("keep", "width"), [(None, 2), (1, 1), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_at_most_so_many_are_on_the_disk_and_the_next_come_meanwhile(keep, width):
    disk = Disk()
    groups = []
    for group in fetched_ahead(range(7), 2, disk.fetch, disk.forget, keep):
        assert all(str(one.index) in disk.names for one in group)
        following = group[-1].index + 1
        if following < 7 and keep != 1:
            assert disk.came[following].wait(10)  # while this group is in use
        groups.append(len(group))
    assert max(groups) == width
    assert disk.most <= (keep or 7)
    assert len(disk.names) == min(keep or 7, disk.most)


def test_one_that_does_not_come_is_lost_by_itself_and_what_was_here_is_not_deleted():
    disk = Disk(lost=(1,), here=(2,))
    seen = [one for group in fetched_ahead(range(4), 1, disk.fetch, disk.forget, 1) for one in group]
    assert seen == [Fetched(0, "0"), Fetched(1, lost="The Hub cannot be reached."), Fetched(2), Fetched(3, "3")]
    assert disk.names == ["3"]


def test_a_sweep_that_ends_stops_its_download():
    ended = threading.Event()

    def fetch(index, progress):
        while index:
            try:
                progress(0.1, "downloading")
            except Exception:
                ended.set()
                raise
        return ""

    groups = fetched_ahead([0, 1], 1, fetch, lambda name: None, None)
    next(groups)
    groups.close()
    assert ended.is_set()


@pytest.fixture
def hub(monkeypatch, tmp_path, folder):
    """A Hub with a run of five revisions, and an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    hub = FakeHub()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    address = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address)
    for path in folder.iterdir():
        hub.add(HUB_ID, path, path.name.replace("checkpoint-", "step"))
    yield hub
    hub.close()


def test_a_sweep_of_the_hub_keeps_two_deletes_only_its_own_and_needs_none_the_second_time(hub, run, monkeypatch):
    far = checkpoints(HUB_ID, "step{step}")
    locate(far.entry, None, silent, checkpoint=(far, far.at(1)))  # the user's own
    own = commits(HUB_ID)
    asked = request(far, ["sink"], "all", SETTING, keep=2)
    made = plan(asked)
    assert (made.away, made.keep) == (4, 2)
    assert made.download > 4 * 10_000
    result = measure(asked)
    assert result.lost == ()
    left = commits(HUB_ID)
    assert len(left) == 3
    assert own < left
    want = sweep(run, ["sink"], "all", SETTING).frame()
    assert result.frame()["value"].tolist() == pytest.approx(want["value"].tolist(), abs=1e-6)
    for commit in left - own:
        assert delete_commit(HUB_ID, commit) > 0
    served = len(hub.served)
    monkeypatch.setattr(TrainingRun, "_opened", lambda self: pytest.fail("a model was opened"))
    assert sweep(far, ["sink"], "all", SETTING).frame().equals(result.frame())
    assert len(hub.served) == served
    assert commits(HUB_ID) == own


def test_a_network_that_is_lost_loses_what_has_not_come_and_the_next_sweep_goes_on(hub, run):
    far = checkpoints(HUB_ID, "step{step}")
    asked = request(far, ["sink"], "0,1,2", SETTING, curves=False)

    def fetch(index, progress):
        if index == asked.jobs[1].index:
            raise ConnectionError("The Hub cannot be reached.")
        locate(far.entry, None, progress, checkpoint=(far, far.at(index)))
        return ""

    result = measure(asked, fetch=fetch)
    (lost,) = result.lost
    assert lost.endswith("is not here: The Hub cannot be reached.")
    assert sorted(result.frame()["status"].unique()) == [lost, "measured"]
    assert plan(asked).measured == 2
    assert sweep(far, ["sink"], "0,1,2", SETTING, curves=False).lost == ()


def test_deleting_what_is_not_there_deletes_nothing(hub):
    assert commits(HUB_ID) == set()
    assert delete_commit(HUB_ID, "0" * 40) == 0
