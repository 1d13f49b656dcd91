"""What the words of the field mean: one sentence each, with where it comes from, at the word itself.

Nothing is fetched, nothing is asked of the server, and neither torch nor Streamlit is imported.
"""

import html
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from lens.analysis.instruments.registry import INSTRUMENTS

if TYPE_CHECKING:
    from lens.analysis.instruments.instrument import Instrument

ELHAGE = "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits"
OLSSON = "Olsson et al. 2022, In-context Learning and Induction Heads"
HEIMERSHEIM = "Heimersheim and Nanda 2024, How to use and interpret activation patching"
VASWANI = "Vaswani et al. 2017, Attention Is All You Need"

# term, in small letters unless it is a name -> its sentence
WORDS: Mapping[str, str] = MappingProxyType(
    {
        "ablation": (
            "Removing a part, by putting something else in its place, to see whether the behaviour needs it. "
            f"{HEIMERSHEIM}."
        ),
        "activation": (
            "A number that a part of the model computes on one text: weights stay, activations change with "
            "what is read."
        ),
        "attention": (
            f"How a head divides what it reads among the tokens up to the query: shares that sum to 1. {VASWANI}."
        ),
        "attention head": (
            f"One of the parallel readers of a layer: it moves information from tokens to later ones. {ELHAGE}."
        ),
        "attribution": (
            "How much of a number each part gives, adding up to the whole; no part is removed. nostalgebraist "
            "2020; Elhage et al. 2021."
        ),
        "attribution patching": (
            "Patching of every part at once to first order, from one backward pass. Nanda 2023, Attribution Patching."
        ),
        "bootstrap": "Drawing the samples again with replacement, to see how far a number would move. Efron 1979.",
        "born": (
            "Of a head: its score crosses a line that was fixed beforehand, between two checkpoints. Defined by Lens."
        ),
        "BOS": (
            "The token at the beginning of a text: many heads rest on it when they have nothing to do. Xiao et "
            "al. 2023, attention sinks."
        ),
        "checkpoint": "The weights as they were after so many tokens of training.",
        "circuit": "Heads and other parts that compute one behaviour together. Olah et al. 2020, Zoom In.",
        "clean": (
            f"The run on the prompt whose answer is right, against which the corrupted run is held. {HEIMERSHEIM}."
        ),
        "composition": (
            "That a later head reads what an earlier head wrote: through its queries (Q), keys (K) or values (V)."
            f" {ELHAGE}."
        ),
        "content dependence": (
            "How much of a head's attention no habit of positions explains, in nats per query; 0 for a head that "
            "never reads the text. Defined by Lens."
        ),
        "content-dependent": (
            "Of a head: its attention depends on what the tokens are, not on where they stand alone. Defined by Lens."
        ),
        "contrast": (
            "The score before the softmax where a head looks, minus that of the query's other keys. Defined by Lens."
        ),
        "control": (
            "The same measurement where the feature is destroyed, such as tokens that do not repeat: what remains"
            " there is no sign of it."
        ),
        "copying": f"Of a head: its OV circuit raises the logit of the token that it reads. {ELHAGE}.",
        "copying score": (
            "Σλ / Σ|λ| over the eigenvalues of the OV circuit: 1 if it raises what it reads, −1 if it lowers it. "
            f"{ELHAGE}."
        ),
        "corrupted": f"The run on the prompt in which what carries the answer is exchanged. {HEIMERSHEIM}.",
        "decoy": "A planted head that looks where an induction head looks, and copies nothing. Made by Lens.",
        "denoising": (
            "Putting activations of the clean run into the corrupted one: what restores the answer is enough for "
            f"it. {HEIMERSHEIM}."
        ),
        "direct effect": (
            "What a part does to the logits by itself, without the layers after it. Wang et al. 2022, IOI."
        ),
        "direct path": (
            "The way from one part's output to another's input, or to the logits, through the residual "
            "stream alone. Wang et al. 2022, IOI."
        ),
        "duplicate-token head": "A head that looks at the earlier copy of the current token. Wang et al. 2022, IOI.",
        "eigenvalue": (
            "A factor by which a matrix stretches one of its directions; positive ones of the OV circuit mean "
            f"copying. {ELHAGE}."
        ),
        "embedding": "The vector with which a token enters the residual stream.",
        "entropy": (
            "How spread a distribution is, in nats: 0 if all lies on one token, ln n if it is even over n. "
            "Shannon 1948."
        ),
        "faithfulness": "How much of what all heads do a set of them does alone. Wang et al. 2022, IOI.",
        "feeder": f"An earlier head whose output a later head reads, by the composition of their weights. {ELHAGE}.",
        "first copy": "The random tokens of a repeat as they come first, when nothing predicts them.",
        "fitted decoder": (
            "A linear map for each layer, trained to read the stream there as the last one is read. Belrose "
            "et al. 2023, the tuned lens."
        ),
        "folded": (
            "With the gains of the norms multiplied into the weights after them: the same function, easier to "
            "read. Elhage et al. 2021."
        ),
        "full circuit": (
            f"A circuit of one head from tokens to tokens, with the embedding and the unembedding in it. {ELHAGE}."
        ),
        "function-vector head": (
            "A head whose mean output on right few-shot prompts makes the answer likelier where labels are shuffled. "
            "Todd et al. 2024, Function Vectors in Large Language Models."
        ),
        "gap": (
            f"The metric of the clean run minus that of the corrupted one: what patching can restore. {HEIMERSHEIM}."
        ),
        "head": f"One of the parallel readers of a layer, named layer.head from 0. {ELHAGE}.",
        "held-out": "Of text: never trained on.",
        "in-context learning": (
            f"Predicting later tokens better than early ones, by what the text has shown so far. {OLSSON}."
        ),
        "induction": (
            f"Continuing a pattern seen before in the text: after A, the B that followed A the first time. {OLSSON}."
        ),
        "induction head": (
            f"A head that looks at the token after an earlier copy of the current one, and copies it. {OLSSON}."
        ),
        "induction score": (
            f"Attention from a token of the second copy to the one after its first occurrence, as a mean. {OLSSON}."
        ),
        "interval": (
            "The range that holds the true number in 95% of samples like this one, by resampling them. Efron "
            "1979, the bootstrap."
        ),
        "K-composition": (
            f"That what an earlier head wrote is read by the keys of a later one, as in an induction circuit. {ELHAGE}."
        ),
        "key": f"What a token offers to be found by; it is matched against the query. {VASWANI}.",
        "KL": "How far one distribution lies from another, in nats; 0 if they are the same. Kullback and Leibler 1951.",
        "KL divergence": (
            "How far one distribution lies from another, in nats; 0 if they are the same. Kullback and Leibler 1951."
        ),
        "layer": (
            "The heads, and the MLP if there is one, that read the residual stream at the same depth, counted from 0."
        ),
        "LayerNorm": "Centring and scaling of the residual stream before it is read. Ba et al. 2016.",
        "log-probability": "The natural logarithm of a probability, in nats; 0 is certainty.",
        "logit": "The score of a token before the softmax: only differences between logits matter.",
        "logit difference": f"The logit of the right answer minus that of the wrong one. {HEIMERSHEIM}.",
        "logit lens": "The residual stream after a layer, read as if it were the last. nostalgebraist 2020.",
        "loss": (
            "The negative log-probability of the token that came, in nats: the surprise. ln of the vocabulary's "
            "size is an even guess."
        ),
        "mean ablation": "Ablation by the mean of the same activation over other prompts. Wang et al. 2022, IOI.",
        "metric": "The one number per prompt in which an effect is measured, such as the logit difference.",
        "MLP": (
            f"The part of a layer that works on each token alone: its neurons read the residual stream and "
            f"write to it. {ELHAGE}."
        ),
        "nats": "The unit of information with natural logarithms: 1 nat is 1.44 bits.",
        "neuron": (
            "One unit of an MLP: it fires by how far the stream points its way, and then adds a direction of its own."
        ),
        "noising": (
            "Putting activations of the corrupted run into the clean one: what breaks the answer is needed for "
            f"it. {HEIMERSHEIM}."
        ),
        "null": "What chance alone gives: what is not beyond it, is not found.",
        "off-distribution": (
            "Unlike anything met in training: what a model does there says little about what it does elsewhere."
        ),
        "OV": (
            f"Of a head: its value and output weights together, which say what it writes for what it reads. {ELHAGE}."
        ),
        "OV circuit": f"W_E W_V W_O W_U: what a head writes to the logits for each token it attends to. {ELHAGE}.",
        "patching": f"Putting an activation of one run into another, to see what it carries. {HEIMERSHEIM}.",
        "percentile": "The value below which so many of a hundred lie.",
        "perplexity": "e to the mean loss: among how many equally likely tokens the model seems to choose.",
        "phase change": f"The short stretch of training in which induction heads form and the loss falls. {OLSSON}.",
        "planted": (
            "Of a model or a head: its weights are written by hand, so that the right answer is known. Made by Lens."
        ),
        "prefix matching": f"Attending from a token to the one after an earlier copy of it. {OLSSON}.",
        "previous-token head": (
            f"A head that looks at the token before; it lets a later head find what followed. {OLSSON}."
        ),
        "probability": "Of a token: between 0 and 1, the softmax of the logits.",
        "probability difference": f"The probability of the right answer minus that of the wrong one. {HEIMERSHEIM}.",
        "Q-composition": f"That what an earlier head wrote is read by the queries of a later one. {ELHAGE}.",
        "QK": f"Of a head: its query and key weights together, which say where it looks. {ELHAGE}.",
        "QK circuit": f"W_E W_Q W_Kᵀ W_Eᵀ: which token a head would look at from which. {ELHAGE}.",
        "query": f"What a token looks for; it is matched against the keys of the tokens before it. {VASWANI}.",
        "random rotation": (
            "Turning the space between two matrices at random: how much they would then compose by chance. "
            "Defined by Lens."
        ),
        "rank": "The place in an order, counted from 1, the largest.",
        "rank correlation": (
            "Whether two numbers order the heads alike: 1 the same order, −1 the reverse, 0 none. Spearman 1904."
        ),
        "receiver": "The later head of a pair, which reads.",
        "resample ablation": (
            "Ablation by the same activation of another prompt, which keeps it typical. Chan et al. 2022, "
            "Causal Scrubbing."
        ),
        "resampled": (
            "Replaced by the same activation of another prompt, which keeps it typical. Chan et al. 2022, Causal "
            "Scrubbing."
        ),
        "residual circuit": (
            f"A circuit of one head from the residual stream to itself, without embedding and unembedding. {ELHAGE}."
        ),
        "residual stream": f"The sum of all that was written so far, which every layer reads and adds to. {ELHAGE}.",
        "RMSNorm": "Scaling of the residual stream before it is read, without centring. Zhang and Sennrich 2019.",
        "rotary": (
            "Of positions: they turn queries and keys, so that a score depends on how far apart the two "
            "stand. Su et al. 2021."
        ),
        "second copy": (
            "The random tokens of a repeat as they come again: what followed each the first time predicts them."
        ),
        "seed": "The number from which random tokens and draws are made: the same seed gives the same ones.",
        "self-repair": (
            "That later parts compensate for a head that was removed. McGrath et al. 2023; Rushing and Nanda 2024."
        ),
        "sender": "The earlier head of a pair, which writes.",
        "singular value": "By how much a matrix stretches one of its directions, largest first.",
        "sink": "A token, mostly the first, that takes the attention of heads at rest. Xiao et al. 2023.",
        "softmax": "The exponential of each score over the sum of all: it makes scores into shares that sum to 1.",
        "standard deviation": "How far values lie from their mean, as the root of the mean square.",
        "steering": "Adding a vector to the residual stream to change what the model says. Turner et al. 2023.",
        "stripe": (
            f"The cells of a pattern from each token of the second copy to the one after its first "
            f"occurrence. {OLSSON}."
        ),
        "threshold": "The number that chance passes in one of 20 samples: a head at or below it is not found.",
        "token": "A piece of text that the model reads as one symbol: a word, a part of one, or a sign.",
        "tokenizer": "What cuts a text into tokens.",
        "total effect": (
            "What the removal of a part does to the metric when everything after it reacts. Rushing and Nanda 2024."
        ),
        "unembedding": "The matrix that turns the residual stream into a logit for each token.",
        "V-composition": f"That what an earlier head wrote is moved on by the values of a later one. {ELHAGE}.",
        "value-weighted": (
            "Attention times the length of what it writes, as attention to a short value moves little. Kobayashi "
            "et al. 2020."
        ),
        "verdict": (
            "Whether a sample says found, not found, or cannot say; fewer than 16 samples carry none. Defined by Lens."
        ),
        "virtual head": f"Two heads in a row that act as one, through V-composition. {ELHAGE}.",
        "vocabulary": "All the tokens that a model knows.",
        "zero ablation": "Ablation by 0, which no run of the model has. Wang et al. 2022, IOI.",
    }
)


