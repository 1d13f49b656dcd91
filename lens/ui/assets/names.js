// A tree of names in folds, each name a button that copies it. All text is set as text, never as markup.

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function copy(name, status) {
  try {
    await navigator.clipboard.writeText(name);
    status.textContent = `Copied ${name}`;
  } catch {
    status.textContent = `Select it and press Ctrl+C: ${name}`;
  }
}

function row(cells, status) {
  const line = element("tr");
  const head = element("th");
  head.scope = "row";
  const button = element("button", cells[0]);
  button.type = "button";
  button.title = `Copy ${cells[0]}`;
  button.onclick = () => copy(cells[0], status);
  head.append(button);
  line.append(head, ...cells.slice(1).map((text) => element("td", text)));
  return line;
}

function fold(group, columns, status) {
  const box = element("details");
  box.open = group.open;
  const summary = element("summary");
  summary.append(element("b", group.name), " ", element("span", group.note));
  box.append(summary);
  const fill = () => {
    if (!box.open || box.querySelector("table")) return;
    const table = element("table");
    const head = element("tr");
    columns.forEach((name) => head.append(element("th", name)));
    const body = element("tbody");
    body.append(...group.rows.map((cells) => row(cells, status)));
    table.append(element("thead"), body);
    table.tHead.append(head);
    box.append(table);
  };
  box.ontoggle = fill;
  fill();
  return box;
}

export default function ({ data, parentElement }) {
  const host = parentElement.querySelector(".lens-names");
  if (host.dataset.shown === data.key) return; // a run of the page that changes nothing must not close the folds
  host.dataset.shown = data.key;
  const status = element("p", "", "status");
  status.setAttribute("role", "status");
  host.replaceChildren(status, ...data.groups.map((group) => fold(group, data.columns, status)));
}
