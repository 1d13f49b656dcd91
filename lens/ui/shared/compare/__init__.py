"""A second model, checkpoint or prompt beside the first.

A page calls ``compare`` (``section.py``) and says what to pair (``pairs.py``); ``asked.py`` is what the frame knows of
it. This file imports nothing: the frame comes before torch.
"""
