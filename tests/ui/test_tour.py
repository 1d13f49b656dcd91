"""The tour: every step of every chapter is done by doing what it asks, and is not done before."""

import json
import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import parse_qsl, urlsplit

import pytest
from streamlit.testing.v1 import AppTest

from lens import HookedTransformer
from lens.analysis.random_tokens import repeated_tokens
from lens.load.checkpoints import checkpoints
from lens.ui.fields import common_fields, parse
from lens.ui.limits import AT_HOME
from lens.ui.menu import page_of
from lens.ui.shared.tour.steps import CHAPTERS, MODEL, NAMES, place
from lens.ui.shared.wording import percent
from lens.ui.view import ViewState
from tests.ui.conftest import app_page, bound, fine, html

PANEL = re.compile(r'<section class="lens-tour".*?</section>', re.DOTALL)
LINK = re.compile(r'<a class="lens-go" href="([^"]*)"[^>]*>([^<]*)</a>')
OWN = "Ada Byron wrote a letter. Years later Ada Byron wrote again."


def panel(at: AppTest) -> str:
    """The HTML of the tour's panel, "" where there is none."""
    drawn = "\n".join(element.proto.body for element in at.get("html"))
    return "".join(PANEL.findall(drawn))


def links(at: AppTest) -> dict[str, str]:
    """What the panel's links say → their addresses."""
    return {unescape(words): unescape(link) for link, words in LINK.findall(panel(at))}


def status(at: AppTest) -> tuple[bool, str]:
    """Whether the step is done, and what is said of it."""
    ((done, words),) = re.findall(r'role="status" data-done="(\d)"><i[^>]*>[✓○]</i><span>(.*?)</span>', panel(at))
    return done == "1", unescape(words)


def follow(link: str, before: AppTest | None = None) -> AppTest:
    """The page of an address, for the visitor of ``before``, or for a new one: an AppTest has no Back or Forward, which
    a link to the page that is shown already is."""
    parts, at = urlsplit(link), before or app_page(urlsplit(link).path)
    if before:
        at.switch_page(f"pages/{parts.path}.py")
        at.query_params.clear()
    at.query_params.update(dict(parse_qsl(parts.query, keep_blank_values=True)))
    return at.run()


def send(at: AppTest, name: str, value: str) -> AppTest:
    """The page after what a browser sends for the widget with this id: a click in a chart, another tab."""
    shown = at._tree.get_widget_states()
    shown.widgets.add(id=name, string_value=value)
    return at._run(shown)


def click(at: AppTest, key: str, *cell: int) -> AppTest:
    """A click on a point of the chart with this key, which is about these numbers."""
    (name,) = (chart.proto.id for chart in at.get("plotly_chart") if chart.proto.id.endswith(f"-{key}"))
    points = [{"customdata": {str(place): number for place, number in enumerate(cell)}}]
    return send(at, name, json.dumps({"selection": {"points": points}}))


def open_tab(at: AppTest, label: str) -> AppTest:
    """A click on a tab."""

    def rows(block) -> Iterator:
        for child in getattr(block, "children", {}).values():
            yield child
            yield from rows(child)

    of_tab = {one.label for one in at.tabs}
    assert label in of_tab
    (name,) = (row.proto.id for row in rows(at._tree) if row.type == "tab_container" and row.proto.id)
    return send(at, name, label)


def choose(at: AppTest, kind: str, **values) -> AppTest:
    """Set the widgets of fields of the view, one after the other."""
    for name, value in values.items():
        bound(getattr(at, kind), name).set_value(value).run()
    return at


def cut_the_feeder(at: AppTest) -> AppTest:
    at = choose(at, "segmented_control", what="head")
    return choose(at, "number_input", layer=0, head=1)


def compare(at: AppTest) -> AppTest:
    return choose(at, "selectbox", with_model=MODEL)


