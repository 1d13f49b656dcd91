"""What Python's collector of cyclic garbage has to look through after every view.

Streamlit would collect all garbage after each run of a page (``runner.postScriptGC``, off in ``.streamlit``). With
torch, transformers and plotly in memory that takes a quarter of a second, most of it for modules and classes that live
as long as the process. They are set aside here, and many visitors share one collection.
"""

import gc
import time

EVERY = 5.0  # seconds between two collections, at least
_last = 0.0  # when the last one was, on the monotonic clock


def set_aside() -> None:
    """Collect once, then leave everything that is alive now out of later collections.

    What was set aside before is looked through again first, so that the memory of a model that went comes back.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def tidy() -> None:
    """Collect what views left behind, unless that was done a moment ago."""
    global _last
    if time.monotonic() - _last > EVERY:
        _last = time.monotonic()
        gc.collect()
