"""What papers call heads, in tables: only where any of the heads is described, and never of a checkpoint."""

import pandas as pd

from lens.ui.shared.known import COLUMN, with_roles

ROWS = pd.DataFrame({"layer": [9, 10, 0], "index": [9, 7, 0]})


def test_a_table_of_a_described_model_names_its_heads():
    roles = with_roles({"model": "gpt2", "revision": ""}, ROWS)[COLUMN].tolist()
    both = "negative name mover (Wang et al. 2022); copy suppression (McDougall et al. 2023)"
    assert roles == ["name mover (Wang et al. 2022)", both, ""]


def test_other_tables_stay_as_they_are():
    for model, revision in (("lens-2l", ""), ("gpt2", "checkpoint-100"), ("planted-induction", "")):
        assert COLUMN not in with_roles({"model": model, "revision": revision}, ROWS)
    assert COLUMN not in with_roles({"model": "gpt2", "revision": ""}, ROWS[2:])
