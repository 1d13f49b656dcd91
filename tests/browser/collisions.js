// What of a chart lies over another part of it, or sticks out of it: titles, colour bars, legends, labels, axis titles and
// ticks. Two ticks may touch: axes turn theirs.
() => {
  const SLACK = 3; // pixels: half a line of rounding, and the empty corners of the box of a turned label
  const found = new Set();
  for (const plot of document.querySelectorAll(".js-plotly-plot")) {
    const area = plot.getBoundingClientRect();
    const parts = [];
    const add = (kind, selector) => {
      for (const node of plot.querySelectorAll(selector)) {
        const box = node.getBoundingClientRect();
        if (box.width > 1 && box.height > 1 && node.checkVisibility({ opacityProperty: true, visibilityProperty: true }))
          parts.push({ kind, box, name: `${kind} '${node.textContent.slice(0, 40)}'` });
      }
    };
    add("title", ".gtitle");
    add("colour bar", "g.colorbar");
    add("legend", "g.legend");
    add("label", ".annotation-text");
    add("axis title", ".infolayer > [class^='g-x'] text, .infolayer > [class^='g-y'] text");
    add("tick", "[class*=axislayer] [class*=tick] text");
    parts.forEach((one, at) => {
      const { left, right, top, bottom } = one.box;
      if (one.kind !== "tick" && (left < area.left - 2 || right > area.right + 2 || top < area.top - 2 || bottom > area.bottom + 2))
        found.add(`${one.name} sticks out`);
      for (const other of parts.slice(at + 1)) {
        const wide = Math.min(right, other.box.right) - Math.max(left, other.box.left);
        const high = Math.min(bottom, other.box.bottom) - Math.max(top, other.box.top);
        if (wide > SLACK && high > SLACK && !(one.kind === "tick" && other.kind === "tick"))
          found.add(`${one.name} lies over ${other.name}`);
      }
    });
  }
  return [...found];
}
