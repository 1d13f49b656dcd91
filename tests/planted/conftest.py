import pytest

from lens import HookedTransformer
from lens.planted.plants import NAMES


@pytest.fixture(scope="session")
def planted() -> dict[str, HookedTransformer]:
    """All planted models by name."""
    return {name: HookedTransformer.from_pretrained(name) for name in NAMES}
