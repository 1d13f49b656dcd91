"""What Python's collector of cyclic garbage has to look through after every view.

Streamlit collects all garbage after each run of a page. With torch, transformers and plotly in memory that takes a
quarter of a second, most of it for modules and classes that live as long as the process. They are set aside here.
"""

import gc


def set_aside() -> None:
    """Collect once, then leave everything that is alive now out of later collections.

    What was set aside before is looked through again first, so that the memory of a model that went comes back.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
