// needs: drawing
"use strict";
// A view of the latent plane on a canvas: z1 to the right, z2 upwards, as in the scatter. It pans and zooms.

class View {
  /** canvases lie on top of each other in one square; the last one takes the pointer. changed() is called on a move. */
  constructor(canvases, halfWidth, changed) {
    this.canvases = canvases;
    this.changed = changed;
    this.centre = [0, 0];
    this.span = 2 * halfWidth; // how much of z1 is seen
    this.limits = { smallest: 0.05, largest: Math.max(16, 4 * halfWidth) };
    this.width = this.height = 1;
    new ResizeObserver(() => this.resize()).observe(canvases[0]);
    this.resize();
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvases[0];
    if (!clientWidth || !clientHeight) return; // it is not shown now
    [this.width, this.height] = [clientWidth, clientHeight];
    for (const canvas of this.canvases) sized(canvas, clientWidth, clientHeight);
    this.changed();
  }

  /** Pixels of the page for a unit of z. */
  get scale() {
    return Math.min(this.width, this.height) / this.span;
  }

  screenX(z1) {
    return this.width / 2 + (z1 - this.centre[0]) * this.scale;
  }

  screenY(z2) {
    return this.height / 2 - (z2 - this.centre[1]) * this.scale;
  }

  toScreen(/** @type {number[]} */ [z1, z2]) {
    return [this.screenX(z1), this.screenY(z2)];
  }

  toCode(/** @type {number[]} */ [x, y]) {
    const { centre, width, height, scale } = this;
    return [centre[0] + (x - width / 2) / scale, centre[1] - (y - height / 2) / scale];
  }

  /** An empty canvas to draw on, with coordinates in pixels of the page. */
  clear(index) {
    const context = penOf(this.canvases[index]);
    context.clearRect(0, 0, this.width, this.height);
    return context;
  }

  pan(dx, dy) {
    this.centre = [this.centre[0] - dx / this.scale, this.centre[1] + dy / this.scale];
    this.changed();
  }

  /** Zoom by a factor around a place on the screen, which stays where it is. */
  zoom(factor, place = [this.width / 2, this.height / 2]) {
    const before = this.toCode(place);
    this.span = Math.min(this.limits.largest, Math.max(this.limits.smallest, this.span / factor));
    const after = this.toCode(place);
    this.centre = this.centre.map((value, i) => value + before[i] - after[i]);
    this.changed();
  }

  show(centre, span) {
    this.centre = centre;
    this.span = Math.min(this.limits.largest, Math.max(this.limits.smallest, span));
    this.changed();
  }

  /** The axes: numbers along the lower and the left edge. */
  drawAxes(context) {
    const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200].find((size) => size * this.scale > 58) ?? 500;
    const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
    const [low, high] = [this.toCode([0, this.height]), this.toCode([this.width, 0])];
    context.fillStyle = themeColour("quiet");
    context.strokeStyle = themeColour("grid");
    context.lineWidth = 1;
    context.font = "12px system-ui, sans-serif";
    const ticks = (i) => {
      const count = Math.floor(high[i] / step) - Math.ceil(low[i] / step) + 1;
      return Array.from({ length: Math.max(0, count) }, (_, k) => (Math.ceil(low[i] / step) + k) * step);
    };
    context.textAlign = "center";
    for (const z1 of ticks(0)) {
      const x = this.screenX(z1);
      if (x < 34 || x > this.width - 44) continue;
      context.fillRect(x, this.height - 5, 1, 5);
      context.fillText(formatted(z1, digits), x, this.height - 8);
    }
    context.textAlign = "left";
    for (const z2 of ticks(1)) {
      const y = this.screenY(z2);
      if (y < 24 || y > this.height - 28) continue;
      context.fillRect(0, y, 5, 1);
      context.fillText(formatted(z2, digits), 8, y + 4);
    }
    context.font = "italic 13px system-ui, sans-serif";
    context.fillText("z2", 8, 16);
    context.textAlign = "right";
    context.fillText("z1", this.width - 6, this.height - 8);
  }
}

/**
 * Pointers on a view: one finger or button drags, two fingers pinch, Ctrl and the wheel zoom.
 * A finger scrolls the page, but where grips(place) says that there is something to hold. Calls grab(place, event),
 * drag(place, from, event) and tap(place), all in pixels of the page.
 * @param {any} view
 * @param {any} calls
 */
function followPointers(view, { grips, grab = () => {}, drag = () => {}, tap = () => {} }) {
  const canvas = view.canvases.at(-1);
  const down = new Map(); // pointer -> where it is now
  let scrolls = false; // whether the finger has nothing to hold, and may scroll the page
  let start = null; // where a single pointer went down; null once it moved, or a second came
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    start = down.size === 1 ? at(event) : null;
    scrolls = event.pointerType === "touch" && !grips(at(event));
    if (down.size === 1) grab(at(event), event);
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = at(event);
    const before = down.get(event.pointerId);
    if (!before) return;
    if (start && Math.hypot(now[0] - start[0], now[1] - start[1]) < 5) return; // a tap may tremble
    start = null;
    if (down.size === 2) {
      const other = [...down].find(([pointer]) => pointer !== event.pointerId)[1];
      const distance = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]);
      view.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
      view.zoom(distance(now) / Math.max(1, distance(before)), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
    } else if (!scrolls) {
      drag(now, before, event);
    }
    down.set(event.pointerId, now);
  });
  const lift = (event) => {
    if (!down.delete(event.pointerId)) return;
    if (start && event.type === "pointerup") tap(at(event));
    start = null;
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("touchstart", (event) => {
    if (event.touches.length > 1 || grips(at(event.touches[0]))) event.preventDefault(); // else the finger may scroll the page
  }, { passive: false });
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the page
      event.preventDefault();
      view.zoom(Math.exp(-event.deltaY / 200), at(event));
    },
    { passive: false },
  );
}