def _by_title(one: "Instrument") -> tuple[str, str]:
    """An instrument as a term: its title, and what it measures, with where that comes from."""
    return one.title, f"{one.definition} {one.source}{'.' if one.source else ''}".strip()


# What instruments measure, unless their title has a sentence of its own above.
TITLES = {title: said for title, said in map(_by_title, INSTRUMENTS) if title.lower() not in WORDS}
TERMS: Mapping[str, str] = MappingProxyType(TITLES | WORDS)

_BY_SMALL = {term.lower(): term for term in TERMS}
_LONGEST_FIRST = sorted(TERMS, key=len, reverse=True)
# "query" and "queries", "loss" and "losses"; not inside a longer word, a path or another hyphenated one.
_ANY = "|".join(
    re.escape(term[:-1]) + "(?:y|ies)" if term.endswith("y") else re.escape(term) for term in _LONGEST_FIRST
)
_PATTERN = re.compile(rf"(?<![\w./-])(?P<term>{_ANY})(?:e?s)?(?![\w-])", re.IGNORECASE)


def explained(text: str, seen: set[str] | None = None) -> str:
    """``text`` as escaped HTML, the first of each term in it with its sentence, by mouse and by keyboard.

    ``seen``: terms that stood in the text before this part of it; those of this part are added.
    """
    parts, at, seen = [], 0, set() if seen is None else seen
    for match in _PATTERN.finditer(text):
        term = _term(match["term"])
        if term in seen:
            continue
        seen.add(term)
        parts += [html.escape(text[at : match.start()]), _marked(match[0], TERMS[term])]
        at = match.end()
    return "".join([*parts, html.escape(text[at:])])


def _term(written: str) -> str:
    small = written.lower()
    return _BY_SMALL[small if small in _BY_SMALL else small.removesuffix("ies") + "y"]


def _marked(word: str, sentence: str) -> str:
    said = html.escape(sentence)
    return f'<dfn class="lens-term" tabindex="0" data-said="{said}" aria-description="{said}">{html.escape(word)}</dfn>'
