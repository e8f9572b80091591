(() => {
  if (window.t2iForm) return;
  window.t2iForm = true;
  const name = "t2i_form";
  let kept = null, sent = false;
  const field = (place) => document.querySelector(`.st-key-${place} input`);

  window.addEventListener("pagehide", () => {
    try {
      const written = JSON.parse(field("memory_written")?.value || "null");
      const prompt = document.querySelector(".st-key-set_prompt textarea"); // what is typed may not be sent yet
      if (written && prompt) written.form.set_prompt = prompt.value;
      const now = written && (sent || !kept) ? JSON.stringify({ ...written, again: {} }) : kept;
      if (now) sessionStorage.setItem(name, now);
    } catch { /* a browser that keeps nothing */ }
  });

  try { kept = sessionStorage.getItem(name); sessionStorage.removeItem(name); } catch { /* the same */ }
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  let tries = 0, left = 0;
  const send = () => {
    const place = field("memory_read") ?? field("memory_written");
    if (tries++ > 50) return;
    if (place?.value === kept) { // by now the widget knows the text, on a slow machine after a while
      place.dispatchEvent(new FocusEvent("focusout", { bubbles: true }));
      left += 1;
    } else if (left) {
      sent = true; // and read: another text stands there
      return;
    } else if (place) {
      set.call(place, kept);
      place.dispatchEvent(new Event("input", { bubbles: true }));
    }
    setTimeout(send, 100);
  };
  if (kept && !field("memory_read")?.value) send();
})();
