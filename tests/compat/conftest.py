import pytest
import torch

from lens import compat
from lens.compat.config import HookedTransformerConfig
from lens.compat.transformer import HookedTransformer

SMALL = {"n_layers": 2, "d_model": 32, "n_ctx": 64, "d_head": 8, "device": "cpu", "seed": 0}


@pytest.fixture
def installed():
    """``transformer_lens`` importable for one test."""
    compat.install()
    yield
    compat.uninstall()


def shake(model: HookedTransformer) -> HookedTransformer:
    """No bias 0, no gain 1, attention far from flat."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        for block in model.blocks:
            block.attn.W_Q *= 3
    return model.eval()


@pytest.fixture(scope="session")
def classic(tokenizer):
    """A shaken two-layer classic model with a tokenizer."""
    return shake(HookedTransformer(HookedTransformerConfig(**SMALL, act_fn="gelu_new"), tokenizer))


@pytest.fixture(scope="session")
def attn_only(tokenizer):
    """A shaken two-layer classic model without MLPs."""
    return shake(HookedTransformer(HookedTransformerConfig(**SMALL, attn_only=True), tokenizer))


@pytest.fixture(scope="session")
def grouped(tiny_llama):
    """The classic face of a model in which two query heads share keys and values."""
    return HookedTransformer.of(tiny_llama)


@pytest.fixture(params=["classic", "attn_only", "grouped"])
def each(request):
    """Each of the three in turn."""
    return request.getfixturevalue(request.param)
