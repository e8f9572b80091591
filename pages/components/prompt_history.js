// In the field of the prompt, arrow up and down at its ends go through what was asked for before.
(() => {
  window.t2iPrompts = PROMPTS;
  if (window.t2iHistory) return;
  window.t2iHistory = true;
  let place = -1, own = "";
  const set = (field, text) => {
    Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(field, text);
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };
  document.addEventListener("keydown", (event) => {
    const field = event.target;
    if (!field.matches?.(".st-key-set_prompt textarea") || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!step) {
      place = -1;
      return;
    }
    const up = step > 0;
    const at = field.selectionStart, end = field.value.length;
    // Inside a prompt of several lines the arrows move the cursor.
    if (place < 0 && (up ? at > 0 && at < end : true)) return;
    const next = place + step;
    if (next >= window.t2iPrompts.length || next < -1) return;
    if (place < 0) own = field.value;
    place = next;
    event.preventDefault();
    set(field, place < 0 ? own : window.t2iPrompts[place]);
    field.setSelectionRange(field.value.length, field.value.length);
  }, true);
})();
