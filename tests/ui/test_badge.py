"""The status line."""

from lens.ui.badge import badge_html

RUN = {"model": "<b>m", "revision": "step1", "device": "cpu", "dtype": "float32"}


def test_the_status_line_is_escaped_and_complete():
    text = badge_html(RUN | {"seconds": 1.234, "cached": False})
    assert "&lt;b&gt;m@step1" in text
    assert "1.23 s" in text
    assert 'data-state="live"' in text
    assert 'data-state="cached"' in badge_html(RUN | {"seconds": 1.0, "cached": True})


def test_nothing_computed_means_no_time():
    assert "data-state" not in badge_html(RUN)
    assert "no model open" in badge_html({})
