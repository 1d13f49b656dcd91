"""HookedTransformer: a transformer with its tokenizer, and the verbs that people type."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.arrays import as_tensor
from lens.cache import ActivationCache
from lens.circuits import CircuitViews
from lens.config import Config
from lens.finite import require_finite
from lens.generate import Sampling, generate_tokens, padded_left, until_end
from lens.load import Loaded, read
from lens.load.checkpoints import Checkpoint, Checkpoints
from lens.load.placement import DeviceMap
from lens.model import Transformer
from lens.progress import Progress, silent
from lens.swap import CheckpointVerbs
from lens.tokens import NO_BOS, BosPolicy, TextVerbs, TokenBatch
from lens.weights import WeightViews

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RETURN_TYPES = ("logits", "loss", "both", None)


class LogitsAndLoss(NamedTuple):
    """``return_type="both"``: logits, and the loss in nats."""

    logits: Float[Tensor, "batch pos d_vocab"]
    loss: Float[Tensor, ""] | Float[Tensor, "batch pos_minus_1"]


def next_token_loss(
    logits: Float[Tensor, "batch pos d_vocab"],
    tokens: Int[Tensor, "batch pos"],
    mask: Bool[Tensor, "batch pos"] | None = None,
    per_token: bool = False,
) -> Float[Tensor, ""] | Float[Tensor, "batch pos_minus_1"]:
    """Mean surprise at the next token, in nats; ``per_token``, entry p is −log P(token p+1 | tokens up to p).

    Predictions from or of padding are not counted; per token they are NaN. Where logits of text are not finite, the
    loss is not either.
    """
    if tokens.shape[1] < 2:
        raise ValueError("A loss needs at least two tokens: one to read and one to predict.")
    logprobs = logits[:, :-1].float().log_softmax(-1)
    targets = tokens[:, 1:] if mask is None else tokens[:, 1:].masked_fill(~mask[:, 1:].to(tokens.device), 0)
    loss = -logprobs.gather(-1, targets[..., None].to(logits.device))[..., 0]
    if mask is None:
        return loss if per_token else loss.mean()
    real = (mask[:, :-1] & mask[:, 1:]).to(loss.device)
    if per_token:
        return loss.masked_fill(~real, torch.nan)
    return loss.masked_fill(~real, 0).sum() / real.sum()


class HookedTransformer(TextVerbs, WeightViews, CircuitViews, CheckpointVerbs, Transformer):
    """A language model whose every activation can be read and changed.

    ``name`` and ``revision`` say which weights these are, ``note`` what every figure about them must say, ``ignored``
    what of the config was left out of account,
    ``bos`` which token stands before a text and why. ``tokenizer`` is None for a model that came without one.
    ``token_counts`` [d_vocab] is how often each id occurs in the training text, None where that is not known.
    ``checkpoint`` says which point of its training this is, ``checkpoints`` of which list, if one was asked for.
    ``end_ids``: tokens with which a text ends, as the model's files say, beside that of its tokenizer.
    """

    def __init__(self, cfg: Config, tokenizer: Any = None, bos: BosPolicy = NO_BOS, name: str = "my-model"):
        super().__init__(cfg)
        self.tokenizer, self.bos, self.name = tokenizer, bos, name
        self.revision: str | None = None
        self.note = ""
        self.ignored: tuple[str, ...] = ()
        self.token_counts: Tensor | None = None
        self.checkpoint: Checkpoint | None = None
        self.checkpoints: Checkpoints | None = None
        self.end_ids: tuple[int, ...] = ()

    @classmethod
    def from_pretrained(
        cls,
        name: str | Checkpoints,
        *,
        revision: str | None = None,
        checkpoint_index: int | None = None,
        checkpoint_value: int | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
        device_map: DeviceMap | None = None,
        ignore: Sequence[str] = (),
        progress: Progress = silent,
    ) -> Self:
        """Open a model by alias, Hub id, local folder or GGUF file. Nothing is folded: the weights are the file's.

        ``checkpoint_index`` or ``checkpoint_value`` (tokens or steps): the model at that point of its training.
        ``device_map``: "auto" spreads a model over the devices there are (with the package accelerate), or part →
        device, ``{"": "cuda:0", "blocks.12": "cuda:1"}``. ``ignore``: attributes of its config that Lens does not know;
        the model is computed as if they were not there, and its note, so every figure, says so. ``progress`` receives
        a fraction and what is being done. Errors say what is available.
        """
        which = {"revision": revision, "checkpoint_index": checkpoint_index, "checkpoint_value": checkpoint_value}
        how = {"device": device, "dtype": dtype, "device_map": device_map, "ignore": ignore}
        model = cls._loaded(read(name, **which, **how, progress=progress))
        model.ignored = tuple(ignore)
        return model

    @classmethod
    def from_transformers(
        cls, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase | None" = None, name: str = ""
    ) -> Self:
        """The same weights as a model that is in memory already, on its device and in its precision.

        Weights whose layout is that of Lens are shared, not copied. ``tokenizer``: without one, ids can be read and no
        text. ``name``: the last part of where the model came from if none is given. ValueError for a family that Lens
        does not know.
        """
        from lens.load.in_memory import read_model

        return cls._loaded(read_model(model, tokenizer, name))

    @classmethod
    def _loaded(cls, loaded: Loaded) -> Self:
        model = cls.from_state(loaded.cfg, loaded.state, tokenizer=loaded.tokenizer, bos=loaded.bos, name=loaded.name)
        model.revision, model.note = loaded.revision, loaded.note
        model.token_counts, model.end_ids = loaded.token_counts, loaded.end_ids
        model.checkpoint, model.checkpoints = loaded.checkpoint, loaded.checkpoints
        return model.eval()

    def forward(
        self,
        input: str | Sequence[str] | Tensor,
        return_type: str | None = "logits",
        loss_per_token: bool = False,
        prepend_bos: bool | None = None,
        attention_mask: Bool[Tensor, "batch pos"] | None = None,
        **stretch: Any,
    ) -> Tensor | LogitsAndLoss | None:
        """Logits, next-token loss, both, or nothing (the hooks run, the unembedding is saved).

        ``input``: a text, texts, or ids [batch, pos] (or [pos]). ``stretch`` is what ``Transformer.forward`` takes:
        start_at_layer, stop_at_layer, logit_positions, past. With ``stop_at_layer`` the stream is returned.
        """
        if return_type not in RETURN_TYPES:
            raise ValueError(f"return_type={return_type!r}; it must be 'logits', 'loss', 'both' or None.")
        tokens, mask = self._input(input, prepend_bos, attention_mask)
        if stretch.get("stop_at_layer") is not None or return_type == "logits":
            return super().forward(tokens, mask, **stretch)
        if return_type is None:
            resid = super().forward(tokens, mask, stop_at_layer=self.cfg.n_layers, **stretch)
            self.ln_final(resid.to(self.unembed.b_U.device))
            return None
        out = super().forward(tokens, mask, **stretch)
        if stretch.get("start_at_layer") is not None or stretch.get("logit_positions") is not None:
            raise ValueError(
                "A loss needs the tokens and all their logits: leave out start_at_layer and logit_positions."
            )
        loss = self.checked_loss(out, tokens, mask, loss_per_token)
        return loss if return_type == "loss" else LogitsAndLoss(out, loss)

    def checked_loss(
        self, logits: Tensor, tokens: Tensor, mask: Bool[Tensor, "batch pos"] | None = None, per_token: bool = False
    ) -> Tensor:
        """:func:`next_token_loss`; NotFinite, with the layer and position, where it is NaN or infinite."""
        loss = next_token_loss(logits, tokens, mask, per_token)
        unpadded = per_token and mask is not None
        real = loss.masked_fill(~(mask[:, :-1] & mask[:, 1:]).to(loss.device), 0) if unpadded else loss
        require_finite(self, tokens, real, mask, "losses")
        return loss

    def _input(self, input: str | Sequence[str] | Tensor, prepend_bos: bool | None, mask: Tensor | None):
        if isinstance(input, Tensor):
            tokens = input.to(self.device)
            return (tokens[None] if tokens.ndim == 1 else tokens), None if mask is None else mask.bool().to(self.device)
        batch = self.tokenize(input, prepend_bos)
        return batch.tokens, None if batch.mask.all() else batch.mask

    def loss_fn(self, logits: Tensor, tokens: Tensor, per_token: bool = False) -> Tensor:
        """:meth:`checked_loss` without padding."""
        return self.checked_loss(logits, tokens, per_token=per_token)

    def run_with_cache(self, *args: Any, remove_batch_dim: bool = False, **kwargs: Any) -> tuple[Any, ActivationCache]:
        """The output and the activations; ``names_filter`` (a name, names, a predicate) says which to keep."""
        out, activations = super().run_with_cache(*args, **kwargs)
        cache = ActivationCache(activations, self)
        return out, cache.remove_batch_dim() if remove_batch_dim else cache

    def tokens_to_residual_directions(self, tokens: str | int | Tensor) -> Float[Tensor, "*batch d_model"]:
        """The column of W_U for each token: the direction of the stream that raises its logit."""
        if isinstance(tokens, str):
            tokens = self.to_single_token(tokens)
        return self.unembed.directions(as_tensor(tokens).to(self.device))

    def generate(
        self,
        input: str | Sequence[str] | Tensor = "",
        max_new_tokens: int = 10,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop_at_eos: bool = True,
        prepend_bos: bool | None = None,
        attention_mask: Bool[Tensor, "batch pos"] | None = None,
        use_past_kv_cache: bool = True,
        on_token: Callable[[Int[Tensor, " batch"]], None] | None = None,
    ) -> str | list[str] | Int[Tensor, "batch pos"]:
        """The input and what the model writes after it, in the form of the input (text, texts or ids).

        ``attention_mask``: True at the real tokens of ids, which may be padded on either side; what comes back is
        padded on the left. ``stop_at_eos``: a row ends at any of the model's end tokens. A hook sees one new position
        at a time unless ``use_past_kv_cache`` is False: one at ``[:, -1]`` writes another text with than without; see
        :func:`~lens.generate.generate_tokens`. ``on_token`` receives the new ids [batch] of each step and may raise to
        stop. The rest is :class:`Sampling`.
        """
        prompts = self._prompts(input, prepend_bos, attention_mask)
        ends = self.stop_ids if stop_at_eos else ()
        sampling = Sampling(temperature, top_k, top_p, seed)
        out = generate_tokens(self, prompts, max_new_tokens, sampling, ends, on_token, use_past_kv_cache)
        return out if isinstance(input, Tensor) else self._written(input, prompts, out, ends)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Every token with which a text of this model ends."""
        own = None if self.tokenizer is None else self.tokenizer.eos_token_id
        return tuple(dict.fromkeys([*self.end_ids, *([] if own is None else [own])]))

    def _prompts(self, input: str | Sequence[str] | Tensor, prepend_bos: bool | None, mask: Tensor | None):
        if isinstance(input, Tensor):
            tokens = input.to(self.device)
            return padded_left(tokens if tokens.ndim == 2 else tokens[None], mask)
        if mask is not None:
            raise ValueError("generate: attention_mask is about ids; texts bring their own mask. Leave it out.")
        return self.tokenize(input, prepend_bos, padding_side="left")

    def _written(
        self, input: str | Sequence[str], prompts: TokenBatch, out: Tensor, ends: Sequence[int]
    ) -> str | list[str]:
        """The texts, each with its continuation."""
        texts, (tokens, mask), made = [input] if isinstance(input, str) else input, prompts, []
        for text, prompt, real, row in zip(texts, tokens, mask, out, strict=True):
            new = until_end(row[len(prompt) :].tolist(), ends)
            made.append(text + self.continuation(prompt[real].tolist(), new))
        return made[0] if isinstance(input, str) else made
