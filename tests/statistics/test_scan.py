"""On models of random weights a scan finds something as seldom as is said."""

import pytest
import torch

from lens.analysis.scan import scan
from tests.statistics.random_models import models
from tests.statistics.rates import check_rate


@pytest.mark.parametrize("kind", ["gpt2-initial", "gpt2-shaken", "llama-shaken"])
def test_random_weights_have_nothing_to_find(kind):
    with torch.no_grad():
        check_rate([bool(scan(model, n=12, budget=0.0).found) for model in models(kind)])
