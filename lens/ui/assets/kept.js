// A view of tokens or a table as it was kept. The markup was written anew by lens.findings.safe: text, and no more.
export default function ({ data, parentElement }) {
  const host = parentElement.querySelector(".lens-kept");
  if (host.dataset.html !== data.html) host.innerHTML = host.dataset.html = data.html;
}
