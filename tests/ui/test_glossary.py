import re
from html import unescape

import pytest

from lens.analysis.instruments.registry import INSTRUMENTS
from lens.ui.glossary import TERMS, explained
from lens.ui.shared.task_fields import METRICS

# Words that a newcomer meets on the pages and does not know.
MET = (
    "ablation", "attention", "BOS", "checkpoint", "clean", "composition", "content dependence", "control",
    "copying score", "corrupted", "denoising", "eigenvalue", "embedding", "entropy", "head", "induction",
    "induction head", "interval", "K-composition", "key", "KL divergence", "log-probability", "logit",
    "logit difference", "logit lens", "loss", "metric", "nats", "noising", "null", "OV circuit", "patching",
    "perplexity", "phase change", "prefix matching", "previous-token head", "Q-composition", "QK circuit", "query",
    "rank", "rank correlation", "resampled", "residual stream", "seed", "threshold", "unembedding", "V-composition",
    "value-weighted", "token", "layer", "MLP", "neuron", "softmax", "vocabulary", "circuit", "OV", "QK", "stripe",
    "contrast", "feeder", "sender", "receiver", "born", "copying", "decoy", "planted", "second copy", "verdict",
    "function-vector head", "resample ablation", "zero ablation", "mean ablation", "direct path", "held-out",
    "steering", "rotary",
)  # fmt: skip
MARK = r'<dfn class="lens-term" tabindex="0" data-said="([^"]*)" aria-description="[^"]*">([^<]*)</dfn>'


@pytest.mark.parametrize("term", MET)
def test_every_word_of_the_field_is_explained_in_a_sentence(term):
    assert TERMS[term].endswith(".")
    ((said, word),) = re.findall(MARK, explained(f"It is {term}, not else."))
    assert (unescape(said), word) == (TERMS[term], term)


@pytest.mark.parametrize("one", INSTRUMENTS, ids=lambda one: one.name)
def test_the_title_of_every_instrument_says_what_it_measures(one):
    ((said, word),) = re.findall(MARK, explained(one.title))
    assert unescape(word) == one.title
    assert unescape(said).startswith(TERMS.get(one.title.lower(), one.definition))


@pytest.mark.parametrize("name", [name for name in METRICS if name != "task"])
def test_the_name_of_every_metric_says_what_it_is(name):
    assert re.findall(MARK, explained(METRICS[name]))


def test_only_the_first_in_a_line_and_the_longest_term_there():
    found = re.findall(MARK, explained("An induction head is a head; the queries of induction heads and a query."))
    assert [word for _, word in found] == ["induction head", "head", "queries"]


def test_no_part_of_another_word_is_a_term():
    for text in ("ahead, keyboard, blocks.0.attn.hook_query, seeded, non-null", "https://lens/head/key"):
        assert explained(text) == text


def test_a_token_of_a_stranger_stays_text():
    assert explained('<img src=x onerror="alert(1)"> & key').startswith(
        "&lt;img src=x onerror=&quot;alert(1)&quot;&gt; &amp; <dfn"
    )
    assert unescape(re.sub(MARK, r"\2", explained("a < b, a 'query' > 0"))) == "a < b, a 'query' > 0"
