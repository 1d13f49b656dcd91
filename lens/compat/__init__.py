"""Notebooks written for TransformerLens run on Lens after one line: ``from lens import compat; compat.install()``.

``install`` makes ``transformer_lens`` and its module paths importable. Each is a module of Lens; the tables below
say which. What differs on purpose is in the docstring of :class:`lens.compat.transformer.HookedTransformer`, and here:

- ``hook_normalized`` is before the learned gain and bias of a norm (as in TransformerLens from 3.9 on; in 2.x it is
  after them in LayerNorm). On folded weights both are the same.
- ``from_pretrained`` does a processing step only where it is exact, and raises where it is asked for and is not; of
  ``refactor_factored_attn_matrices`` it does the OV half where positions act on QK, and prints that.
- ``accumulated_resid(apply_ln=True)`` normalises each stream by its own statistics; ``logit_attrs`` includes the
  gain of the final norm.
- The logits that a metric of ``patching`` gets are computed where it reads them; they behave as a tensor in all else.
- A field of a config that Lens does not compute is refused by its name; ``ignore=[name]`` opens the model without it.
"""

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

OLD = "transformer_lens"
VERSION = "2.18.0"  # of the library whose names these are

MODULES = {  # transformer_lens.… → module of Lens
    "ActivationCache": "lens.compat.cache",
    "FactoredMatrix": "lens.factored",
    "HookedTransformer": "lens.compat.transformer",
    "HookedTransformerConfig": "lens.compat.config",
    "components": "lens.compat.components",
    "evals": "lens.compat.evals",
    "head_detector": "lens.compat.head_detector",
    "hook_points": "lens.compat.hook_points",
    "loading_from_pretrained": "lens.compat.loading_from_pretrained",
    "past_key_value_caching": "lens.compat.past_key_value_caching",
    "patching": "lens.compat.patching",
    "utils": "lens.compat.utils",
}
NAMES = {  # from transformer_lens import … → where it is in Lens; a name alone is the module
    "ActivationCache": "lens.compat.cache:ActivationCache",
    "EasyTransformer": "lens.compat.transformer:HookedTransformer",
    "EasyTransformerConfig": "lens.compat.config:HookedTransformerConfig",
    "FactoredMatrix": "lens.factored:FactoredMatrix",
    "HookedRootModule": "lens.compat.hook_points:HookedRootModule",
    "HookedTransformer": "lens.compat.transformer:HookedTransformer",
    "HookedTransformerConfig": "lens.compat.config:HookedTransformerConfig",
    "HookedTransformerKeyValueCache": "lens.compat.past_key_value_caching:HookedTransformerKeyValueCache",
    "HookPoint": "lens.hooks:HookPoint",
    "components": "lens.compat.components",
    "evals": "lens.compat.evals",
    "head_detector": "lens.compat.head_detector",
    "hook_points": "lens.compat.hook_points",
    "loading": "lens.compat.loading_from_pretrained",
    "loading_from_pretrained": "lens.compat.loading_from_pretrained",
    "past_key_value_caching": "lens.compat.past_key_value_caching",
    "patching": "lens.compat.patching",
    "utils": "lens.compat.utils",
}


class _Package(ModuleType):
    """``transformer_lens`` itself: names are found when they are asked for."""

    def __getattr__(self, name: str) -> Any:
        if name not in NAMES:
            raise AttributeError(f"Lens has no {OLD}.{name}. It has {', '.join(sorted(NAMES))}.")
        module, _, attribute = NAMES[name].partition(":")
        found = importlib.import_module(module)
        return getattr(found, attribute) if attribute else found

    def __dir__(self) -> list[str]:
        return sorted([*self.__dict__, *NAMES])


def install() -> None:
    """Make ``import transformer_lens`` and ``import transformer_lens.utils`` mean Lens, in this process.

    RuntimeError if the real library was imported already: restart Python, and call this first.
    """
    if isinstance(sys.modules.get(OLD), _Package):
        return
    if OLD in sys.modules:
        raise RuntimeError(f"{OLD} was imported already. Restart Python and call lens.compat.install() before it.")
    package = _Package(OLD, __doc__)
    package.__path__, package.__version__ = [], VERSION
    package.__spec__ = ModuleSpec(OLD, None, is_package=True)
    package.__all__ = sorted(NAMES)
    sys.modules[OLD] = package
    for old, new in MODULES.items():
        sys.modules[f"{OLD}.{old}"] = importlib.import_module(new)


def uninstall() -> None:
    """Take back :func:`install`; objects that were imported stay."""
    if isinstance(sys.modules.get(OLD), _Package):
        for name in [name for name in sys.modules if name == OLD or name.startswith(f"{OLD}.")]:
            del sys.modules[name]
