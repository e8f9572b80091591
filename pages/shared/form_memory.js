(() => {
  if (window.t2iForm) return;
  window.t2iForm = true;
  const name = "t2i_form";
  let kept = null;
  const field = (place) => document.querySelector(`.st-key-${place} input`);

  window.addEventListener("pagehide", () => {
    try {
      const written = JSON.parse(field("memory_written")?.value || "null");
      const prompt = document.querySelector(".st-key-set_prompt textarea"); // what is typed may not be sent yet
      if (written && prompt) written.form.set_prompt = prompt.value;
      const now = written ? JSON.stringify(written) : kept; // a page left before it was whole
      if (now) sessionStorage.setItem(name, now);
    } catch { /* a browser that keeps nothing */ }
  });

  try { kept = sessionStorage.getItem(name); sessionStorage.removeItem(name); } catch { /* the same */ }
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  let tries = 0;
  const send = () => {
    const first = field("memory_read");
    if (!first || field("memory_written") || tries++ > 50) return; // it was read
    if (first.value !== kept) {
      set.call(first, kept);
      first.dispatchEvent(new Event("input", { bubbles: true }));
    } else { // by now the widget knows the text, on a slow machine after a while
      first.dispatchEvent(new FocusEvent("focusout", { bubbles: true }));
    }
    setTimeout(send, 100);
  };
  if (kept && !field("memory_read")?.value) send();
})();
