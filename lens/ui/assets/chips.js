// A strip of tokens that can be chosen by click or keyboard. The markup was escaped by lens.figures.strip; whatever is
// written here is set as text. With pairs (lens.ui.components.Pairs) a token that is hovered or has the keyboard lights
// up, in the strip and in a matrix: what it looks at in orange, who looks at it in grey. Nothing of that is sent.

const KEYS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
const HINT = "Point at a token, or move to it with the arrow keys: orange is what it looks at, grey is who looks at it.";
const LEAST = 0.02; // of the largest number: less has no colour
const NAMED = 3; // tokens named in the line under the strip, each way
const lights = new WeakMap(); // host -> its light

function describe(chips, data) {
  chips.forEach((chip, index) => {
    const chosen = index === data.chosen;
    chip.setAttribute("role", "option");
    chip.setAttribute("aria-selected", String(chosen));
    chip.setAttribute("aria-label", `${chip.textContent}, ${chip.title}`);
    chip.tabIndex = chosen ? 0 : -1;
  });
}

function element(name, className) {
  const made = document.createElement(name);
  made.className = className;
  return made;
}

// What lights up with one strip: its tokens, a line of words, and two frames on the matrix.
class Light {
  constructor(host, chips, pairs) {
    Object.assign(this, { chips, pairs });
    this.steps = Uint8Array.from(atob(pairs.steps), (char) => char.charCodeAt(0));
    this.line = element("p", "lens-looks");
    this.line.setAttribute("aria-live", "polite");
    host.append(this.line);
    this.frames = ["query", "key"].map((kind) => element("div", `lens-light ${kind}`));
    this.listen = (event) => this.overMatrix(event);
    document.addEventListener("pointermove", this.listen, { passive: true });
    this.off();
  }

  end() {
    document.removeEventListener("pointermove", this.listen);
    this.frames.forEach((frame) => frame.remove());
  }

  // The share of the largest number with which token ``from`` looks at token ``to``.
  weight(from, to) {
    const row = this.pairs.rows[from], column = this.pairs.rows[to];
    return row < 0 || column < 0 || column > row || to > from ? 0 : this.steps[(row * (row + 1)) / 2 + column] / 255;
  }

  off() {
    this.at = null;
    this.frames.forEach((frame) => frame.remove());
    this.chips.forEach((chip) => this.paint(chip, "", 0));
    this.line.textContent = HINT;
  }

  on(index) {
    if (this.at === index) return;
    this.at = index;
    this.chips.forEach((chip, other) => {
      const looked = this.weight(index, other), looks = other > index ? this.weight(other, index) : 0;
      this.paint(chip, looked > LEAST ? "looked" : looks > LEAST ? "looks" : "", Math.max(looked, looks));
      chip.classList.toggle("here", other === index);
    });
    this.line.textContent = this.words(index);
    this.frame(index);
  }

  paint(chip, kind, share) {
    chip.classList.remove("looked", "looks", "here");
    if (kind) chip.classList.add(kind);
    chip.style.setProperty("--share", kind ? share.toFixed(3) : "0");
  }

  words(index) {
    const name = (at) => `${at} '${this.chips[at].textContent}'`;
    const strongest = (weigh) => {
      const found = this.chips.map((_, at) => [weigh(at), at]).filter(([share]) => share > LEAST);
      const shown = found.sort((a, b) => b[0] - a[0] || a[1] - b[1]).slice(0, NAMED);
      return shown.map(([share, at]) => `${name(at)} ${(share * this.pairs.top).toFixed(2)}`).join(", ") || "none";
    };
    if (this.pairs.rows[index] < 0) return `${name(index)} is outside the stretch that is drawn.`;
    const looked = strongest((at) => this.weight(index, at));
    const looks = strongest((at) => (at > index ? this.weight(at, index) : 0));
    return `${this.pairs.of}: ${name(index)} looks at ${looked}. Later tokens that look at it: ${looks}.`;
  }

  plot() {
    return this.pairs.chart ? document.querySelector(`.st-key-${this.pairs.chart} .js-plotly-plot .svg-container`) : null;
  }

  // The row of the token as a query, the column of it as a key, where the chart has its cells.
  frame(index) {
    const holder = this.plot(), area = holder?.querySelector(".nsewdrag");
    if (!area || this.pairs.rows[index] < 0) return;
    const outer = holder.getBoundingClientRect(), inner = area.getBoundingClientRect();
    const at = this.pairs.rows[index], size = this.pairs.size, cell = inner.width / size, high = inner.height / size;
    const left = inner.left - outer.left, top = inner.top - outer.top;
    const places = [
      { left, top: top + at * high, width: (at + 1) * cell, height: high },
      { left: left + at * cell, top: top + at * high, width: cell, height: (size - at) * high },
    ];
    this.frames.forEach((frame, which) => {
      for (const [name, value] of Object.entries(places[which])) frame.style[name] = `${value}px`;
      holder.append(frame);
    });
  }

  overMatrix(event) {
    const area = this.plot()?.querySelector(".nsewdrag")?.getBoundingClientRect();
    const inside = area && event.clientX >= area.left && event.clientX < area.right && event.clientY >= area.top;
    if (!inside || event.clientY >= area.bottom) {
      if (this.fromMatrix) this.off();
      this.fromMatrix = false;
      return;
    }
    const row = Math.floor(((event.clientY - area.top) / area.height) * this.pairs.size);
    const index = this.pairs.rows.indexOf(row);
    this.fromMatrix = true;
    if (index >= 0) this.on(index);
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const host = parentElement.querySelector(".lens-chips");
  const hadFocus = host.contains(host.getRootNode().activeElement);
  lights.get(host)?.end();
  host.innerHTML = data.html;
  const strip = host.querySelector(".lens-strip");
  const chips = [...strip.children];
  strip.setAttribute("role", "listbox");
  strip.setAttribute("aria-orientation", "horizontal");
  describe(chips, data);
  const light = data.pairs ? new Light(host, chips, data.pairs) : null;
  if (light) lights.set(host, light);
  const frame = strip.closest(".lens-window");
  if (frame && chips.length) frame.scrollTop = chips[data.chosen].offsetTop - frame.clientHeight / 2;

  const lit = (event, act) => {
    const index = chips.indexOf(event.target);
    if (light && index >= 0) act(index);
  };
  strip.onpointerover = (event) => lit(event, (index) => light.on(index));
  strip.onpointerleave = () => light?.off();
  strip.addEventListener("focusin", (event) => lit(event, (index) => light.on(index)));
  strip.addEventListener("focusout", () => light?.off());
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
  return () => lights.get(host)?.end();
}
