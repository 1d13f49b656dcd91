export default function({ parentElement, data }) {
  const button = parentElement.querySelector("button");
  const field = parentElement.querySelector("input");
  const status = parentElement.querySelector("span");
  field.value = data.url;
  const copied = () => { status.textContent = "Link copied"; setTimeout(() => { status.textContent = ""; }, 2000); };
  const byHand = () => {
    field.hidden = false;
    field.select();
    const done = document.execCommand("copy");
    field.hidden = done;
    if (done) { copied(); button.focus(); } else { status.textContent = "Press Ctrl+C"; }
  };
  button.onclick = () => {
    if (navigator.clipboard) navigator.clipboard.writeText(data.url).then(copied, byHand);
    else byHand();
  };
}
