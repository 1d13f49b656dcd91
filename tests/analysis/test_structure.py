"""Every field of a config has a meaning and a place, and what a structure does not use is left out."""

from dataclasses import fields

from lens.analysis.structure import GROUPS, MEANINGS, unused
from lens.config import Config
from tests.analysis.shaken import SIZES


def test_every_field_is_explained_once_and_has_one_place():
    names = [field.name for field in fields(Config)]
    assert sorted(MEANINGS) == sorted(names)
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(names)


def test_what_says_nothing_of_a_structure_is_left_out():
    assert "rotary_base" in unused(Config(**SIZES))
    assert "rotary_base" not in unused(Config(**SIZES, positions="rotary"))
    assert set(unused(Config(**(SIZES | {"d_mlp": 0, "norm": None})))) >= {"act_fn", "norm_eps"}