BEFORE, AFTER = 5, 6  # checkpoints: the last one at which head 1.1 is not born yet, and the first at which it is
RUN = checkpoints(MODEL)
# What each step asks for, and a part of what is said of it then.
DEEDS = {
    "why.1": (lambda at: click(at, "scores:grid", 1, 1), "head 1.1 scores"),
    "why.2": (lambda at: click(at, "attention:matrix", 30, 6), "At position 30 head 1.1 gives"),
    "why.3": (lambda at: choose(at, "text_area", prompt=OWN), "times a token comes again; there head 1.1 gives"),
    "why.4": (lambda at: open_tab(at, "Every cut"), "with 0.1 cut out of its keys alone"),
    "why.5": (cut_the_feeder, "Without head 0.1 the loss of the second copy goes from"),
    "born.1": (lambda at: choose(at, "segmented_control", axis="log"), "Head 1.1 of lens-2l was born between"),
    "born.2": (lambda at: click(at, "dynamics:curves", 0, BEFORE, 1, 1), "scores 0.076 above its control"),
    "born.3": (compare, "in the final weights"),
    "born.4": (lambda at: click(at, "dynamics:curves", 0, 21, 0, 1), "previous-token score of head 0.1 is above"),
    "born.5": (lambda at: open_tab(at, "How it was made, other seeds"), "It is another head in each."),
}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_is_walked_by_its_own_links_and_each_step_is_done_by_what_it_asks(chapter):
    steps = CHAPTERS[chapter].steps
    home = "\n".join(element.proto.body for element in app_page("").run().get("html"))
    link = dict(map(reversed, LINK.findall(home)))[CHAPTERS[chapter].title]
    at, page = None, ""
    for number, step in enumerate(steps, 1):
        assert urlsplit(unescape(link)).path == page_of(step.page).path
        kept = panel(at).count("data-done>") if at and step.page != page else 0
        at, page = follow(unescape(link), at if step.page != page else None), step.page
        fine(at)
        assert panel(at).count("data-done>") == kept
        assert at.query_params["tour"] in (f"{chapter}.{number}", [f"{chapter}.{number}"])
        done, words = status(at)
        assert not done
        assert words.startswith("Not yet. ")
        act, says = DEEDS[f"{chapter}.{number}"]
        at = act(at)
        fine(at)
        done, words = status(at)
        assert done, words
        assert says in words
        ways = links(at)
        assert 'aria-current="step" data-done>✓</a>' in panel(at)
        if number < len(steps):
            link = ways[f"Next: {steps[number].ask} →"]
    assert "That was the last step." in panel(at)
    assert {of.title for of in CHAPTERS.values()} <= set(ways)


def view_of(**values) -> ViewState:
    """A view without a page."""
    fields = common_fields(AT_HOME)
    return ViewState(fields, {field.name: field.default for field in fields} | values)


def opened(page: str, **query: str) -> AppTest:
    return app_page(page, **query).run()


def test_what_is_said_is_what_the_model_does():
    model = HookedTransformer.from_pretrained(MODEL)
    early = HookedTransformer.from_pretrained(MODEL, checkpoint_index=BEFORE)
    repeated = repeated_tokens(model, 25, 16, 0)

    def looks(of, tokens):
        return of.run_with_cache(tokens, names_filter="blocks.1.attn.hook_pattern")[1]["pattern", 1][0, 1]

    query = {"layer": "1", "head": "1", "reads": "repeat"}
    pattern = looks(model, repeated.tokens[:1])
    _, words = status(opened("attention", tour="why.2", query="40", **query))
    assert f"gives {percent(pattern[40, 16])} of its attention to position 16, the token after the same one" in words

    then, now = (looks(of, repeated.tokens[:1])[range(26, 51), range(2, 27)].mean() for of in (early, model))
    place = RUN.places[BEFORE]
    _, words = status(opened("attention", tour="born.3", with_model=MODEL, revision=place, **query))
    assert f"gives the outlined cells {percent(then)} of its attention at 1.84M tokens, and {percent(now)} in" in words

    tokens = model.to_tokens(OWN)
    pattern, ids, sums = looks(model, tokens), tokens[0].tolist(), []
    for q, token in enumerate(ids):
        keys = [k for k in range(1, q) if ids[k - 1] == token]
        sums += [sum(float(pattern[q, k]) for k in keys)] if keys else []
    _, words = status(opened("attention", tour="why.3", layer="1", head="1", prompt=OWN))
    assert f"In your text {len(sums)} times a token comes again" in words
    assert f"gives {percent(sum(sums) / len(sums))} of its attention to what followed before" in words


def test_the_loss_without_the_feeder_is_that_of_the_page():
    at = opened("ablation", tour="why.5", layer="0", head="1", what="head", block="12", seed="3")
    _, words = status(at)
    base, without, change = re.search(r"goes from ([\d.]+) to ([\d.]+) nats: \+([\d.]+) \[", words).groups()
    assert f"goes from {base} to {without}: a change of {change} [" in html(at)


