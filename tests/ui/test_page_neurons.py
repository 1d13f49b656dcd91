"""The Neurons page: its numbers against the analysis, models without MLPs, odd prompts and addresses, its exports."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from lens import HookedTransformer
from lens.analysis.answer.direct_attribution import Target, neuron_push
from lens.analysis.answer.neurons import (
    activity,
    input_tokens,
    layer_activations,
    low_contexts,
    neuron_on_text,
    output_tokens,
    text_streams,
    top_contexts,
)
from lens.ui.labels import token_labels
from lens.ui.pages.neurons.choose import pushing_neurons
from lens.ui.pages.neurons.on_prompt import strongest
from lens.ui.pages.neurons.words import in_text
from lens.ui.shared.wording import signed
from tests.ui.conftest import app_page, bound, fine, llama_folder, local, printed, python_of

PROMPT = "some words to read"
HOSTILE = "</script><img src=x onerror=alert(1)> $x$ {0} %{z}"


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory, tokenizer) -> Path:
    return llama_folder(tmp_path_factory, tokenizer, num_key_value_heads=2, max_position_embeddings=120)


@pytest.fixture(scope="module")
def model(tiny_folder) -> HookedTransformer:
    return HookedTransformer.from_pretrained(str(tiny_folder))


@pytest.fixture
def page(tiny_folder):
    return partial(local, "neurons", tiny_folder, prompt=PROMPT, length="60")


def components(at, word: str) -> list[str]:
    return [c.proto.json for c in at.get("bidi_component") if word in c.proto.json]


def test_it_opens_on_the_neuron_that_pushes_the_answer_most(page, model):
    at = page().run()
    shown = fine(at)
    tokens = model.to_tokens(PROMPT)
    answer = int(model(tokens)[0, -1].argmax())
    ((layer, place), _), *_ = pushing_neurons(model, tokens, tokens.shape[1] - 1, answer, 3)
    assert (at.query_params["block"], at.query_params["neuron"]) == (str(layer), str(place))
    own = layer_activations(model, tokens, layer)[:, place]
    label = token_labels(model, tokens[0])[int(own.argmax())]
    assert f"Neuron {layer}.{place} is most active on " in shown
    assert label.replace("<", "&lt;").replace(">", "&gt;") in shown
    assert f"above zero at {int((own > 0).sum())} of {len(own)} tokens" in shown
    assert components(at, "ColoredTokens")
    push = neuron_push(model, tokens, Target("logit", torch.tensor([tokens.shape[1] - 1]), torch.tensor([answer])),
                       layer, place)  # fmt: skip
    assert f"At the last token it adds {signed(push.part)} logits to" in shown
    assert f"to 100 random tokens {signed(float(push.at_random.mean()))}, 95% of them between" in shown
    assert f"neurons on {token_labels(model, [answer])[0]} is {signed(push.part)}." in shown


def test_the_weights_and_contexts_are_those_of_the_analysis(page, model):
    at = page(block="1", neuron="5", texts="17").run()
    shown = fine(at)
    writes, reads, gate = (one.value for one in at.dataframe)
    assert list(writes["most"]) == token_labels(model, output_tokens(model, 1, 5, 10).high)
    assert list(reads["least"]) == token_labels(model, input_tokens(model, 1, 5, 10).low)
    assert list(gate["most"]) == token_labels(model, input_tokens(model, 1, 5, 10, gate=True).high)
    streams = text_streams(model, 1, 17, 60)
    top = top_contexts(neuron_on_text(model, streams, 1, 5), streams.counted, 12)
    assert f"chapter {top[0].chapter + 1}, position {top[0].pos}: " in shown
    assert f"Its largest of {int(streams.counted.sum()):,} is {top[0].value:.2f}" in shown
    assert "over 17 chapters" in shown


def test_the_python_of_the_exports_says_the_same(page, model):
    at = page(block="2", neuron="7", texts="5").run()
    fine(at)
    activations = layer_activations(model, model.to_tokens(PROMPT), 2)[:, 7]
    assert printed(python_of(at)[0]).split() == [f"{value:.4f}" for value in activations.tolist()]
    assert printed(python_of(at)[1]).splitlines() == [
        str(of(model, 2, 7, 10).high.tolist()) for of in (output_tokens, input_tokens)
    ]
    streams = text_streams(model, 2, 5, 60)
    top = top_contexts(neuron_on_text(model, streams, 2, 7), streams.counted, 12)
    want = [f"{one.chapter} {one.pos} {one.value:.4f}" for one in top]
    assert printed(python_of(at)[2]).strip().splitlines() == want


def test_the_lowest_contexts_of_a_gated_neuron_are_shown_and_named(page, model):
    streams = text_streams(model, 1, 17, 60)
    values = neuron_on_text(model, streams, 1, 5)
    low, top = low_contexts(values, streams.counted, 12), top_contexts(values, streams.counted, 12)
    at = page(block="1", neuron="5", texts="17", contexts="low").run()
    shown = fine(at)
    for one in low:
        assert f"chapter {one.chapter + 1}, position {one.pos}: " in shown
    (strips,) = (html for element in at.get("html") if (html := element.proto.body).count('class="lens-strip"') == 12)
    assert strips.count('<div class="lens-strip-key"') == 1  # they are on one scale
    assert ("It is strongest below zero" in shown) == (-low[0].value > top[0].value)


@pytest.mark.parametrize("contexts", ["top", "low", "deciles", "tokens"])
@pytest.mark.parametrize("shown", ["neuron", "layer"])
def test_a_hostile_prompt_is_text_in_every_view(page, contexts, shown):
    at = page(prompt=HOSTILE, contexts=contexts, shown=shown, texts="3").run()
    assert "<img src=x" not in fine(at)
    (drawn,) = components(at, "ColoredTokens" if shown == "neuron" else "TextNeuronActivations")
    assert "<\\u2060" in drawn or "<\u2060" in drawn
    assert "<img" not in drawn
    assert bool(components(at, "TopkTokens")) == (contexts == "tokens")
    if contexts == "deciles":
        assert "10th (highest) tenth" in " ".join(element.value for element in at.markdown)


def test_a_neuron_that_is_strongest_below_zero_says_so():
    values = torch.tensor([[0.0, 1.0, -9.0, 0.5]]).repeat(16, 1)
    counted = torch.ones_like(values).bool()
    found, labels = activity(values, counted), [["a", "b", "c", "d"]] * 16
    top, low = (of(values, counted, 2) for of in (top_contexts, low_contexts))
    assert in_text("0.1", found, top, labels).endswith("are at 1 different token: b.")
    assert in_text("0.1", found, top, labels, low).endswith("and what is negative writes as much. Lowest at c.")


def test_few_chapters_give_no_interval(page):
    assert "no interval: 3 chapters" in fine(page(texts="3").run())


def test_a_model_of_attention_alone_says_so():
    at = app_page("neurons").run()
    assert "lens-2l has no MLP" in fine(at)


def test_bad_values_of_the_address_are_sentences(page):
    at = page(block="77", neuron="x", shown="zz", contexts="1", texts="0", length="5000").run()
    shown = fine(at)
    for sentence in (
        "Block 77 does not exist", "Neuron must be a whole number", "Shown must be one of", "Contexts must be one of",
        "Texts 0 is outside", "Length 5000 is outside",
    ):  # fmt: skip
        assert sentence in shown, sentence


def test_one_token_and_an_empty_prompt(page):
    fine(page(prompt="x", bos="off", texts="2").run())
    assert "The prompt is empty" in page(prompt=" ").run().info[0].value


def test_another_neuron_of_the_layer_reads_no_text_again(page, monkeypatch):
    at = page(block="1", neuron="5", texts="4").run()
    fine(at)
    monkeypatch.setattr("lens.analysis.answer.neurons.beginnings", lambda *_: pytest.fail("the text was read again"))
    bound(at.number_input, "neuron").set_value(6).run()
    assert "Neuron 1.6 is above zero at" in fine(at)


def test_the_strongest_neurons_begin_with_the_chosen_one():
    values = np.zeros((4, 30), np.float32)
    values[0] = 9  # the first token is left out
    values[2, [3, 8]] = -5, 2
    assert strongest(values, 20)[:3] == [20, 3, 8]
    assert len(strongest(values, 20)) == 24
