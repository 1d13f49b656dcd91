"""Properties that are computed once: no page waits for another's."""

import threading
from pathlib import Path

import lens.ui
from lens.ui.once import once


class Thing:
    meeting = threading.Barrier(2)
    reads = 0

    @once
    def value(self):
        """What both compute."""
        self.reads += 1
        return self.meeting.wait(5)


def test_two_things_compute_theirs_at_once_and_each_only_once():
    things = [Thing(), Thing()]
    threads = [threading.Thread(target=lambda thing=thing: thing.value) for thing in things]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(6)
    assert sorted(thing.value for thing in things) == [0, 1]
    assert [thing.reads for thing in things] == [1, 1]
    assert Thing.value.__doc__ == "What both compute."


def test_pages_hold_no_lock_while_they_compute():
    files = Path(lens.ui.__file__).parent.rglob("*.py")
    assert not [file for file in files if "import cached_property" in file.read_text(encoding="utf-8")]
