"""What a visitor keeps: from the end of a page to the list, to files, and back to the view."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from lens.findings import Finding, Findings, read_findings, write_findings
from lens.ui.fields import DEFAULT_PROMPT
from lens.ui.findings import KEPT, Kept, known_pages
from lens.ui.menu import MENU
from lens.ui.view import REFUSED
from tests.ui.conftest import app_page, fine, html, python_of

HOSTILE = "</script><img src=x onerror=alert(1)> [a](javascript:1) $x$"
A, B, C = (Finding("attention", {"model": "lens-2l", "layer": str(at)}, f"Claim {at}.") for at in range(3))


def claims(at: AppTest) -> list[str]:
    return [item.finding.claim for item in at.session_state[KEPT].items]


def listed(*findings: Finding) -> AppTest:
    """The page with these kept."""
    at, mine = app_page("findings"), Kept()
    for finding in findings:
        mine.add(finding)
    at.session_state[KEPT] = mine
    return at.run()


def press(at: AppTest, label: str) -> AppTest:
    return next(button for button in at.button if button.label == label).click().run()


def claim_box(at: AppTest):
    return next(area for area in at.text_area if area.label == "Claim")


def test_a_view_is_kept_with_the_notice_its_figure_its_python_and_its_address():
    at = app_page("head_scores", layer="1", head="1", n="10").run()
    notice = claim_box(at).value
    assert notice
    assert notice in fine(at)
    next(area for area in at.text_area if area.label == "Note").set_value("Why?")
    press(at, "Keep")
    (item,) = at.session_state[KEPT].items
    finding = item.finding
    assert (finding.page, finding.claim, finding.note) == ("head_scores", notice, "Why?")
    assert finding.view == {"model": "lens-2l", "prompt": DEFAULT_PROMPT, "layer": "1", "head": "1", "n": "10"}
    assert finding.model.startswith("lens-2l@tokens_")
    assert finding.code.strip() == python_of(at)[0]
    assert "sequences" in finding.sample
    assert json.loads(finding.figure)["layout"]["title"]["text"]
    mine = at.session_state[KEPT].findings
    assert read_findings(write_findings(mine), known_pages()) == mine
    assert at.toast[0].value == "Kept: 1 on the page Findings."
    at.switch_page("pages/findings.py").run()
    assert notice.split(":")[0] in fine(at)
    assert len(at.get("plotly_chart")) == 1


def test_where_a_visitor_stands_in_the_tour_is_no_part_of_a_view():
    at = press(app_page("tokens", tour="why.1").run(), "Keep")
    (item,) = at.session_state[KEPT].items
    assert "tour" not in item.finding.view
    assert at.query_params["tour"] == "why.1"


@pytest.mark.parametrize(
    ("page", "part"),
    [
        *(("model", part) for part in ("config", "works", "weights", "activations", "memory", "models")),
        *(("tokens", part) for part in ("prompt", "cut", "padding")),
        ("logit_lens", ""),
        ("method", ""),
    ],
)
def test_a_view_that_is_no_chart_is_kept_as_its_markup_and_reads_back(page, part):
    at = press(app_page(page, **({"part": part} if part else {})).run(), "Keep")
    mine = at.session_state[KEPT].findings
    assert [bool(one.html) for one in mine.items] == [True]
    assert read_findings(write_findings(mine), known_pages()) == mine


def test_an_empty_claim_keeps_nothing_and_says_so():
    at = app_page("method").run()
    claim_box(at).set_value("  ")
    press(at, "Keep")
    assert "A finding needs a claim: nothing was kept." in html(at)
    assert not at.session_state[KEPT].items


def test_order_words_deletion_and_its_undoing():
    at = listed(A, B, C)
    assert [button.disabled for button in at.button if button.label in ("Up", "Down")] == [True] + [False] * 4 + [True]
    at.button(key="finding:Down:0").click().run()
    assert claims(at) == [B.claim, A.claim, C.claim]
    at.button(key="finding:Up:2").click().run()
    assert claims(at) == [B.claim, C.claim, A.claim]
    at.button(key="finding:Delete:1").click().run()
    at.button(key="finding:Delete:0").click().run()
    assert claims(at) == [C.claim]
    press(at, "Undo: “Claim 0\\.” was deleted")
    press(at, "Undo: “Claim 1\\.” was deleted")
    assert claims(at) == [B.claim, C.claim, A.claim]
    at.button(key="finding:Edit:2").click().run()
    claim_box(at).set_value(HOSTILE)
    press(at, "Save")
    assert claims(at) == [B.claim, HOSTILE, A.claim]
    assert "<img" not in fine(at)


def test_a_file_is_added_behind_what_stands_here_and_not_twice():
    at = listed(A)
    file = write_findings(Findings("A class", (A, B._replace(code="print(1)"), C))).encode()
    at.file_uploader[0].set_value(("mine.json", file, "application/json")).run()
    assert claims(at) == [A.claim, B.claim, C.claim]
    assert "2 findings of mine.json added, 1 stood here already. The Python of these findings came" in fine(at)
    assert at.text_input(key="findings:title").value == "A class"
    at.run()
    assert len(claims(at)) == 3


def test_a_file_that_is_none_is_a_sentence_and_what_stands_here_stays():
    at = listed(A)
    file = json.dumps(
        {"format": "lens findings", "version": 1, "findings": [{"page": "../x", "view": {}, "claim": HOSTILE}]}
    )
    at.file_uploader[0].set_value(("[x](y).json", file.encode(), "application/json")).run()
    (error,) = [error.value for error in at.error]
    assert "\\[x\\]\\(y\\)\\.json\\: finding 1" in error
    assert "there is no page '\\.\\./x'; pages are" in error
    assert "<img" not in error
    at.file_uploader[0].set_value(("x.json", b"\xff\xfe", "application/json")).run()
    assert "it is no text in UTF\\-8" in at.error[0].value
    assert claims(at) == [A.claim]


def test_a_visitor_keeps_no_more_than_there_is_room_for(monkeypatch):
    monkeypatch.setenv("LENS_HOSTED", "1")
    mine, large = Kept(), A._replace(figure="x" * 4_000_000)
    mine.add(large)
    assert mine.problem(A) == ""
    assert mine.problem(large).startswith("findings of one visitor take at most 6 MB")


def test_the_way_back_opens_the_view_as_it_was():
    at = listed(A._replace(view={"model": "lens-1l", "layer": "0", "head": "2", "seed": "3"}))
    link = next(link for link in at.get("page_link") if link.proto.label == "Open: Attention")
    assert link.proto.page_script_hash
    query = link.proto.query_string
    assert query == "model=lens-1l&layer=0&head=2&seed=3&stage=0"


def test_every_page_but_those_that_show_can_be_kept():
    assert set(known_pages()) == {page.path for page in MENU if page.section != "Show"}
    assert "stage" not in known_pages()["attention"]
    assert not [area for area in app_page("deck").run().text_area if area.label == "Claim"]
    assert REFUSED not in app_page("findings").run().session_state
