import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported; in the threads of pages, too

import pytest
import torch

from lens.tokens import BosPolicy
from tests.helpers import byte_tokenizer, hf_gpt2, hf_llama, in_lens


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Results do not depend on how many cores the machine has, and small models are faster on one."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def every_warning():
    """What torch warns of once in a process it warns of in every test; ``pyproject.toml`` makes some of it errors."""
    torch.set_warn_always(True)


@pytest.fixture(autouse=True)
def own_main():
    """A page that a test runs takes the place of ``__main__``, which every process started later would run again."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture(scope="session")
def tokenizer():
    return byte_tokenizer()


BOS = BosPolicy(0, "<bos>", True, "the tests put it there")


@pytest.fixture(scope="session")
def tiny_gpt2(tokenizer):
    """A shaken three-layer GPT-2 with a tokenizer and a BOS."""
    return in_lens(hf_gpt2(vocab_size=len(tokenizer), n_positions=128), tokenizer, BOS)


@pytest.fixture(scope="session")
def tiny_llama(tokenizer):
    """A shaken three-layer LLaMA in which two query heads share keys and values, with a tokenizer and a BOS."""
    return in_lens(
        hf_llama(vocab_size=len(tokenizer), num_key_value_heads=2, max_position_embeddings=128), tokenizer, BOS
    )


@pytest.fixture(scope="session", params=["gpt2", "llama"])
def tiny(request, tiny_gpt2, tiny_llama):
    """Each of the two structures in turn."""
    return {"gpt2": tiny_gpt2, "llama": tiny_llama}[request.param]