@pytest.mark.parametrize(
    ("page", "query", "says"),
    [
        ("head_scores", {"tour": "why.1", "layer": "1", "head": "0"}, "Head 1.0 is selected; another cell is"),
        ("attention", {"tour": "why.2", "layer": "1", "head": "0", "query": "30"}, "Head 1.0 is selected; this"),
        ("attention", {"tour": "why.2", "layer": "1", "head": "1"}, "The head reads the prompt"),
        ("attention", {"tour": "why.2", "layer": "1", "head": "1", "reads": "repeat", "query": "25"}, "at position 26"),
        ("attention", {"tour": "why.3", "layer": "1", "head": "1", "prompt": "abc"}, "no token comes again"),
        ("attention", {"tour": "why.3", "layer": "1", "head": "1", "reads": "repeat"}, "reads the random repeat"),
        ("qk_attribution", {"tour": "why.4", "layer": "1", "head": "1", "where": "cell", "more": "cuts"}, "A cell of"),
        ("ablation", {"tour": "why.5", "layer": "1", "head": "1", "what": "head"}, "1.1 is removed, not yet the head"),
        ("ablation", {"tour": "why.5", "layer": "0", "what": "layer"}, "A whole layer is removed"),
        ("ablation", {"tour": "why.5", "pins": "0.1", "task": "repeated"}, "Another task is chosen"),
        ("training_dynamics", {"tour": "born.2", "revision": RUN.places[AFTER]}, "its line is above 0.10 there"),
        ("training_dynamics", {"tour": "born.2", "revision": RUN.places[1]}, "a later one is still below the line"),
        ("training_dynamics", {"tour": "born.2"}, "The final weights are open."),
        ("attention", {"tour": "born.3", "layer": "1", "head": "1", "reads": "repeat"}, "is not one of before"),
    ],
)  # fmt: skip
def test_what_is_not_asked_for_does_not_count_and_what_is_missing_is_said(page, query, says):
    done, words = status(opened(page, **query))
    assert not done
    assert says in words


def test_pinned_heads_count_where_they_are_removed_and_where_their_line_is_drawn():
    assert status(opened("ablation", tour="why.5", layer="1", head="1", pins="0.1,1.1"))[0]
    assert status(opened("training_dynamics", tour="born.4", layer="1", head="1", pins="0.1"))[0]


@pytest.mark.parametrize(
    ("page", "query", "link"),
    [
        ("head_scores", {"tour": "why.1", "model": "lens-3l"}, "open lens-2l at this step"),
        ("attention", {"tour": "why.2", "revision": RUN.places[AFTER]}, "open lens-2l at this step"),
        ("tokens", {"tour": "why.4"}, "to Why it looks there"),
        ("", {"tour": "born.2"}, "to Training dynamics"),
    ],
)
def test_elsewhere_the_panel_leads_back(page, query, link):
    at = opened(page, **query)
    fine(at)
    back = follow(links(at)[link])
    assert status(back)
    assert "revision" not in back.query_params or query["tour"].startswith("born")


def test_a_visitor_leaves_the_tour_on_the_view_that_stands_there():
    at = opened("attention", tour="why.2", layer="1", head="1", prompt="a b a b")
    away = follow(links(at)["leave the tour"])
    assert panel(away) == ""
    assert away.query_params == {"layer": "1", "head": "1", "prompt": "a b a b"}


@pytest.mark.parametrize("bad", ["why.0", "why.6", "how.1", "why", "why.1.1", "<img src=x onerror=alert(1)>"])
def test_a_step_that_is_none_is_left_out_with_a_sentence(bad):
    values, (sentence,) = parse(common_fields(AT_HOME), {"tour": bad})
    assert values["tour"] == ""
    assert sentence.startswith("tour must be one of its steps, like why.1, not ")
    with pytest.raises(KeyError, match="the tour has no step"):
        place(bad)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_begins_with_values_that_its_page_has_and_says_two_sentences(name):
    chapter, number = place(name)
    step = chapter.steps[number - 1]
    fields = (*common_fields(AT_HOME), *page_of(step.page).options)
    values, notes = parse(fields, {**step.fields, "tour": name})
    assert (values["tour"], notes) == (name, [])
    assert {*step.fields, *step.without} <= values.keys()
    for sentence in (step.do, step.watch):
        assert re.fullmatch(r"[A-Z][^.]*(?:lens-2l[^.]*)?\.", sentence), sentence
    assert not re.search(r"\d", step.do.replace(MODEL, "") + step.watch), "a number belongs to what the data say"
    assert step.ask.endswith("?")


def test_on_stage_there_is_no_tour_and_a_copied_link_is_without_it():
    at = opened("attention", tour="why.2", stage="1")
    fine(at)
    assert panel(at) == ""
    view = view_of(tour="why.2", layer=1)
    view.path = "attention"
    assert view.link("http://x") == "http://x/attention?layer=1"
    assert view.canonical()["tour"] == "why.2"
