"""Mistral: LLaMA whose layers all see a sliding window, where the config has one."""

from lens.config import Config
from lens.families.attributes import Attributes
from lens.families.family import Family
from lens.families.llama import LLAMA
from lens.families.llama import read as read_llama
from lens.families.reading import uniform_windows


def read(hf: Attributes) -> Config:
    """A Mistral config; the window covers every layer."""
    return read_llama(hf, windows=uniform_windows(hf))


MISTRAL = Family(
    model_type="mistral",
    read=read,
    prefixes=LLAMA.prefixes,
    weights=LLAMA.weights,
    layer=LLAMA.layer,
    layer_weights=LLAMA.layer_weights,
)
