// The keyboard on every page, set up once per browser tab: the page scrolls by PageDown and arrows before anything in it
// was clicked, the buttons of a chart's toolbar are one stop of Tab, with arrows between them, and Esc leaves the stage.

const TAB = "__lensKeys";
const SCROLL = new Set(["PageDown", "PageUp", "ArrowDown", "ArrowUp", "Home", "End", " "]);
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

// With the focus nowhere, keys scroll the document, which Streamlit keeps as high as the window.
function scrollThePage(event) {
  if (!SCROLL.has(event.key) || (document.activeElement && document.activeElement !== document.body)) return;
  document.querySelector("[data-testid=stMain]")?.focus({ preventScroll: true });
}

// Charts come and go with every run: which button is the stop is settled when Tab is pressed.
function oneStop() {
  for (const toolbar of document.querySelectorAll(".modebar")) {
    const buttons = [...toolbar.querySelectorAll(".modebar-btn")];
    const stop = Math.max(buttons.indexOf(document.activeElement), 0);
    buttons.forEach((button, index) => (button.tabIndex = index === stop ? 0 : -1));
  }
}

function moveInToolbar(event) {
  const toolbar = event.key in STEPS && document.activeElement?.closest(".modebar");
  if (!toolbar) return;
  const buttons = [...toolbar.querySelectorAll(".modebar-btn")];
  const next = buttons.indexOf(document.activeElement) + STEPS[event.key];
  buttons[(next + buttons.length) % buttons.length].focus();
  event.preventDefault();
}

// Esc closes what is open above the page first: that is taken before it comes here.
function leaveStage(event) {
  if (event.key !== "Escape" || event.defaultPrevented) return;
  document.getElementById("lens-stage-off")?.click();
}

export default function () {
  if (window[TAB]) return;
  window[TAB] = true;
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Tab") oneStop();
      else if (!event.ctrlKey && !event.metaKey && !event.altKey) {
        scrollThePage(event);
        moveInToolbar(event);
        leaveStage(event);
      }
    },
    true,
  );
}
