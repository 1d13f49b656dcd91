// Links inside sentences, without loading the app anew: what this tab has opened stays open. With a key or another
// button held they open a tab, as any link does.
if (!window.lensGo) {
  window.lensGo = true;
  document.addEventListener("click", event => {
    const link = event.target.closest?.("a.lens-go");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    history.pushState({}, "", link.href);
    window.dispatchEvent(new PopStateEvent("popstate"));
  });
}
