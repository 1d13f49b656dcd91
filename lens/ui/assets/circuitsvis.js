// Draws one CircuitsVis element inside a Streamlit component. The bundle is fetched once per browser tab, from this server.

const TAB = "__lensCircuitsVis";
let counter = 0;
const endings = new WeakMap(); // host -> what ends its drawing

// Streamlit's own script is served beside `app/static` whatever page, base path or proxy prefix we are under.
function bundleUrl(name) {
  const own = document.querySelector('script[src*="static/js/"]');
  if (!own) throw new Error("Streamlit's own script was not found on the page.");
  return new URL(`../../app/static/${encodeURIComponent(name)}`, own.src).href;
}

function loadBundle(name) {
  window[TAB] ??= new Promise((resolve, reject) => {
    const fail = (why) => {
      delete window[TAB];
      reject(new Error(why));
    };
    const script = document.createElement("script");
    script.src = bundleUrl(name);
    script.onload = () => {
      if (!window.CircuitsVis) return fail(`${script.src} did not hold CircuitsVis.`);
      // TensorFlow.js inside it would mix its few colours on the graphics card: without one that takes 20 seconds.
      window._tfengine.setBackend("cpu").then(() => resolve(window.CircuitsVis), (error) => fail(error.message));
    };
    script.onerror = () => fail(`${script.src} could not be loaded; is server.enableStaticServing on?`);
    document.head.append(script);
  });
  return window[TAB];
}

function isDark(host) {
  const probe = document.createElement("i");
  probe.style.color = "var(--st-background-color)";
  host.append(probe);
  const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return 0.299 * red + 0.587 * green + 0.114 * blue < 128;
}

function say(host, sentence) {
  const line = document.createElement("p");
  line.setAttribute("role", "alert");
  line.textContent = sentence;
  host.replaceChildren(line);
}

// CircuitsVis cannot take a drawing away: left behind, each keeps its charts and listeners, a megabyte a run. So the root's
// only child is this class, and emptying it makes React take down all that is below. The class and its element are
// written out because the bundle does not hand out React.
function Frame(props) {
  this.props = props;
  props.keep(this);
}
Frame.prototype.isReactComponent = {};
Frame.prototype.render = function () {
  const { type, props } = this.props;
  return this.empty ? null : { $$typeof: Symbol.for("react.element"), type, props, key: null, ref: null, _owner: null };
};

function takeDown(frame) {
  frame.empty = true;
  frame.updater.enqueueForceUpdate(frame);
}

// CircuitsVis looks its node up in the document, so it starts there, and moves into the component with its React root.
function draw(host, library, data, onEmpty) {
  const type = library[data.element];
  if (!type) throw new Error(`CircuitsVis has no element ${data.element}.`);
  const node = document.createElement("div");
  let frame = null;
  node.id = `lens-circuits-${++counter}`;
  document.body.append(node);
  library.render(node.id, Frame, { type, props: data.props, keep: (made) => (frame = made) });
  host.replaceChildren(node);
  // React empties its root when drawing fails, and reports it to the console only.
  const watch = new MutationObserver(() => node.firstChild || onEmpty());
  watch.observe(node, { childList: true });
  const late = setTimeout(() => node.firstChild || onEmpty(), 8000);
  return () => {
    watch.disconnect();
    clearTimeout(late);
    if (frame) takeDown(frame);
  };
}

export default function ({ data, parentElement }) {
  const host = parentElement.querySelector(".lens-circuits");
  let alive = true;
  let stop = () => {};
  // Streamlit calls this again for new data, but what it returned only when the component goes.
  endings.get(host)?.();
  const fail = (why) => alive && say(host, `CircuitsVis could not draw this: ${why}`);
  host.setAttribute("aria-label", data.label);
  host.dataset.mode = isDark(host) ? "dark" : "light";
  try {
    loadBundle(data.bundle)
      .then((library) => {
        if (!alive) return;
        stop = draw(host, library, data, () => fail("it stopped while drawing; the browser console has the reason."));
      })
      .catch((error) => fail(error.message));
  } catch (error) {
    fail(error.message);
  }
  const end = () => {
    alive = false;
    stop();
  };
  endings.set(host, end);
  return () => endings.get(host)();
}
