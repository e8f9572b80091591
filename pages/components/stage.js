// One picture, large: moved between with arrows and swipes, zoomed, beside what it was made from, and as its film.
// data: {items: [{id, alt, src}], of: [place of the first, how many there are], at, size, film: {src, plays} or null,
// before: {src, alt} or null, name, title, link or null, words}.
// Trigger: went, the id of what was moved to.

const LARGEST = 8; // times
const SWIPE = 48; // px

const ICONS = {
  previous: "chevron_left", next: "chevron_right", zoom: "zoom_in", film: "movie", before: "compare",
  full: "fullscreen", copy: "content_copy", share: "share", download: "download",
};

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement;
  if (!root.stage) root.stage = new Stage(root.querySelector(".stage"));
  root.stage.show(data, (id) => setTriggerValue("went", id));
  return () => root.stage.leave();
}

class Stage {
  constructor(box) {
    this.box = box;
    this.view = box.querySelector(".view");
    this.still = box.querySelector(".still");
    this.earlier = box.querySelector(".earlier");
    this.movie = box.querySelector("video");
    this.divider = box.querySelector(".divider");
    this.said = box.querySelector(".said");
    this.count = box.querySelector(".count");
    this.pointers = new Map();
    this.mode = "still";
    this.scale = 1;
    this.x = this.y = 0;
    this.at = null;
    this.awaited = null;
    for (const [name, icon] of Object.entries(ICONS)) {
      const button = box.querySelector(`.${name}`);
      button.querySelector("span").textContent = icon;
      if (name !== "download") button.addEventListener("click", () => this[name]());
    }
    this.view.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.view.addEventListener("dblclick", (event) => this.zoomTo(this.scale > 1 ? 1 : 3, event));
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel"])
      this.view.addEventListener(kind, (event) => this.pointer(event));
    this.scrub = box.querySelector(".scrub");
    this.scrub.addEventListener("input", () => this.seek(this.scrub.value / 1000));
    this.movie.addEventListener("timeupdate", () => this.tick());
    this.movie.addEventListener("click", () => (this.movie.paused ? this.movie.play() : this.movie.pause()));
    this.divider.addEventListener("input", () => this.split(this.divider.value));
    this.key = (event) => this.pressed(event);
    if (!document.fullscreenEnabled) box.querySelector(".full").hidden = true;
  }

  show(data, went) {
    this.data = data;
    this.went = went;
    if (this.awaited === null || this.awaited === data.at) {
      this.awaited = null;
      if (this.at !== data.at) this.mode = "still";
      this.at = data.at;
    }
    if (this.place() < 0) { // it was hidden or deleted meanwhile
      this.at = data.at;
      this.awaited = null;
    }
    if (this.mode !== "still" && data[this.mode] === null) this.mode = "still";
    document.addEventListener("keydown", this.key);
    for (const name of Object.keys(ICONS)) {
      const button = this.box.querySelector(`.${name}`);
      button.title = data.words[name];
      button.setAttribute("aria-label", data.words[name]);
    }
    this.divider.setAttribute("aria-label", data.words.divider);
    this.scrub.setAttribute("aria-label", data.words.scrub);
    this.box.setAttribute("aria-label", data.words.picture);
    this.draw();
  }

  leave() {
    document.removeEventListener("keydown", this.key);
  }

  place() {
    return this.data.items.findIndex((item) => item.id === this.at);
  }

  draw() {
    const { items, film, before, words } = this.data;
    const here = this.place();
    const item = items[here];
    const known = this.at === this.data.at; // of another the server has yet to say what there is
    this.still.alt = item.alt;
    const shown = (name, is) => { this.box.querySelector(`.${name}`).hidden = !is; };
    shown("previous", here > 0);
    shown("next", here < items.length - 1);
    shown("film", known && film !== null);
    shown("before", known && before !== null);
    shown("download", known);
    shown("share", known && this.data.link !== null);
    const [first, total] = this.data.of;
    this.count.textContent = total > 1 ? `${first + here + 1} / ${total}` : "";
    const saved = this.box.querySelector(".download");
    saved.href = item.src;
    saved.download = this.data.name;
    for (const name of ["film", "before"])
      this.box.querySelector(`.${name}`).setAttribute("aria-pressed", String(this.mode === name));
    this.divider.hidden = this.earlier.hidden = this.mode !== "before";
    if (this.mode === "before") {
      this.earlier.src = before.src;
      this.earlier.alt = before.alt;
      this.split(this.divider.value);
    }
    const plays = this.mode === "film" && film.plays;
    const source = this.mode === "film" && !plays ? film.src : item.src;
    if (this.still.getAttribute("src") !== source) this.still.src = source;
    if (known) this.view.style.setProperty("--ratio", this.data.size[0] / this.data.size[1]);
    this.movie.hidden = this.scrub.hidden = !plays;
    this.still.hidden = plays;
    if (!plays) this.movie.removeAttribute("src");
    else if (this.movie.getAttribute("src") !== film.src) this.movie.src = film.src;
    this.movie.setAttribute("aria-label", words.film);
    for (const near of [items[here - 1], items[here + 1]]) if (near) new Image().src = near.src;
    this.place_picture();
  }

  go(step) {
    const item = this.data.items[this.place() + step];
    if (!item) return;
    this.at = this.awaited = item.id;
    this.mode = "still";
    this.fit();
    this.draw();
    this.went(item.id);
  }

  previous() { this.go(-1); }
  next() { this.go(1); }

