// needs: manifold, view, state, aggregate
"use strict";
// The one plane of codes: all dots, or what a tab lays there instead; q, and z, which the reader drags.

const TOUCH_GRIP = 30; // pixels around z within which a finger takes it, so that the page does not scroll

class Plane {
  constructor(state) {
    this.state = state;
    this.view = new View([byId("plane-dots"), byId("plane")], Math.min(reachOf(state.codes), 4.2), () => state.changed("view"));
    this.view.limits.largest = 1000; // an autoencoder's codes go far
    this.manifold = new Manifold();
    this.followPointer();
    this.followKeys();
    this.followButtons();
    const seen = ["view", "theme", "codes", "model", "data", "under", "clouds", "tab", "walk", "prior", "lettered", "moment"];
    state.panel({ place: "plane-panel", needs: ["model", "codes"], draw: () => this.followCodes() });
    state.panel({ place: "plane-panel", needs: seen, draw: (topics) => this.drawBase(topics) });
    state.panel({ place: "plane-panel", needs: ["view", "lens", "q", "z", "theme", "tab", "slow", "size"], draw: () => this.drawOverlay() });
  }

  // -- How z is moved --------------------------------------------------------------------------------------------

  handTo(z) {
    const { state } = this;
    state.wander = false;
    state.hand = z;
    speak("z", () => `z ${formattedCode(z)}${this.nameAt(z)}.`);
  }

  /** What lies at a place, in words: the class of most of the nearest dots. */
  nameAt(z) {
    const { codes, data } = this.state;
    if (data.names.length < 2) return "";
    const near = Array.from(codes.labels, (label, i) => [Math.hypot(codes.z[2 * i] - z[0], codes.z[2 * i + 1] - z[1]), label]);
    const counts = new Map();
    for (const [, label] of near.sort((a, b) => a[0] - b[0]).slice(0, 9)) counts.set(label, (counts.get(label) ?? 0) + 1);
    const [label] = [...counts].sort((a, b) => b[1] - a[1])[0];
    return `, among codes of ${data.names[label]}`;
  }

  walkTo(z) {
    const { state } = this;
    if (state.tab === "walk") state.walk = state.walk.length === 1 ? [...state.walk, z] : [z];
  }

  showWhole() {
    this.view.show([0, 0], 2 * reachOf(this.state.codes));
  }

  followPointer() {
    const { view } = this;
    const far = (place) => Math.hypot(...view.toScreen(this.state.z).map((value, k) => value - place[k]));
    followPointers(view, {
      grips: (place) => far(place) < TOUCH_GRIP,
      grab: (place, event) => event.pointerType !== "touch" && !event.shiftKey && this.handTo(view.toCode(place)),
      tap: (place) => {
        this.handTo(view.toCode(place));
        this.walkTo(view.toCode(place));
      },
      drag: (now, before, event) => {
        if (event.shiftKey) view.pan(now[0] - before[0], now[1] - before[1]);
        else this.handTo(view.toCode(now));
      },
    });
  }

  followKeys() {
    const { state, view } = this;
    onKeys(byId("plane"), {
      ...onArrows((right, down) => this.handTo([state.z[0] + (12 * right) / view.scale, state.z[1] - (12 * down) / view.scale])),
      d: () => byId("draw-again").click(),
      enter: () => this.walkTo([...state.z]),
      "+": () => view.zoom(1.3),
      "-": () => view.zoom(1 / 1.3),
      0: () => this.showWhole(),
    });
  }

  followButtons() {
    onClicks({ "plane-in": () => this.view.zoom(1.5), "plane-out": () => this.view.zoom(1 / 1.5), "plane-whole": () => this.showWhole() });
    byId("manifold").addEventListener("change", () => (this.state.under = byId("manifold").checked));
  }

  /** While the model learns, the view follows codes that leave the plane, or that shrink. */
  followCodes() {
    if (this.followed === this.state.codes) return;
    const first = !this.followed;
    this.followed = this.state.codes;
    const reach = reachOf(this.followed);
    if (!first && (reach > 0.55 * this.view.span || reach < 0.3 * this.view.span)) this.view.show([0, 0], 2 * reach);
  }

  // -- What is drawn ---------------------------------------------------------------------------------------------

  drawBase(topics) {
    const { state, view, manifold } = this;
    const { codes, replay } = state;
    if (topics.has("model") || topics.has("theme")) manifold.forget();
    const replayed = state.tab === "replay" && replay; // it is of the page's own data
    const data = replayed ? state.home : state.data;
    const shown = replayed ? { z: replay.frames[state.moment], labels: replay.labels } : codes;
    const context = view.clear(0);
    if (state.under && !replayed && manifold.draw(context, view, state.model, state.training?.running)) state.changed("view"); // more to decode: next frame
    if (state.clouds && !replayed) new Aggregate(state.clouds, view.span / 2).draw(context, view);
    drawPrior(context, view);
    if (!state.clouds || replayed) drawDots(context, view, shown, data.colours, Math.min(5, Math.max(2, view.scale / 28)));
    if (data.names.length > 1) drawNames(context, view, shown, data.names);
    view.drawAxes(context);
    if (state.tab === "new" && state.lettered) state.prior.forEach((z, i) => this.drawLetter(context, z, LETTERS[i]));
    if (state.tab === "walk") this.drawWalk(context);
  }

