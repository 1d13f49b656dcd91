from functools import cache

import pytest
import torch

from tests.families.variants import VARIANTS
from tests.helpers import in_lens


@cache
def hf_of(variant: str):
    return VARIANTS[variant]()


@cache
def lens_of(variant: str):
    return in_lens(hf_of(variant))


@pytest.fixture(params=VARIANTS)
def variant(request):
    return request.param


@pytest.fixture
def hf(variant):
    """Hugging Face's model, made once and changed by nobody."""
    return hf_of(variant)


@pytest.fixture
def model(variant):
    """The same in Lens, made once and changed by nobody."""
    return lens_of(variant)


@pytest.fixture
def tokens():
    return torch.randint(0, 110, (2, 17), generator=torch.Generator().manual_seed(1))
