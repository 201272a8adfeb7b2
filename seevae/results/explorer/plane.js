// needs: manifold, view
"use strict";
// Panel "The latent plane": all codes, the digit under the pointer, the walk, and the manifold under the dots.

const WALK_STEPS = 11;
const WALK_HINTS = [ // by the number of places
  "Click (or tap) a place to start a walk.",
  "Now click where the walk shall end.",
  "The walk from A to B in equal steps. Click again for another one.",
];

const planePanel = (app) => new Plane(app);

class Plane {
  constructor(app) {
    this.app = app;
    app.plane = this;
    const reach = Math.min(reachOf(app.codes), 4);
    this.view = new View([byId("plane-dots"), byId("plane")], reach, () => app.changed("view"));
    this.manifold = new Manifold(app.model);
    this.walk = []; // the places where the walk starts and ends
    this.walkCanvases = Array.from({ length: WALK_STEPS }, digitCanvas);
    byId("walk").append(...this.walkCanvases);
    fillLegend(byId("plane-legend"), app.classes, app.names, app.colours);
    this.followPointer();
    this.followKeys();
    this.followButtons();
    this.startWandering();
  }

  // -- The pointer and the walk ----------------------------------------------------------------------------------

  point(place) {
    byId("wander").checked = false;
    this.app.pointer = this.view.toCode(place);
    this.app.changed("pointer");
  }

  walkTo(z) {
    this.walk = this.walk.length === 1 ? [...this.walk, z] : [z];
    this.app.changed("walk");
  }

  showWhole() {
    this.view.show([0, 0], 2 * reachOf(this.app.codes));
  }

  followPointer() {
    followPointers(this.view, {
      hover: (place) => this.point(place),
      tap: (place) => {
        this.point(place);
        this.walkTo(this.app.pointer);
      },
      drag: (now, before, event) => {
        if (event.pointerType === "touch") this.point(now); // a finger cannot hover
        else this.view.pan(now[0] - before[0], now[1] - before[1]);
      },
    });
  }

  followKeys() {
    byId("plane").addEventListener("keydown", (event) => {
      const { app, view } = this;
      const step = 12 / view.scale;
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (move) this.point(view.toScreen(app.pointer.map((value, i) => value + step * move[i])));
      else if (event.key === "Enter") this.walkTo(app.pointer);
      else if (event.key === "+") view.zoom(1.3);
      else if (event.key === "-") view.zoom(1 / 1.3);
      else if (event.key === "0") this.showWhole();
      else return;
      event.preventDefault();
    });
  }

  followButtons() {
    byId("plane-in").addEventListener("click", () => this.view.zoom(1.5));
    byId("plane-out").addEventListener("click", () => this.view.zoom(1 / 1.5));
    byId("plane-whole").addEventListener("click", () => this.showWhole());
    byId("manifold").addEventListener("change", () => this.app.changed("view"));
  }

  /** At first the pointer wanders by itself, so that something moves; not where the reader wants stillness. */
  startWandering() {
    const wander = byId("wander");
    wander.checked = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    let visible = true;
    new IntersectionObserver(([entry]) => (visible = entry.isIntersecting)).observe(byId("plane"));
    const wanderOn = (time) => {
      if (!wander.checked) return;
      requestAnimationFrame(wanderOn);
      if (!visible) return;
      this.app.pointer = [1.6 * Math.sin(time / 2900), 1.6 * Math.sin(time / 3700 + 1)];
      this.app.changed("pointer");
    };
    wander.addEventListener("change", () => requestAnimationFrame(wanderOn));
    requestAnimationFrame(wanderOn);
  }

  // -- What is drawn ---------------------------------------------------------------------------------------------

  draw(topics) {
    const has = (...names) => names.some((name) => topics.has(name));
    if (has("theme")) this.manifold.forget();
    if (has("model")) this.manifold.renew();
    if (has("view", "theme", "walk", "prior")) this.drawBase();
    if (has("view", "theme", "digit", "pointer")) this.drawOverlay();
    if (has("pointer", "theme")) this.drawPointed();
    if (has("walk", "theme")) this.drawWalk();
  }

  drawBase() {
    const { app, view, manifold } = this;
    const context = view.clear(0);
    if (byId("manifold").checked && manifold.draw(context, view)) app.changed("view"); // more to decode: next frame
    drawPrior(context, view);
    drawDots(context, view, app.codes, app.colours, Math.min(5, Math.max(2, view.scale / 28)));
    view.drawAxes(context);
    this.drawMarks(context);
  }

  /** The places of the prior's samples, and of the walk. */
  drawMarks(context) {
    const { app, view, walk } = this;
    const [ink, paper] = [themeColour("ink"), themeColour("card")];
    context.textAlign = "center";
    app.prior.forEach((z, i) => drawDisc(context, view, z, i + 1, ink, paper, 8));
    if (walk.length === 2) {
      context.strokeStyle = ink;
      context.lineWidth = 2;
      context.beginPath();
      context.moveTo(...view.toScreen(walk[0]));
      context.lineTo(...view.toScreen(walk[1]));
      context.stroke();
    }
    walk.forEach((z, i) => drawDisc(context, view, z, "AB"[i], themeColour("kl"), paper, 11));
  }

  /** The digit's q, and the square at the pointer. */
  drawOverlay() {
    const { app, view } = this;
    const context = view.clear(1);
    const paper = themeColour("card");
    const { q } = app.digit;
    context.beginPath();
    context.arc(...view.toScreen(q.mean), 11, 0, 2 * Math.PI);
    for (const [width, colour] of [[5, paper], [3, themeColour("encoder")]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke();
    }
    drawEllipses(context, view, q, themeColour("encoder"), 2);
    const [x, y] = view.toScreen(app.pointer);
    for (const [width, colour] of [[4, paper], [2, themeColour("ink")]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.strokeRect(x - 14, y - 14, 28, 28);
    }
  }

  drawPointed() {
    const { model, pointer } = this.app;
    drawDigit(byId("under-pointer"), model.decode(pointer));
    byId("pointer-numbers").textContent = `z = ${formattedCode(pointer)}`;
  }

  drawWalk() {
    const [from, to] = this.walk;
    if (to) byId("walk").hidden = false;
    byId("walk").classList.toggle("stale", !to); // the walk before, until there is a new one
    byId("walk-hint").textContent = WALK_HINTS[this.walk.length];
    if (!to) return;
    this.walkCanvases.forEach((canvas, i) => {
      const share = i / (WALK_STEPS - 1);
      drawDigit(canvas, this.app.model.decode(from.map((a, k) => a + share * (to[k] - a))));
    });
  }
}

/** A disc with a number or a letter at a place of the plane. */
function drawDisc(context, view, z, text, fill, colour, radius) {
  const [x, y] = view.toScreen(z);
  context.fillStyle = fill;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
  context.fillStyle = colour;
  context.font = `600 ${radius + 2}px system-ui, sans-serif`;
  context.fillText(text, x, y + 0.4 * radius);
}
