import pytest
import torch

from lens.hooked import HookedTransformer
from tests.analysis.shaken import GROUPED, make_model


@pytest.fixture(scope="session", params=["learned", "grouped", "attn_only"])
def model(request) -> HookedTransformer:
    return make_model(**{"learned": {}, "grouped": GROUPED, "attn_only": {"d_mlp": 0}}[request.param])


@pytest.fixture(scope="session")
def grouped() -> HookedTransformer:
    return make_model(**GROUPED)


@pytest.fixture(scope="session")
def with_tokenizer(tokenizer) -> HookedTransformer:
    return make_model(tokenizer, d_vocab=len(tokenizer) + 8)


@pytest.fixture(scope="session")
def smollm2() -> HookedTransformer:
    return HookedTransformer.from_pretrained("smollm2-135m-instruct")


@pytest.fixture
def ragged():
    """Three texts of lengths 12, 7 and 2 with repeats, padded on a given side; the pads hold a token of the texts."""

    def make(side: str) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        torch.manual_seed(3)
        texts = [torch.cat([torch.zeros(1), torch.randint(1, 5, (n,))]).long() for n in (11, 6, 1)]
        tokens, mask = torch.full((3, 12), 2), torch.zeros(3, 12, dtype=torch.bool)
        for row, text in enumerate(texts):
            place = slice(12 - len(text), 12) if side == "left" else slice(len(text))
            tokens[row, place], mask[row, place] = text, True
        return tokens, mask, texts

    return make