  drawLetter(context, z, letter) {
    const [x, y] = this.view.toScreen(z);
    drawText(context, letter, x + 5, y + 4, "600 12px system-ui, sans-serif", "left");
    drawDisc(context, this.view, z, 3.5, "", ["card", "ink"]);
  }

  drawWalk(context) {
    const { view, state: { walk } } = this;
    if (walk.length === 2) drawLine(context, walk.map((z) => view.toScreen(z)), 2);
    walk.forEach((z, i) => drawDisc(context, view, z, 10, "AB"[i]));
  }

  /** q, the frame of the lens with lines to it, and z. */
  drawOverlay() {
    const { state, view } = this;
    const context = view.clear(1);
    this.drawLensFrame(context);
    if (state.slow?.old) drawEllipses(context, view, state.slow.old, { sigmas: [1], dashed: true });
    drawEllipses(context, view, state.q, { sigmas: [1], dashed: Boolean(state.mine) });
    drawDisc(context, view, state.z, state.hand ? 7 : 5);
  }

  drawLensFrame(context) {
    const { centre, span } = this.state.lens;
    if (this.state.tab === "game") return; // the lens covers the plane
    const { view } = this;
    const [x, y] = view.toScreen(centre);
    const half = (span / 2) * view.scale;
    context.lineWidth = 1;
    context.strokeStyle = themeColour("ink");
    context.strokeRect(x - half, y - half, 2 * half, 2 * half);
    const [lens, own] = [byId("lens"), byId("plane")].map((canvas) => canvas.getBoundingClientRect());
    const side = lens.right <= own.left + 2 ? -1 : 1; // beside the plane, or in its lower right corner
    const ends = side < 0
      ? [[0, lens.top - own.top, x - half, y - half], [0, lens.bottom - own.top, x - half, y + half]]
      : [[lens.left - own.left, lens.bottom - own.top, x - half, y + half], [lens.right - own.left, lens.top - own.top, x + half, y - half]];
    context.globalAlpha = 0.35;
    for (const [x1, y1, x2, y2] of ends) drawLine(context, [[x1, y1], [x2, y2]]);
    context.globalAlpha = 1;
  }
}

const LETTERS = "abcdefghijkl"; // digits would be taken for classes

/** "New digits": codes from the prior, decoded; where there is a plane, their letters stand in it. */
function priorPanel(state) {
  const canvases = Array.from(LETTERS, digitCanvas);
  const captions = canvases.map((canvas, i) => {
    [canvas.role, canvas.ariaLabel] = ["img", worded(`New digit ${LETTERS[i]}`)];
    const caption = element("figcaption");
    byId("prior-tray").append(element("figure", {}, canvas, caption));
    return caption;
  });
  byId("prior-fresh").addEventListener("click", () => {
    state.prior = canvases.map(() => normalCode(state.model.latentDim));
    state.lettered = state.codes !== null;
  });
  const note = "No digit goes in: each is a place drawn from N(0, I), decoded.";
  state.panel({
    place: "tab-new",
    needs: ["prior", "lettered", "model", "tab", "theme"],
    draw() {
      if (state.tab !== "new") return;
      byId("prior-note").textContent = worded(state.lettered ? `${note} Its letter stands in the plane.` : note);
      canvases.forEach((canvas, i) => {
        drawDigit(canvas, state.model.decode(state.prior[i]));
        captions[i].textContent = state.lettered ? LETTERS[i] : "";
      });
    },
  });
}

const WALK_STEPS = 12;
const WALK_HINTS = [ // by the number of places
  "Click (or tap) a place in the plane: the walk starts there. By keyboard: arrows in the plane, then Enter.",
  "Now click where the walk shall end.",
  "From A to B in equal steps. What lies between two digits is decoded to something in between, at times to a blur. Click again for another walk.",
];

function walkPanel(state) {
  const canvases = Array.from({ length: WALK_STEPS }, digitCanvas);
  byId("walk").append(...canvases);
  state.panel({
    place: "tab-walk",
    needs: ["walk", "model", "tab", "theme"],
    draw() {
      const [from, to] = state.walk;
      byId("walk").hidden = !to;
      byId("walk-hint").textContent = worded(WALK_HINTS[state.walk.length]);
      if (!to || state.tab !== "walk") return;
      canvases.forEach((canvas, i) => drawDigit(canvas, state.model.decode(from.map((a, k) => a + (i / (WALK_STEPS - 1)) * (to[k] - a)))));
    },
  });
}
