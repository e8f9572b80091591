/* Paints a mask over a picture: what is painted is drawn anew. The mask goes as a PNG, white on black, into the file
   uploader beside the canvas, as if it had been chosen there.

   What was done is a list of deeds, painted again from the first at every undo. */
(() => {
  const root = [...document.querySelectorAll(".t2i-mask")].find((one) => !one.dataset.ready);
  if (!root) return;
  root.dataset.ready = "yes";
  root.style.colorScheme = getComputedStyle(document.querySelector(".stApp")).colorScheme; // a dialog has none
  const said = JSON.parse(root.dataset.said);
  const canvas = root.querySelector("canvas"), status = root.querySelector("[role=status]");
  const button = (act) => root.querySelector(`[data-act="${act}"]`);
  const value = (name) => Number(root.querySelector(`[data-is="${name}"]`).value);
  const picture = new Image(), before = root.dataset.mask && new Image();
  const mask = document.createElement("canvas"), tint = document.createElement("canvas");
  let done = [], undone = [], stroke = null, erasing = false, at = null, soft = null;

  const side = () => Math.max(mask.width, mask.height);
  const line = (deed) => {
    const pen = mask.getContext("2d");
    pen.globalCompositeOperation = deed.erases ? "destination-out" : "source-over";
    pen.lineCap = pen.lineJoin = "round";
    pen.strokeStyle = pen.fillStyle = "#fff";
    deed.points.forEach(([x, y, width], i) => {
      const [fromX, fromY] = deed.points[Math.max(0, i - 1)];
      pen.lineWidth = width;
      pen.beginPath();
      if (i) { pen.moveTo(fromX, fromY); pen.lineTo(x, y); pen.stroke(); }
      else { pen.arc(x, y, width / 2, 0, 7); pen.fill(); }
    });
  };
  const again = () => {
    const pen = mask.getContext("2d");
    pen.globalCompositeOperation = "source-over";
    pen.clearRect(0, 0, mask.width, mask.height);
    if (before) pen.drawImage(before.painted, 0, 0);
    for (const deed of done) {
      if (deed.points) line(deed);
      else if (deed.clears) pen.clearRect(0, 0, mask.width, mask.height);
      else { pen.globalCompositeOperation = "xor"; pen.fillRect(0, 0, mask.width, mask.height); }
      pen.globalCompositeOperation = "source-over";
    }
    changed();
  };

  /* Three means over boxes are nearly a Gaussian; canvas filters are not in every browser. */
  const blurred = (alpha, width, height, radius) => {
    const along = (from, steps, stride, lines, jump) => {
      const to = new Float32Array(from.length);
      for (let row = 0; row < lines; row++) {
        const start = row * jump, get = (i) => from[start + Math.min(Math.max(i, 0), steps - 1) * stride];
        let sum = 0;
        for (let i = -radius; i <= radius; i++) sum += get(i);
        for (let i = 0; i < steps; i++) {
          to[start + i * stride] = sum / (2 * radius + 1);
          sum += get(i + radius + 1) - get(i - radius);
        }
      }
      return to;
    };
    for (let turn = 0; turn < 3; turn++) {
      alpha = along(along(alpha, width, 1, height, width), height, width, width, 1);
    }
    return alpha;
  };
  const softened = () => {
    const { width, height } = mask, data = mask.getContext("2d").getImageData(0, 0, width, height).data;
    const alpha = Float32Array.from({ length: width * height }, (_, i) => data[4 * i + 3]);
    const radius = Math.round(value("feather") / 100 * side() / 3);
    return radius ? blurred(alpha, width, height, radius) : alpha;
  };
  const share = () => soft.reduce((sum, one) => sum + one, 0) / soft.length / 255;
  const changed = () => {
    soft = softened();
    tinted();
    button("undo").disabled = !done.length;
    button("redo").disabled = !undone.length;
    const percent = Math.ceil(share() * 100);
    status.textContent = percent ? said.share.replace("{percent}", percent) : said.nothing;
    button("done").disabled = !percent;
    draw();
  };

  const colour = [226, 60, 120];
  const tinted = () => {
    const pen = tint.getContext("2d"), shown = pen.createImageData(tint.width, tint.height);
    for (let i = 0; i < soft.length; i++) {
      [shown.data[4 * i], shown.data[4 * i + 1], shown.data[4 * i + 2]] = colour;
      shown.data[4 * i + 3] = soft[i] * 0.6;
    }
    pen.putImageData(shown, 0, 0);
  };
  const hard = () => { // while the pen is down; it is softened when it is lifted
    const pen = tint.getContext("2d");
    pen.globalCompositeOperation = "copy";
    pen.drawImage(mask, 0, 0);
    pen.globalCompositeOperation = "source-in";
    pen.fillStyle = `rgb(${colour.join(" ")} / 0.6)`;
    pen.fillRect(0, 0, tint.width, tint.height);
    pen.globalCompositeOperation = "source-over";
  };
  const draw = () => {
    const { width, height } = canvas, pen = canvas.getContext("2d");
    if (stroke) hard();
    pen.drawImage(picture, 0, 0, width, height);
    pen.drawImage(tint, 0, 0);
    const aspect = Number(root.dataset.aspect); // what is beyond the shape that is drawn is cut off
    const across = Math.min(width, height * aspect), down = Math.min(height, width / aspect);
    pen.fillStyle = "rgb(0 0 0 / 0.6)";
    if (width - across > 1) for (const x of [0, (width + across) / 2]) pen.fillRect(x, 0, (width - across) / 2, height);
    if (height - down > 1) for (const y of [0, (height + down) / 2]) pen.fillRect(0, y, width, (height - down) / 2);
    if (!at) return;
    for (const [edge, more] of [["#000", 1.5], ["#fff", 0]]) {
      pen.strokeStyle = edge;
      pen.lineWidth = Math.max(1, side() / 400);
      pen.beginPath();
      pen.arc(at[0], at[1], Math.max(2, size() / 2 + more), 0, 7);
      pen.stroke();
    }
  };

  const size = () => value("size") / 100 * side();
  const place = (event) => {
    const box = canvas.getBoundingClientRect(), pressed = event.pointerType === "pen" ? 0.4 + event.pressure : 1;
    const x = (event.clientX - box.left) / box.width * canvas.width;
    return [x, (event.clientY - box.top) / box.height * canvas.height, size() * pressed];
  };
  const deed = (one) => { done.push(one); undone = []; again(); };
  const begin = (points) => {
    stroke = { points, erases: erasing };
    done.push(stroke);
    undone = [];
    line(stroke);
  };
  const end = () => { if (stroke) { stroke = null; changed(); } };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 0 || stroke) return;
    canvas.setPointerCapture(event.pointerId);
    at = place(event);
    begin([at]);
    draw();
    event.preventDefault();
    canvas.focus({ preventScroll: true });
  });
  canvas.addEventListener("pointermove", (event) => {
    if (stroke) {
      const moves = event.getCoalescedEvents?.() ?? [];
      const [last, points] = [stroke.points.at(-1), (moves.length ? moves : [event]).map(place)];
      stroke.points.push(...points);
      line({ ...stroke, points: [last, ...points] });
    }
    at = place(event);
    draw();
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(name, end);
  canvas.addEventListener("pointerleave", () => { if (!stroke) { at = null; draw(); } });
  canvas.addEventListener("blur", () => { at = null; draw(); });

  const acts = {
    brush: () => { erasing = false; tool(); },
    erase: () => { erasing = true; tool(); },
    undo: () => { if (done.length) { undone.push(done.pop()); again(); } },
    redo: () => { if (undone.length) { done.push(undone.pop()); again(); } },
    invert: () => deed({ inverts: true }),
    clear: () => deed({ clears: true }),
    done: () => hand(),
  };
  const tool = () => {
    button("brush").setAttribute("aria-pressed", String(!erasing));
    button("erase").setAttribute("aria-pressed", String(erasing));
  };
  const turn = (name, by) => {
    const field = root.querySelector(`[data-is="${name}"]`);
    field.value = Number(field.value) + by;
    draw();
  };
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const keys = { " ": true, Enter: true };
  canvas.addEventListener("keydown", (event) => {
    const command = event.ctrlKey || event.metaKey, key = event.key.toLowerCase();
    if (command && key === "z") acts[event.shiftKey ? "redo" : "undo"]();
    else if (command && key === "y") acts.redo();
    else if (command || event.altKey) return;
    else if (arrows[event.key]) {
      const step = side() * (event.shiftKey ? 0.01 : 0.04), [x, y] = at ?? [canvas.width / 2, canvas.height / 2];
      const within = (one, most) => Math.min(Math.max(one, 0), most);
      const [dx, dy] = arrows[event.key];
      at = [within(x + dx * step, canvas.width), within(y + dy * step, canvas.height), size()];
      draw();
    } else if (keys[event.key]) {
      at ??= [canvas.width / 2, canvas.height / 2];
      begin([[at[0], at[1], size()]]);
      end();
    } else if (key === "b" || key === "e") acts[key === "b" ? "brush" : "erase"]();
    else if (event.key === "[" || event.key === "]") turn("size", event.key === "[" ? -2 : 2);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  root.addEventListener("click", (event) => {
    const act = event.target.closest("button")?.dataset.act;
    if (act) acts[act]();
  });
  root.querySelector('[data-is="feather"]').addEventListener("input", changed);

  const hand = () => {
    const out = document.createElement("canvas"), pen = out.getContext("2d");
    [out.width, out.height] = [mask.width, mask.height];
    const made = pen.createImageData(out.width, out.height);
    soft.forEach((one, i) => made.data.set([one, one, one, 255], 4 * i));
    pen.putImageData(made, 0, 0);
    button("done").disabled = true;
    out.toBlob((blob) => {
      const files = new DataTransfer(), field = document.querySelector(`.st-key-${root.dataset.to} input[type=file]`);
      files.items.add(new File([blob], "mask.png", { type: "image/png" }));
      field.files = files.files;
      field.dispatchEvent(new Event("change", { bubbles: true }));
      status.textContent = said.sent;
    }, "image/png");
  };

  /* A mask from before: white becomes opaque. */
  const read = () => {
    const made = document.createElement("canvas"), pen = made.getContext("2d");
    [made.width, made.height] = [mask.width, mask.height];
    pen.drawImage(before, 0, 0, made.width, made.height);
    const pixels = pen.getImageData(0, 0, made.width, made.height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      pixels.data[i + 3] = pixels.data[i];
      pixels.data.fill(255, i, i + 3);
    }
    pen.putImageData(pixels, 0, 0);
    before.painted = made;
  };
  const load = async () => {
    picture.src = root.dataset.picture;
    await picture.decode();
    for (const one of [canvas, mask, tint]) [one.width, one.height] = [picture.naturalWidth, picture.naturalHeight];
    if (before) {
      before.src = root.dataset.mask;
      await before.decode();
      read();
    }
    again();
  };
  load();
})();
