import pytest

from lens.figures.facts import Fact, Verdict, facts, size, verdicts

HOSTILE = '</td><img src=x onerror=alert(1)>"'


def test_everything_is_escaped():
    html = facts([Fact(HOSTILE, HOSTILE, HOSTILE)], HOSTILE)
    html += verdicts([Verdict(HOSTILE, "bad", HOSTILE, HOSTILE, HOSTILE)], HOSTILE)
    assert "<img" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;&quot;") == 10


def test_a_verdict_is_a_word_not_only_a_colour():
    html = verdicts([Verdict("Causal mask", "good", "holds", "0"), Verdict("Folded", "bad", "fails", "0.2")], "card")
    assert '<tr class="good"><th scope="row">Causal mask</th><td class="state">holds</td>' in html
    assert '<tr class="bad"><th scope="row">Folded</th><td class="state">fails</td>' in html


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (538_878_720, "539 MB"), (99_900_000, "99.9 MB"),
     (999_600, "1.0 MB"), (28e9, "28.0 GB"), (2_800e9, "2,800 GB")],
)  # fmt: skip
def test_sizes_are_for_reading(n_bytes, text):
    assert size(n_bytes) == text
