"""The Logit lens page: its table against the analysis, what it says, odd prompts and addresses, its export."""

import json
import re
from functools import partial

import numpy as np
import pytest

from lens import HookedTransformer
from lens.analysis.answer import fitted_lens
from lens.analysis.answer.lens_rows import lens_rows
from lens.analysis.answer.logit_lens import logit_lens
from lens.figures.cell_table import cell_table
from lens.figures.strip import Scale
from lens.ui.calls import result_store
from lens.ui.fields import DEFAULT_MODEL, DEFAULT_PROMPT
from lens.ui.labels import token_labels
from tests.ui.conftest import REAL, app_page, bound, fine, local, markdown, printed

open_page = partial(app_page, "logit_lens")
HOSTILE = "</script><img src=x onerror=alert(1)> $x$ {0} %{z}"


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("LENS_CACHE", str(tmp_path / "cache"))
    fitted_lens._kept.clear()
    result_store.clear()


def table(at) -> str:
    """The HTML of the table."""
    (found,) = [c.proto.json for c in at.get("bidi_component") if "lens-cells" in c.proto.json]
    return json.loads(found)["html"] if found.startswith("{") else found


def cells(at) -> list[list[str]]:
    """The words of the cells, the last row first, as they are drawn."""
    rows = re.findall(r"<tr><th scope=.{1,3}row.*?</tr>", table(at))
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]


def test_the_table_holds_the_top_tokens_of_the_analysis():
    at = open_page().run()
    shown = fine(at)
    model = HookedTransformer.from_pretrained(DEFAULT_MODEL)
    tokens = model.to_tokens(DEFAULT_PROMPT)
    lens = logit_lens(model, tokens)
    want = [token_labels(model, row.tolist()) for row in lens.top[:, 0]]
    assert cells(at) == want[::-1]
    assert f"KL to the output goes from {lens.kl[0, 0, 1:].mean():.2f} to 0.00 nats" in shown
    assert "One text: no interval" in shown or "no interval" in shown
    assert f"At {tokens.shape[1] - 1}: " in shown
    assert at.query_params == {}


@pytest.mark.parametrize("number", ["prob", "logprob", "rank", "top", "entropy", "kl"])
@pytest.mark.parametrize("about", ["final", "next"])
def test_every_number_is_drawn(number, about):
    at = open_page(number=number, about=about, numbers="on", position="4", row="1", answer=" the").run()
    fine(at)
    (rows,) = at.dataframe
    assert list(rows.value["row"]) == ["1", "0", "embed"]
    assert rows.value["KL to the output (nats)"].iloc[0] == 0


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"about": "next"},
        {"source": "attention"},
        {"decoder": "fitted"},
        {"model": "planted-induction", "mid": "on"},
    ],
)
def test_the_python_of_the_export_says_the_same(query):
    at = open_page(**query).run()
    fine(at)
    model = HookedTransformer.from_pretrained(query.get("model", DEFAULT_MODEL))
    tokens, source = model.to_tokens(DEFAULT_PROMPT), query.get("source", "stream")
    lens = logit_lens(model, tokens, source=source, fitted=query.get("decoder") == "fitted")
    lines = printed(at.code[0].value).strip().splitlines()
    rows = lens_rows(model.cfg, source)
    assert lines == [
        f"{row.label} {int(lens.top[i, 0, -1])} {float(lens.kl[i, 0, -1]):.4f}" for i, row in enumerate(rows)
    ]


def test_a_fitted_decoder_says_how_it_reads_text_it_has_not_seen():
    shown = fine(open_page(decoder="fitted").run())
    assert "On text it was not fitted to, the fitted decoder gains most at the embedding" in shown
    assert "not what the model uses" in shown
    assert "35 chapters" in shown


def test_mid_layer_rows_stand_where_a_model_has_them(tiny_folder):
    at = local("logit_lens", tiny_folder, prompt="some words to read", mid="on").run()
    fine(at)
    assert len(cells(at)) == 7
    assert ">0 mid</th>" in table(at).replace("\\", "")
    at = local("logit_lens", tiny_folder, prompt="some words to read", mid="on", decoder="fitted").run()
    assert "On text it was not fitted to" in fine(at)
    assert len(cells(at)) == 7
    at = open_page(mid="on").run()
    assert "have no place between attention and MLP" in fine(at)


def test_a_model_without_mlps_says_so():
    at = open_page(source="mlp").run()
    assert "has no MLP: showing the stream" in fine(at)
    assert "MLPs" not in " ".join(bound(at.get("button_group"), "source").options)


def test_parts_say_that_the_rest_is_missing(tiny_folder):
    for source in ("attention", "mlp"):
        shown = fine(local("logit_lens", tiny_folder, prompt="some words to read", source=source).run())
        assert "No row of it is the output" in shown


def test_bad_values_of_the_address_are_sentences(tiny_folder):
    at = local(
        "logit_lens", tiny_folder, prompt="some words", number="zz", about="1", source="x", decoder="best", mid="maybe",
        position="200", row="77", start="-1", answer="two words",
    ).run()  # fmt: skip
    shown = fine(at)
    for sentence in (
        "Number must be one of", "About must be one of", "Source must be one of", "Decoder must be one of",
        "Mid must be on or off", "Position 200 does not exist in this prompt", "Row 77 does not exist", "Start -1 is",
        "one that can be followed is one token",
    ):  # fmt: skip
        assert sentence in shown, sentence


def test_a_hostile_prompt_is_text(tiny_folder):
    at = local("logit_lens", tiny_folder, prompt=HOSTILE, numbers="on").run()
    assert "<img src=x" not in fine(at)
    assert "<img" not in table(at)


def test_one_token_has_a_table_and_an_empty_prompt_a_sentence(tiny_folder):
    at = local("logit_lens", tiny_folder, prompt="x", bos="off").run()
    fine(at)
    assert len(cells(at)) == 4
    at = local("logit_lens", tiny_folder, prompt=" ").run()
    assert "The prompt is empty" in at.info[0].value


def test_a_long_prompt_is_drawn_in_a_window(tiny_folder):
    at = local("logit_lens", tiny_folder, prompt="some words to read " * 12).run()
    fine(at)
    assert len(cells(at)[0]) == 48
    start = int(at.query_params["start"])
    bound(at.number_input, "start").set_value(0).run()
    fine(at)
    assert start > 0
    assert "start" not in at.query_params or at.query_params["start"] == "0"
    assert "0: " in table(at)


def test_the_table_escapes_and_refuses_what_does_not_fit():
    scale = Scale("share")
    html = cell_table([["<b>", "&"]], np.array([[0.0, 1.0]]), ["<i>"], ["a", "b"], scale=scale, hover=[["", '"x']])
    assert "<b>" not in html
    assert "&lt;i&gt;" in html
    assert 'title="&quot;x"' in html
    assert re.search(r'<td class="p20"[^>]*>&amp;</td>', html)
    with pytest.raises(ValueError, match="1 rows of 2 cells"):
        cell_table([["a", "b"]], np.zeros((1, 3)), ["r"], ["a", "b"], scale=scale, hover=[["", ""]])


def test_a_long_fit_waits_for_a_click_and_the_raw_decoder_is_drawn_until_then():
    at = open_page(model=REAL, decoder="fitted", prompt="The cat sat").run()
    shown = fine(at)
    assert "Until then the raw decoder is drawn" in markdown(at)
    (start,) = [one for one in at.button if (one.key or "").startswith("start:fit_quality")]
    assert start.label.startswith("Compute, about")
    assert len(cells(at)) == 31
    assert "What is in the stream need not be used" in shown
