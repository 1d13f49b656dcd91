// Every piece of text that is on screen, with its contrast (WCAG 2) against what lies behind it.
// Colours and opacities are the computed ones; a translucent background lies on that of its parent.
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, back, alpha = top[3]) => [0, 1, 2].map((i) => top[i] * alpha + back[i] * (1 - alpha));
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const above = (node) => node.parentElement || node.getRootNode().host || null;
  const page = rgba(getComputedStyle(document.querySelector("[data-testid=stApp]")).backgroundColor);
  const behind = (element) => {
    const chain = [];
    for (let one = element; one; one = above(one)) chain.unshift(one);
    return chain.reduce((colour, one) => {
      const style = getComputedStyle(one);
      return style.backgroundColor ? over(rgba(style.backgroundColor), colour) : colour;
    }, page);
  };
  const opacity = (element) => {
    let all = 1;
    for (let one = element; one; one = above(one)) all *= parseFloat(getComputedStyle(one).opacity || 1);
    return all;
  };
  const found = [];
  const note = (text, value, element) => {
    const where = element.closest("[data-testid], [class*=lens-]");
    const place = where ? where.dataset.testid || where.getAttribute("class") : "";
    found.push([text.slice(0, 40), Math.round(100 * value) / 100, `${place} ${element.tagName.toLowerCase()}`]);
  };
  const look = (root) => {
    const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
      if (node.nodeType === Node.ELEMENT_NODE) {
        if (node.shadowRoot) look(node.shadowRoot);
        continue;
      }
      const text = node.textContent.trim(), element = node.parentElement;
      if (!/[\p{L}\p{N}]/u.test(text) || !element || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
      if (element.closest("style, script, noscript, [disabled], [aria-disabled=true], [data-testid=stIconMaterial]")) continue;
      if (element.closest(".katex-mathml, .textpoint, [data-stale=true]")) continue;
      if (element.closest(".lens-circuits[data-mode=dark] .tokens button")) continue; // a filter turns its colours round
      const style = getComputedStyle(element), back = behind(element);
      const ink = rgba(element instanceof SVGElement ? style.fill : style.color);
      const alpha = ink[3] * opacity(element) * (element instanceof SVGElement ? parseFloat(style.fillOpacity) : 1);
      if (alpha < 0.05) continue;
      const value = contrast(over(ink, back, alpha), back);
      note(text, value, element);
    }
  };
  look(document.body);
  for (const box of document.querySelectorAll("input, textarea")) {
    if (!box.checkVisibility({ opacityProperty: true }) || box.disabled || !(box.value || box.placeholder)) continue;
    const ink = rgba(getComputedStyle(box, box.value ? null : "::placeholder").color), back = behind(box);
    note(box.value || box.placeholder, contrast(over(ink, back, ink[3] * opacity(box)), back), box);
  }
  return found;
}
