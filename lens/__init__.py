"""Lens: see, score, break and date the circuits inside transformer language models.

Names are loaded when they are first used, so that ``import lens`` costs nothing and pulls in no torch.
"""

import os
from importlib import import_module

# Read once, when torch is imported. A thread of torch that waits for another spins, by default for milliseconds: as
# soon as something else needs the core, small models take ten times as long. On an idle machine 20 µs are enough.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# The same for NumPy, whose matrices are small: on two threads their decompositions take three times the processor time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_HOME = {
    "ActivationCache": "lens.cache",
    "Config": "lens.config",
    "FactoredMatrix": "lens.factored",
    "Hooked": "lens.hooks",
    "HookedTransformer": "lens.hooked",
    "HookPoint": "lens.hooks",
    "Transformer": "lens.model",
    "show": "lens.showing",
    "sweep": "lens.sweeps.sweep",
    "watch": "lens.showing",
}
__all__ = [
    "ActivationCache",
    "Config",
    "FactoredMatrix",
    "HookPoint",
    "Hooked",
    "HookedTransformer",
    "Transformer",
    "show",
    "sweep",
    "watch",
]
__version__ = "0.1.0"


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'lens' has no attribute {name!r}; it has {', '.join(sorted(_HOME))}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
