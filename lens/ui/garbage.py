"""What Python's collector of cyclic garbage has to look through after every view.

Streamlit would collect all garbage after each run of a page (``runner.postScriptGC``, off in ``.streamlit``). With
torch, transformers and plotly in memory that takes a quarter of a second, most of it for modules and classes that live
as long as the process. They are set aside here, and many visitors share one collection. Python's own full collections,
which come in the middle of whatever makes many objects, are as slow and are left out.
"""

import gc
import time

EVERY = 5.0  # seconds between two collections, at least
SHARE = 0.02  # of the time, at most, goes into collections
NEVER = 1_000_000_000  # collections of younger objects before Python looks through all of them by itself
_next = 0.0  # when the next one may be, on the monotonic clock
_all = False  # whether it looks through what was set aside as well
gc.set_threshold(*gc.get_threshold()[:2], NEVER)


def set_aside() -> None:
    """Leave everything that is alive now out of later collections, but for the next.

    That one looks through all of it, so that the memory of a model that went comes back, and sets aside what is left.
    It is not now: a visitor waits for the page.
    """
    global _all
    gc.freeze()
    _all = True


def tidy() -> None:
    """Collect what views left behind, unless that was done a moment ago."""
    global _next, _all
    start = time.monotonic()
    if not _all and start < _next:
        return
    if _all:
        _all = False
        gc.unfreeze()
        gc.collect()
        gc.freeze()
    else:
        gc.collect()
    end = time.monotonic()
    _next = end + max(EVERY, (end - start) / SHARE)
