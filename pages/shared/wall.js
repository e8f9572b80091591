/* Draws the wall from what the page says is to be seen ([data-wall], as JSON): one picture fades into the next, a film
   plays once, nothing flickers. Text is set as text, whatever visitors wrote. */
(() => {
  if (window.t2iDrawsWall) return;
  const LOOK_MS = 200, DARK_MS = 900, AGAIN_MS = 2000, IMAGE_FILM_MS = 7500, MAX_PLAYED = 200;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const played = new Set();
  let root = null, parts = null, last = null, wait = 0;

  const make = (name, into, tag = "div") => {
    const made = document.createElement(tag);
    if (name) made.className = `t2i-${name}`;
    into?.append(made);
    return made;
  };
  const say = (element, text) => { if (element.textContent !== (text ?? "")) element.textContent = text ?? ""; };
  const saidIn = into => make("", into, "bdi");
  const address = below => `${location.pathname.replace(/\/$/, "")}/${below}`;

  /* Pictures on top of each other: the newest fades in, then those below go. */
  function frames(box, glow) {
    let wanted = "", shown = null, of = null; // of: which picture is shown, in whatever state
    const fade = () => parseFloat(getComputedStyle(box).getPropertyValue("--fade")) || 0;
    const fading = () => (still.matches ? 0 : 1000 * fade());
    const shape = layer => layer.style.getPropertyValue("--ratio");
    function put(layer, width, height) {
      const before = [...box.children];
      layer.style.setProperty("--ratio", width / height || 1);
      box.parentElement.style.setProperty("--ratio", width / height || 1);
      layer.classList.add("t2i-layer");
      box.append(layer);
      const other = before.length && shape(before.at(-1)) !== shape(layer);
      layer.getBoundingClientRect(); // or it would not be seen to begin transparent
      layer.classList.add("on");
      if (other) before.forEach(one => one.classList.remove("on"));
      setTimeout(() => before.forEach(one => one.remove()), fading() + 100);
      if (glow) shine(layer, glow, fading());
      shown = layer;
    }
    return {
      clear() {
        wanted = "";
        shown = of = null;
        for (const one of [...box.children, ...(glow?.children ?? [])]) {
          one.classList.remove("on");
          setTimeout(() => one.remove(), fading() + 100);
        }
      },
      /* The picture at an address, once it is whole; what was wanted before and has not come yet is let go. */
      async picture(source, alt, key) {
        if (wanted === source) { if (shown?.alt !== undefined) shown.alt = alt; return; }
        wanted = source;
        const image = new Image();
        image.alt = alt;
        image.src = address(source);
        try {
          await image.decode();
        } catch {
          if (wanted !== source) return;
          // Another's picture may be one that was taken out: it does not stay in this one's place.
          if (of === key) wanted = ""; else this.clear();
          setTimeout(() => { last = null; }, AGAIN_MS);
          return;
        }
        if (wanted !== source) return;
        put(image, image.naturalWidth, image.naturalHeight);
        of = key;
      },
      /* A film, once, then what comes behind it. */
      film(source, isVideo, alt, key, then) {
        wanted = source;
        const over = () => { if (wanted === source) then(); };
        const film = document.createElement(isVideo ? "video" : "img");
        film.setAttribute(isVideo ? "aria-label" : "alt", alt);
        film.addEventListener("error", over);
        if (isVideo) {
          Object.assign(film, { muted: true, playsInline: true, preload: "auto" });
          film.addEventListener("ended", over);
          film.addEventListener("loadeddata", () => {
            if (wanted !== source) return;
            put(film, film.videoWidth, film.videoHeight);
            of = key;
            film.play().catch(over);
          }, { once: true });
        } else {
          film.addEventListener("load", () => {
            if (wanted !== source) return;
            put(film, film.naturalWidth, film.naturalHeight);
            of = key;
            setTimeout(over, IMAGE_FILM_MS);
          }, { once: true });
        }
        film.src = address(source);
      },
    };
  }

  /* The picture's own light around it: a few of its points, as wide as the screen. */
  function shine(layer, glow, fadeMs) {
    const canvas = document.createElement("canvas"), before = [...glow.children];
    canvas.width = canvas.height = 24;
    const pen = canvas.getContext("2d");
    pen.filter = "blur(2px)";
    pen.drawImage(layer, -2, -2, 28, 28);
    glow.append(canvas);
    canvas.getBoundingClientRect();
    canvas.classList.add("on");
    setTimeout(() => before.forEach(one => one.remove()), Math.max(fadeMs, 1200) + 100);
  }

  function build(into) {
    const glow = make("wall-glow", into);
    const stage = make("wall-stage", into), box = make("wall-box", stage), big = saidIn(make("wall-words", stage));
    const caption = make("wall-caption", stage);
    const prompt = saidIn(make("wall-prompt", caption)), under = make("wall-under", caption);
    const by = make("wall-by", under, "span"), about = make("wall-about", under, "span");
    const note = make("wall-note", under, "span"), line = make("wall-line", caption);
    const grid = make("wall-tiles", into), side = make("wall-side", into);
    const invite = make("invite", side), qr = make("qr", side, "img"), way = make("address", side);
    const code = make("code", side), noteOfSide = make("meta", side);
    const counts = make("counts", side), state = make("meta", side);
    counts.setAttribute("role", "status");
    const shown = frames(box, glow);
    const texts = { big, prompt, by, about, note, invite, way, code, noteOfSide, counts, state };
    return { ...texts, stage, line, grid, qr, shown, tiles: [], staged: null, playing: null, layout: null };
  }

  function drawStage(now) {
    const { stage, shown } = parts, another = parts.staged !== now.key;
    stage.dataset.kind = now.kind;
    stage.classList.toggle("t2i-bare", !now.picture);
    if (another) {
      parts.staged = now.key;
      if (!now.picture) shown.clear();
      stage.classList.remove("t2i-enters");
      stage.getBoundingClientRect();
      stage.classList.add("t2i-enters");
    }
    say(parts.big, now.picture ? "" : now.prompt);
    say(parts.prompt, now.picture ? now.prompt : "");
    say(parts.by, now.by);
    say(parts.about, now.about);
    say(parts.note, now.note);
    bar(parts.line, now.progress);
    const finish = () => shown.picture(now.picture, now.prompt, now.key);
    if (now.film && !still.matches && !played.has(now.key)) {
      played.add(now.key);
      if (played.size > MAX_PLAYED) played.delete(played.values().next().value);
      parts.playing = now.key;
      shown.film(now.film, now.video, now.prompt, now.key, () => { parts.playing = null; finish(); });
    } else if (now.picture && parts.playing !== now.key) {
      parts.playing = null;
      finish();
    }
  }

  function bar(line, share) {
    line.style.setProperty("--share", share ?? 0);
    line.classList.toggle("t2i-none", share === null || share === undefined);
  }

  function drawTiles(now) {
    const { grid, tiles } = parts;
    grid.dataset.count = now.tiles.length;
    grid.style.setProperty("--columns", now.columns);
    grid.style.setProperty("--rows", now.rows);
    while (tiles.length > now.tiles.length) tiles.pop().whole.remove();
    now.tiles.forEach((tile, place) => {
      if (!tiles[place]) {
        const whole = make("wall-tile", grid), box = make("wall-box", whole);
        const prompt = saidIn(make("wall-prompt", whole)), about = make("wall-about", whole);
        tiles[place] = { whole, prompt, about, line: make("wall-line", whole), shown: frames(box, null) };
      }
      const there = tiles[place];
      there.whole.classList.toggle("t2i-none", !tile);
      if (!tile) { there.shown.clear(); return; }
      say(there.prompt, tile.prompt);
      say(there.about, tile.about);
      bar(there.line, tile.progress);
      if (tile.picture) there.shown.picture(tile.picture, tile.prompt, tile.key);
    });
  }

  function drawSide(now) {
    say(parts.invite, now.invite);
    say(parts.noteOfSide, now.note);
    say(parts.way, now.address);
    say(parts.state, now.state);
    parts.qr.hidden = !now.qr;
    if (now.qr && parts.qr.src !== now.qr) Object.assign(parts.qr, { src: now.qr, alt: now.alt });
    const numbered = (into, before, strong, after) => {
      const key = JSON.stringify([before, strong, after]);
      if (into.dataset.said === key) return;
      into.dataset.said = key;
      into.replaceChildren(before, Object.assign(document.createElement("b"), { textContent: strong }), after);
    };
    parts.code.hidden = !now.code;
    if (now.code) numbered(parts.code, `${now.code[0]} `, now.code[1], "");
    while (parts.counts.children.length < now.counts.length) make("", parts.counts, "span");
    now.counts.forEach(([count, word], n) => numbered(parts.counts.children[n], "", String(count), ` ${word}`));
  }

  function look() {
    const here = document.querySelector(".t2i-wall");
    if (!here) { root = null; return; }
    if (here !== root || !here.firstChild) {
      root = here;
      root.replaceChildren();
      parts = build(root);
      last = null;
    }
    const text = document.querySelector("[data-wall]")?.dataset.wall;
    if (!text || text === last || Date.now() < wait) return;
    const now = JSON.parse(text), first = now.stage.kind === "empty", alone = now.calm || !now.tiles.some(Boolean);
    const layout = `${first} ${alone}`;
    if (parts.layout && parts.layout !== layout && !still.matches) {
      // Other places for everything: through the dark.
      parts.layout = null;
      root.classList.remove("t2i-drawn");
      wait = Date.now() + DARK_MS;
      return;
    }
    last = text;
    parts.layout = layout;
    root.classList.add("t2i-drawn");
    root.classList.toggle("t2i-calm", now.calm);
    root.classList.toggle("t2i-alone", alone);
    root.classList.toggle("t2i-first", first);
    drawStage(now.stage);
    drawTiles(now);
    drawSide(now.side);
  }
  window.t2iDrawsWall = setInterval(look, LOOK_MS);
  look();
})();
