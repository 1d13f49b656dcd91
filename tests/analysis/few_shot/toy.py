"""A model of three attention layers that learns one task, "capital", from examples, by weights written by hand.

Head 0.0 stands at an answer and marks it if it is the right one for its question. Head 1.2 reads the marks and writes
at every later token that the task is on: the function vector. Head 2.1 looks from an answer mark at the question, but
only if the task is on, and writes its answer. Six other heads write nothing. Labels that are shuffled have no mark, so
nothing is written; and then head 1.2's output, put in place, is all that is missing.
"""

import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from lens import HookedTransformer
from lens.analysis.few_shot.words import words_of
from lens.config import Config
from lens.tokens import BosPolicy

VECTOR, READER, MARKER = (1, 2), (2, 1), (0, 0)
LAYOUT = ["<bos>", "Q", "A", ":", "\n", "\n\n"]
ASKED = [word.question for word in words_of("capital")]
ANSWERS = [word.answer for word in words_of("capital")]
VOCAB = [*LAYOUT, *(f" {word}" for word in (*ASKED, *ANSWERS)), *ANSWERS]
N, N_CTX = len(ASKED), 80
TOKEN, PLACE = 0, len(VOCAB)  # first dimensions of the token and of the position
MARK, TASK, OUT = PLACE + N_CTX, PLACE + N_CTX + 1, PLACE + N_CTX + 2  # OUT: one for each answer
D_MODEL, D_HEAD = OUT + N, N + N_CTX + 1  # a head matches a word, a place, and BOS
QUESTION, ANSWER = len(LAYOUT), len(LAYOUT) + N  # ids of the first question and of the first answer
LOGIT = 12.0


def tokenizer() -> PreTrainedTokenizerFast:
    """One token for each word, with the space before it."""
    made = Tokenizer(WordLevel({token: i for i, token in enumerate(VOCAB)}, unk_token="<bos>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n\n|\n| ?[^\s:]+|:"), "isolated")
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<bos>", clean_up_tokenization_spaces=False)


def toy() -> HookedTransformer:
    """The model, with its tokenizer."""
    cfg = Config(n_layers=3, n_heads=3, d_model=D_MODEL, d_head=D_HEAD, d_vocab=len(VOCAB), n_ctx=N_CTX, norm=None)
    model = HookedTransformer(
        cfg, tokenizer(), BosPolicy(0, "<bos>", True, "the first token is where heads rest"), "toy"
    )
    model.requires_grad_(False)
    for weight in model.parameters():
        weight.zero_()
    words, places, ids = torch.arange(N), torch.arange(N_CTX), torch.arange(len(VOCAB))
    model.embed.W_E[ids, TOKEN + ids] = 1
    model.pos_embed.W_pos[places, PLACE + places] = 1
    model.unembed.W_U[OUT + words, ANSWER + words] = LOGIT
    for layer in range(3):
        for head in range(3):
            _rest(model, layer, head)
    _look_back(model, *MARKER, 4)
    attn = model.blocks[0].attn
    attn.W_Q[0, ANSWER + words, words] = attn.W_K[0, QUESTION + words, words] = _score(40)
    attn.W_V[0, QUESTION + words, 0] = attn.W_O[0, 0, MARK] = 1
    attn = model.blocks[1].attn
    attn.b_Q[2, 0] = attn.W_K[2, MARK, 0] = _score(90)
    attn.W_V[2, MARK, 0] = attn.W_O[2, 0, TASK] = 1
    _look_back(model, *READER, 3)
    attn = model.blocks[2].attn
    attn.W_Q[1, TASK, -1] -= _score(60)  # BOS draws less where the task is on
    attn.W_V[1, QUESTION + words, words] = attn.W_O[1, words, OUT + words] = 1
    return model


def _score(score: float) -> float:
    """What both sides hold so that their product, divided by √d_head, is ``score``."""
    return (score * D_HEAD**0.5) ** 0.5


def _rest(model: HookedTransformer, layer: int, head: int) -> None:
    """A head that finds nothing looks at BOS: a score of 60 there."""
    attn = model.blocks[layer].attn
    attn.b_Q[head, -1] = attn.W_K[head, TOKEN, -1] = _score(60)


def _look_back(model: HookedTransformer, layer: int, head: int, back: int) -> None:
    """A score of 40 so many places back."""
    places, attn = torch.arange(back, N_CTX), model.blocks[layer].attn
    attn.W_Q[head, PLACE + places, N + places - back] = _score(40)
    attn.W_K[head, PLACE + places - back, N + places - back] = _score(40)


def induction_scores() -> Tensor:
    """Scores that name head 0.1 as the strongest induction head, and 1.2 as the second."""
    scores = torch.zeros(3, 3)
    scores[0, 1], scores[1, 2] = 0.9, 0.5
    return scores
