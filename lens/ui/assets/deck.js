// A talk over the whole window: the slide that is shown, and its neighbours behind it, so that the next one is computed
// when it is asked for. Slides are pages of this app, in frames of the same origin: the keyboard is heard in them too.

const ON = new Set(["PageDown", "ArrowRight", "ArrowDown", " ", "Enter"]);
const BACK = new Set(["PageUp", "ArrowLeft", "ArrowUp"]);
const SETTLE = 1500; // milliseconds after a slide was loaded before the next one is begun

export default function ({ data, parentElement, setTriggerValue }) {
  const host = parentElement.querySelector(".lens-deck");
  if (host.dataset.key === data.key) return;
  host.dataset.key = data.key;
  host.setAttribute("role", "region");
  host.setAttribute("aria-label", data.title);
  host.innerHTML = `<header><b></b><span class="clock" role="timer"></span><span class="at" aria-live="polite"></span>
    <button class="back" aria-label="Back">←</button><button class="on" aria-label="On">→</button>
    <button class="leave">Esc</button></header>
    <div class="question" hidden><span></span><small>Space shows it</small></div>
    <div class="note" hidden></div><div class="code" hidden></div>`;
  const part = (name) => host.querySelector(name);
  const frames = new Map(); // slide -> iframe
  let at = data.at, asking = Boolean(data.slides[at].question), began = Date.now();

  const stage = (link) => `${link}${link.includes("?") ? "&" : "?"}stage=1`;

  function frame(index) {
    if (frames.has(index) || !data.slides[index]) return frames.get(index);
    const made = document.createElement("iframe");
    made.title = data.slides[index].title;
    made.hidden = true;
    made.src = stage(data.slides[index].link);
    made.addEventListener("load", () => {
      made.contentWindow.addEventListener("keydown", press, true);
      if (index === at) setTimeout(() => index === at && frame(at + 1), SETTLE);
    });
    frames.set(index, made);
    host.append(made);
    return made;
  }

  function draw() {
    const slide = data.slides[at];
    frame(at);
    for (const [index, made] of frames) {
      made.hidden = index !== at;
      if (Math.abs(index - at) > 1) {
        made.remove();
        frames.delete(index);
      }
    }
    const loaded = frames.get(at).contentDocument?.readyState === "complete";
    if (loaded) setTimeout(() => frame(at + 1), SETTLE);
    part("b").textContent = slide.title;
    part(".at").textContent = `${at + 1} / ${data.slides.length}`;
    part(".question span").textContent = slide.question;
    part(".question").hidden = !asking;
    part(".note").textContent = slide.note;
    part(".code").innerHTML = slide.qr; // drawn by this server from the address
    if (!slide.note) part(".note").hidden = true;
    part(".on").focus();
  }

  function go(step) {
    if (step > 0 && asking) asking = false;
    else if (data.slides[at + step]) {
      at += step;
      asking = step > 0 && Boolean(data.slides[at].question);
      setTriggerValue("at", at);
    }
    draw();
  }

  const leave = () => (window.location.href = data.slides[at].link);
  const turn = (name) => (part(name).hidden = !part(name).hidden || !part(name).innerHTML);

  function press(event) {
    if (!host.isConnected || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input, textarea, [contenteditable], [role=combobox]")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (ON.has(key)) go(1);
    else if (BACK.has(key)) go(-1);
    else if (key === "Escape") leave();
    else if (key === "n") turn(".note");
    else if (key === "q") turn(".code");
    else if (key === "t") began = Date.now();
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  function tick() {
    if (!host.isConnected) return;
    const seconds = Math.floor((Date.now() - began) / 1000);
    part(".clock").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    setTimeout(tick, 500);
  }

  window.addEventListener("keydown", press, true);
  part(".on").onclick = () => go(1);
  part(".back").onclick = () => go(-1);
  part(".leave").onclick = leave;
  draw();
  tick();
}
