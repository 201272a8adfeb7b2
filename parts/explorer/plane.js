"use strict";
// Panel "The latent plane": all codes, the digit under the pointer, the walk, and the manifold under the dots.

const WALK_STEPS = 11;

function planePanel(app) {
  const view = new View([byId("plane-dots"), byId("plane")], Math.min(reachOf(app.codes), 4), () => app.changed("view"));
  const walkCanvases = Array.from({ length: WALK_STEPS }, digitCanvas);
  const manifold = new Manifold(app.model);
  const wander = byId("wander");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let visible = true;
  let walk = []; // the places where the walk starts and ends

  const point = (place) => {
    wander.checked = false;
    app.pointer = view.toCode(place);
    app.changed("pointer");
  };
  const whole = () => view.show([0, 0], 2 * reachOf(app.codes));
  const walkTo = (z) => {
    walk = walk.length === 1 ? [...walk, z] : [z];
    app.changed("walk");
  };
  followPointers(view, {
    hover: point,
    tap(place) {
      point(place);
      walkTo(app.pointer);
    },
    drag(now, before, event) {
      if (event.pointerType === "touch") point(now); // a finger cannot hover
      else view.pan(now[0] - before[0], now[1] - before[1]);
    },
  });
  byId("plane").addEventListener("keydown", (event) => {
    const step = 12 / view.scale;
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (move) point(view.toScreen(app.pointer.map((value, i) => value + step * move[i])));
    else if (event.key === "Enter") walkTo(app.pointer);
    else if (event.key === "+") view.zoom(1.3);
    else if (event.key === "-") view.zoom(1 / 1.3);
    else if (event.key === "0") whole();
    else return;
    event.preventDefault();
  });
  byId("plane-in").addEventListener("click", () => view.zoom(1.5));
  byId("plane-out").addEventListener("click", () => view.zoom(1 / 1.5));
  byId("plane-whole").addEventListener("click", whole);
  byId("manifold").addEventListener("change", () => app.changed("view"));
  byId("walk").append(...walkCanvases);
  fillLegend(byId("plane-legend"), app.classes, app.names, app.colours);

  // At first the pointer wanders by itself, so that something moves; not where the reader wants stillness.
  wander.checked = !still.matches;
  new IntersectionObserver(([entry]) => (visible = entry.isIntersecting)).observe(byId("plane"));
  const wanderOn = (time) => {
    if (!wander.checked) return;
    requestAnimationFrame(wanderOn);
    if (!visible) return;
    app.pointer = [1.6 * Math.sin(time / 2900), 1.6 * Math.sin(time / 3700 + 1)];
    app.changed("pointer");
  };
  wander.addEventListener("change", () => requestAnimationFrame(wanderOn));
  requestAnimationFrame(wanderOn);

  const drawBase = () => {
    const context = view.clear(0);
    if (byId("manifold").checked && manifold.draw(context, view)) app.changed("view"); // more to decode: next frame
    drawPrior(context, view);
    drawDots(context, view, app.codes, app.colours, Math.min(5, Math.max(2, view.scale / 28)));
    view.drawAxes(context);
    drawMarks(context);
  };

  /** The places of the prior's samples, and of the walk. */
  const drawMarks = (context) => {
    const ink = themeColour("ink");
    const paper = themeColour("card");
    context.textAlign = "center";
    const disc = (z, text, fill, colour, radius) => {
      const [x, y] = view.toScreen(z);
      context.fillStyle = fill;
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
      context.fillStyle = colour;
      context.font = `600 ${radius + 2}px system-ui, sans-serif`;
      context.fillText(text, x, y + 0.4 * radius);
    };
    app.prior.forEach((z, i) => disc(z, i + 1, ink, paper, 8));
    if (walk.length === 2) {
      context.strokeStyle = ink;
      context.lineWidth = 2;
      context.beginPath();
      context.moveTo(...view.toScreen(walk[0]));
      context.lineTo(...view.toScreen(walk[1]));
      context.stroke();
    }
    walk.forEach((z, i) => disc(z, "AB"[i], themeColour("kl"), paper, 11));
  };

  const drawOverlay = () => {
    const context = view.clear(1);
    const ink = themeColour("ink");
    const paper = themeColour("card");
    const { q } = app.digit;
    const [x, y] = view.toScreen(q.mean);
    context.lineWidth = 5;
    context.strokeStyle = paper;
    context.beginPath();
    context.arc(x, y, 11, 0, 2 * Math.PI);
    context.stroke();
    context.lineWidth = 3;
    context.strokeStyle = themeColour("encoder");
    context.stroke();
    drawEllipses(context, view, q, themeColour("encoder"), 2);

    const [px, py] = view.toScreen(app.pointer);
    for (const [width, colour] of [[4, paper], [2, ink]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.strokeRect(px - 14, py - 14, 28, 28);
    }
  };

  return {
    draw(topics) {
      if (topics.has("theme")) manifold.forget();
      if (topics.has("model")) manifold.renew();
      if (["view", "theme", "walk", "prior"].some((topic) => topics.has(topic))) drawBase();
      if (["view", "theme", "digit", "pointer"].some((topic) => topics.has(topic))) drawOverlay();
      if (topics.has("pointer") || topics.has("theme")) {
        drawDigit(byId("under-pointer"), app.model.decode(app.pointer));
        byId("pointer-numbers").textContent = `z = ${formattedCode(app.pointer)}`;
      }
      if (topics.has("walk") || topics.has("theme")) {
        byId("walk").hidden = walk.length < 2;
        byId("walk-hint").textContent = [
          "Click (or tap) a place to start a walk.",
          "Now click where the walk shall end.",
          "The walk from A to B in equal steps. Click again for another one.",
        ][walk.length];
        if (walk.length === 2) {
          walkCanvases.forEach((canvas, i) => {
            const share = i / (WALK_STEPS - 1);
            drawDigit(canvas, app.model.decode(walk[0].map((a, k) => a + share * (walk[1][k] - a))));
          });
        }
      }
    },
  };
}

/** How far from 0 the codes go, with a margin; at least as far as the prior's circles. */
function reachOf({ z }) {
  return 1.04 * z.reduce((most, value) => Math.max(most, Math.abs(value)), 3.3);
}

/** Decoded digits as tiles under a view, a few milliseconds of them a frame, each about so many pixels wide. */
class Manifold {
  constructor(model, width = 34) {
    this.model = model;
    this.width = width;
    this.version = 0; // of the model
    this.tiles = new Map();
  }

  forget() {
    this.tiles.clear();
  }

  /** The model has changed: decode all tiles anew, but show the old ones until then. */
  renew() {
    this.version++;
  }

  /** Draw the tiles that there are; returns whether some are still missing. */
  draw(context, view) {
    const step = 2 ** Math.round(Math.log2(this.width / view.scale));
    const until = performance.now() + 6;
    const [low, high] = [view.toCode([0, view.height]), view.toCode([view.width, 0])];
    const size = step * view.scale;
    let missing = false;
    if (this.tiles.size > 4000) this.forget();
    context.imageSmoothingEnabled = true;
    for (let row = Math.floor(low[1] / step); row * step < high[1]; row++) {
      for (let column = Math.floor(low[0] / step); column * step < high[0]; column++) {
        const key = `${step} ${row} ${column}`;
        let tile = this.tiles.get(key);
        if (tile?.version !== this.version && performance.now() < until) {
          tile ??= { canvas: digitCanvas() };
          drawDigit(tile.canvas, this.model.decode([(column + 0.5) * step, (row + 0.5) * step]));
          tile.version = this.version;
          this.tiles.set(key, tile);
        }
        if (tile) context.drawImage(tile.canvas, view.screenX(column * step), view.screenY((row + 1) * step), size, size);
        if (tile?.version !== this.version) missing = true;
      }
    }
    return missing;
  }
}
