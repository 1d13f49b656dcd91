// The steps of Back are the deeds of the visitor, and links inside sentences keep this tab.
if (!window.lensGo) {
  window.lensGo = true;

  // Streamlit adds a step whenever a page begins whose path is not the address, and whenever a page writes its query.
  // After Back, pressed twice, the first of the two pages still begins, after the address has moved on: its step would
  // lead to that page again and cut off all that Forward had. What a page chooses by itself is no step either.
  let left = false; // Back, Forward or a link has set the address: what still begins under another path was left
  let acted = false; // the visitor did something since the last step
  const push = history.pushState.bind(history);
  history.pushState = (state, title, address) => {
    const moves = new URL(address, document.baseURI).pathname !== location.pathname;
    if (moves && left) return;
    if (moves || acted) push(state, title, address);
    else history.replaceState(state, title, address);
    acted = false;
  };
  for (const deed of ["pointerdown", "click", "keydown", "input"])
    window.addEventListener(deed, () => ((acted = true), (left = false)), true);
  window.addEventListener("popstate", () => ((acted = false), (left = true)), true);

  // Without loading the app anew: what this tab has opened stays open. With a key or another button held they open a
  // tab, as any link does.
  document.addEventListener("click", event => {
    const link = event.target.closest?.("a.lens-go");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    push({}, "", link.href);
    window.dispatchEvent(new PopStateEvent("popstate"));
  });
}
