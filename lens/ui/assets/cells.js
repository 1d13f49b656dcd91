// A table whose cells can be chosen by click or keyboard. The markup was escaped by lens.figures.cell_table.

const STEPS = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };

export default function ({ data, parentElement, setTriggerValue }) {
  const host = parentElement.querySelector(".lens-cell-host");
  const hadFocus = host.contains(host.getRootNode().activeElement);
  const before = host.querySelector(".lens-cells");
  const [left, top] = [before?.scrollLeft, before?.scrollTop];
  host.innerHTML = data.html;
  const frame = host.querySelector(".lens-cells");
  const rows = [...frame.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("td")]);
  const chosen = frame.querySelector(`td[data-at="${data.chosen}"]`) ?? rows[0][0];
  frame.querySelector("table").setAttribute("role", "grid");
  for (const cell of rows.flat()) {
    cell.setAttribute("role", "gridcell");
    cell.tabIndex = cell === chosen ? 0 : -1;
    cell.setAttribute("aria-label", `${cell.textContent}, ${cell.title}`);
  }
  chosen.setAttribute("aria-selected", "true");
  if (before) {
    frame.scrollLeft = left;
    frame.scrollTop = top;
  } else {
    frame.scrollLeft = chosen.offsetLeft - frame.clientWidth / 2;
  }
  if (hadFocus) chosen.focus();

  const choose = (cell) => setTriggerValue("chosen", cell.dataset.at);
  frame.onclick = (event) => {
    const cell = event.target.closest("td");
    if (cell) choose(cell);
  };
  frame.onkeydown = (event) => {
    const cell = event.target.closest("td");
    if (!cell) return;
    if (event.key in STEPS) {
      const row = rows.findIndex((line) => line.includes(cell));
      const [down, right] = STEPS[event.key];
      const next = rows[row + down]?.[rows[row].indexOf(cell) + right];
      if (!next) return;
      cell.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    } else if (event.key === "Enter" || event.key === " ") choose(cell);
    else return;
    event.preventDefault();
  };
}