  // Zoom.
  place_picture() {
    this.view.style.setProperty("--scale", this.scale);
    this.view.style.setProperty("--x", `${this.x}px`);
    this.view.style.setProperty("--y", `${this.y}px`);
    this.view.classList.toggle("zoomed", this.scale > 1);
    const zoom = this.box.querySelector(".zoom");
    zoom.querySelector("span").textContent = this.scale > 1 ? "zoom_out_map" : "zoom_in";
    zoom.setAttribute("aria-pressed", String(this.scale > 1));
  }

  fit() {
    this.scale = 1;
    this.x = this.y = 0;
  }

  zoom() { this.zoomTo(this.scale > 1 ? 1 : 2.5); }

  zoomTo(scale, at) {
    const before = this.scale;
    this.scale = Math.min(Math.max(scale, 1), LARGEST);
    const box = this.view.getBoundingClientRect();
    // What is under the pointer stays there.
    const px = at ? at.clientX - box.left - box.width / 2 : 0;
    const py = at ? at.clientY - box.top - box.height / 2 : 0;
    this.x = px - ((px - this.x) * this.scale) / before;
    this.y = py - ((py - this.y) * this.scale) / before;
    this.keep_in_view();
  }

  keep_in_view() {
    if (this.scale === 1) this.x = this.y = 0;
    const box = this.view.getBoundingClientRect();
    const most = (side) => ((this.scale - 1) * side) / 2;
    this.x = Math.min(Math.max(this.x, -most(box.width)), most(box.width));
    this.y = Math.min(Math.max(this.y, -most(box.height)), most(box.height));
    this.place_picture();
  }

  wheel(event) {
    // A wheel alone moves the page, unless the picture is what one is in.
    if (!event.ctrlKey && this.scale === 1 && !document.fullscreenElement) return;
    event.preventDefault();
    this.zoomTo(this.scale * Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), event);
  }

  pointer(event) {
    if (this.mode === "film" || event.target.closest("input, button")) return;
    const held = this.pointers;
    if (event.type === "pointerdown") {
      held.set(event.pointerId, event);
      this.view.setPointerCapture(event.pointerId);
      this.begun = event;
      return;
    }
    const last = held.get(event.pointerId);
    if (!last) return;
    if (event.type === "pointermove") {
      if (held.size === 2) {
        const other = [...held.entries()].find(([id]) => id !== event.pointerId)[1];
        const far = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
        this.pinched = true;
        this.zoomTo((this.scale * far(event)) / Math.max(far(last), 1), event);
      } else if (this.mode === "before" && this.scale === 1) {
        const box = this.view.getBoundingClientRect();
        this.divider.value = (100 * (event.clientX - box.left)) / box.width;
        this.split(this.divider.value);
      } else if (this.scale > 1) {
        this.x += event.clientX - last.clientX;
        this.y += event.clientY - last.clientY;
        this.keep_in_view();
      }
      held.set(event.pointerId, event);
      return;
    }
    held.delete(event.pointerId);
    if (held.size) return;
    const moved = event.clientX - this.begun.clientX;
    const swiped = this.scale === 1 && this.mode === "still" && !this.pinched && event.pointerType !== "mouse";
    if (event.type === "pointerup" && swiped && Math.abs(moved) > SWIPE) this.go(moved < 0 ? 1 : -1);
    this.pinched = false;
  }

  pressed(event) {
    const open = document.querySelector('[role="dialog"]');
    if (open && !open.contains(this.box.getRootNode().host ?? this.box)) return;
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const typing = event.composedPath()[0];
    if (typing.closest?.("input, textarea, select, video, [contenteditable], [role='slider'], [role='combobox']")) return;
    const does = {
      ArrowLeft: () => this.previous(), ArrowRight: () => this.next(), f: () => this.full(),
      "+": () => this.zoomTo(this.scale * 1.5), "-": () => this.zoomTo(this.scale / 1.5), 0: () => this.zoomTo(1),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }

  // The rest of the row.
  split(percent) {
    this.view.style.setProperty("--split", `${percent}%`);
  }

  // The film by hand: it stands where it is let go, and a tap on it lets it run.
  seek(share) {
    this.movie.pause();
    if (this.movie.duration) this.movie.currentTime = share * this.movie.duration;
  }

  tick() {
    if (!this.movie.paused && this.movie.duration)
      this.scrub.value = (1000 * this.movie.currentTime) / this.movie.duration;
  }

  toggle(mode) {
    this.mode = this.mode === mode ? "still" : mode;
    this.fit();
    this.draw();
  }

  before() { this.toggle("before"); }
  film() { this.toggle("film"); }

  full() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.box.requestFullscreen?.();
  }

  async copy() {
    this.tell((await copied(this.data.title)) ? this.data.words.copied : this.data.words.not_copied);
  }

  async share() {
    const { title, link, name, words } = this.data;
    const address = new URL(link, location.href).href;
    if (navigator.share) {
      const told = { title, url: address };
      try {
        const blob = await (await fetch(this.still.src)).blob();
        const files = [new File([blob], name, { type: blob.type })];
        if (navigator.canShare?.({ files })) told.files = files;
      } catch { /* then the link alone is shared */ }
      try {
        await navigator.share(told);
      } catch { /* whoever changed their mind */ }
      return;
    }
    this.tell((await copied(address)) ? words.link_copied : words.not_copied);
  }

  tell(sentence) {
    this.said.textContent = sentence;
    clearTimeout(this.silence);
    this.silence = setTimeout(() => { this.said.textContent = ""; }, 3000);
  }
}

// Without encryption browsers give no clipboard, so the old way is tried then.
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    (document.querySelector('[role="dialog"]') ?? document.body).append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
