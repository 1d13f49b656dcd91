"""One line makes the old names importable; nothing before it needs torch."""

import importlib
import subprocess
import sys

import pytest

from lens import compat


def test_every_old_path_is_a_module_of_lens(installed):
    package = importlib.import_module("transformer_lens")
    for old, new in compat.MODULES.items():
        assert importlib.import_module(f"transformer_lens.{old}") is importlib.import_module(new)
    for name, place in compat.NAMES.items():
        module, _, attribute = place.partition(":")
        found = importlib.import_module(module)
        assert getattr(package, name) is (getattr(found, attribute) if attribute else found)
        assert name in dir(package)


def test_the_ways_to_import(installed):
    import transformer_lens
    import transformer_lens.utils as utils
    from transformer_lens import ActivationCache, FactoredMatrix, HookedTransformer, HookedTransformerConfig, patching
    from transformer_lens.ActivationCache import ActivationCache as Cache
    from transformer_lens.hook_points import HookedRootModule, HookPoint
    from transformer_lens.HookedTransformer import HookedTransformer as Model
    from transformer_lens.loading_from_pretrained import get_checkpoint_labels

    assert transformer_lens.HookedTransformer is HookedTransformer is Model
    assert transformer_lens.utils is utils
    assert Cache is ActivationCache
    assert all((FactoredMatrix, HookedTransformerConfig, patching, HookedRootModule, HookPoint, get_checkpoint_labels))
    namespace = {}
    exec("from transformer_lens import *", namespace)
    assert namespace["HookedTransformer"] is Model
    assert importlib.util.find_spec("transformer_lens") is not None


def test_what_is_not_there_is_said(installed):
    import transformer_lens

    with pytest.raises(AttributeError, match=r"no transformer_lens\.HookedEncoder"):
        _ = transformer_lens.HookedEncoder
    with pytest.raises(ImportError):
        importlib.import_module("transformer_lens.SVDInterpreter")


def test_installing_twice_and_taking_it_back():
    compat.install()
    compat.install()
    compat.uninstall()
    compat.uninstall()
    assert "transformer_lens.utils" not in sys.modules
    sys.modules["transformer_lens"] = sys
    with pytest.raises(RuntimeError, match="Restart Python"):
        compat.install()
    compat.uninstall()
    del sys.modules["transformer_lens"]


def test_the_table_costs_nothing():
    code = "import sys; from lens import compat; assert 'torch' not in sys.modules, 'torch'"
    subprocess.run([sys.executable, "-c", code], check=True)
