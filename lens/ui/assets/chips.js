// A strip of tokens that can be chosen by click or keyboard. The markup was escaped by lens.figures.strip.

const KEYS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };

function describe(chips, data) {
  chips.forEach((chip, index) => {
    const chosen = index === data.chosen;
    chip.setAttribute("role", "option");
    chip.setAttribute("aria-selected", String(chosen));
    chip.setAttribute("aria-label", `${chip.textContent}, ${chip.title}`);
    chip.tabIndex = chosen ? 0 : -1;
  });
}

export default function ({ data, parentElement, setTriggerValue }) {
  const host = parentElement.querySelector(".lens-chips");
  const hadFocus = host.contains(host.getRootNode().activeElement);
  host.innerHTML = data.html;
  const strip = host.querySelector(".lens-strip");
  const chips = [...strip.children];
  strip.setAttribute("role", "listbox");
  strip.setAttribute("aria-orientation", "horizontal");
  describe(chips, data);
  const frame = strip.closest(".lens-window");
  if (frame && chips.length) frame.scrollTop = chips[data.chosen].offsetTop - frame.clientHeight / 2;
  if (hadFocus) chips[data.chosen]?.focus();

  const move = (from, to) => {
    const next = chips[Math.min(Math.max(to, 0), chips.length - 1)];
    from.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  };
  strip.onclick = (event) => {
    const index = chips.indexOf(event.target);
    if (index >= 0) setTriggerValue("chosen", index);
  };
  strip.onkeydown = (event) => {
    const index = chips.indexOf(event.target);
    if (index < 0) return;
    if (event.key in KEYS) move(chips[index], index + KEYS[event.key]);
    else if (event.key === "Enter" || event.key === " ") setTriggerValue("chosen", index);
    else return;
    event.preventDefault();
  };
}
