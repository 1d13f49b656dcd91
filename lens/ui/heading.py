"""What stands above a chart in a narrow window, in place of the chart's own title."""

from collections.abc import Mapping
from typing import Any


def heading_html(layout: Mapping[str, Any]) -> str:
    """Title and definition of a chart as text that breaks its lines, for windows in which the chart's own are cut.

    It reaches into the room that the chart keeps for its own. Style sheets show one of the two.
    """
    title = layout.get("title", {})
    definition = title.get("subtitle", {}).get("text", "").replace("<br>", " ")
    room = f'style="margin-bottom: -{layout.get("margin", {}).get("t", 0)}px"'
    return f'<div class="lens-heading" {room}><b>{title.get("text", "")}</b> {definition}</div>'
