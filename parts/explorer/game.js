"use strict";
// Panel "Be the encoder": the true posterior, the encoder's q on it, and a q of one's own to move, stretch and climb.

const CLIMB_PAUSE = 110; // milliseconds between two steps, slow enough to be seen
const SMALLEST_SIGMA = 0.01;

function gamePanel(app) {
  const view = new View([byId("game")], 1, () => app.changed("game-view"));
  app.gameView = view;
  let held = null; // what the pointer holds: "middle", "rim" or the "plane"
  let climbed = false; // whether a climb ended here
  let climbing = null; // { rate, idle, steps, samples, due } while it climbs
  let heat = null; // the posterior as a small picture, and its contours
  const heatCanvas = element("canvas");
  const mine = () => app.mine ?? app.digit.q;

  const take = (q) => {
    const limit = (value, most) => Math.max(-most, Math.min(most, value));
    app.mine = {
      mean: q.mean.map((value) => limit(value, app.halfWidth)),
      logVar: q.logVar.map((value) => Math.min(2, Math.max(2 * Math.log(SMALLEST_SIGMA), value))),
    };
    app.changed("mine");
  };
  const byHand = (q) => {
    climbed = false;
    take(q);
  };
  const stop = () => {
    climbing = null;
    app.changed("mine");
  };
  const giveBack = () => {
    app.mine = null;
    stop();
  };
  const moveBy = (dx, dy) => byHand({ ...mine(), mean: [mine().mean[0] + dx, mine().mean[1] + dy] });
  const stretch = (a, b) => byHand({ ...mine(), logVar: [mine().logVar[0] + 2 * a, mine().logVar[1] + 2 * b] });

  /** Where a place lies in units of sigma from the middle of the ellipse. */
  const inSigmas = (place) => {
    const z = view.toCode(place);
    return mine().mean.map((m, i) => (z[i] - m) / Math.exp(mine().logVar[i] / 2));
  };
  followPointers(view, {
    grab(place) {
      climbing = null;
      const distance = Math.hypot(...inSigmas(place));
      const sigma = Math.min(...mine().logVar.map((v) => Math.exp(v / 2))) * view.scale; // in pixels
      const slack = 22 / sigma; // a finger's width around the rim
      if (distance < Math.max(1.4, 2 - slack)) held = "middle";
      else held = distance < 2 + slack ? "rim" : "plane";
    },
    drag(now, before) {
      const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
      if (held === "plane") view.pan(dx, dy);
      else if (held === "middle") moveBy(dx / view.scale, -dy / view.scale);
      else {
        const [from, to] = [inSigmas(before), inSigmas(now)];
        const ratio = Math.log(Math.max(0.2, Math.hypot(...to)) / Math.max(0.2, Math.hypot(...from)));
        const share = from[0] ** 2 / (from[0] ** 2 + from[1] ** 2); // taken at its side it widens, at its top it grows
        stretch(ratio * share, ratio * (1 - share));
      }
    },
  });
  byId("game").addEventListener("keydown", (event) => {
    const step = (event.shiftKey ? 2 : 8) / view.scale;
    const actions = {
      ArrowLeft: () => moveBy(-step, 0),
      ArrowRight: () => moveBy(step, 0),
      ArrowUp: () => moveBy(0, step),
      ArrowDown: () => moveBy(0, -step),
      "+": () => stretch(0.05, 0.05),
      "-": () => stretch(-0.05, -0.05),
      ">": () => stretch(0.05, -0.05),
      "<": () => stretch(-0.05, 0.05),
      c: () => byId("climb").click(),
      e: giveBack,
    };
    if (!actions[event.key] || event.ctrlKey || event.metaKey) return;
    if (event.key !== "c") climbing = null;
    actions[event.key]();
    event.preventDefault();
  });

  byId("give-back").addEventListener("click", giveBack);
  byId("climb").addEventListener("click", () => {
    if (climbing) return stop();
    climbed = false;
    climbing = { rate: 0.5, idle: 0, steps: 0, samples: [], due: 0 };
    take(mine());
    requestAnimationFrame(climbOn);
  });
  const seen = new Set(); // hard digits that were shown
  byId("hard-digit").addEventListener("click", () => {
    const fresh = app.picks.filter((pick) => !seen.has(pick));
    const tried = Array.from({ length: 24 }, () => fresh[Math.floor(Math.random() * fresh.length)]);
    const gaps = tried.map(({ image }) => {
      const { elbo } = app.judge.loss(image, app.model.encode(image));
      return app.posterior.of(image).logEvidence - elbo;
    });
    const hardest = tried[gaps.indexOf(Math.max(...gaps))];
    seen.add(hardest);
    if (seen.size > app.picks.length / 2) seen.clear();
    app.pick(hardest);
  });
  const climbOn = (time) => {
    if (!climbing) return;
    requestAnimationFrame(climbOn);
    if (time < climbing.due) return;
    const before = app.judge.loss(app.digit.x, app.mine).elbo;
    const step = app.model.climb(app.digit.x, app.mine, climbing.rate, app.judge);
    climbing.idle = step && step.loss.elbo - before > 1e-3 ? 0 : climbing.idle + 1;
    if (!step || climbing.idle === 3) {
      climbed = true;
      return stop();
    }
    climbing = { ...climbing, rate: step.rate, samples: step.samples, steps: climbing.steps + 1, due: time + CLIMB_PAUSE };
    take(step.q);
    if (!inView(app.mine)) fit(true);
  };

  for (const gap of [300, 100, 30, 10, 3, 1, 0]) {
    const number = element("span", {}, String(gap));
    number.style.left = `${gaugePlace(gap)}%`;
    byId("gauge-scale").append(number);
  }
  byId("game-in").addEventListener("click", () => view.zoom(1.5));
  byId("game-out").addEventListener("click", () => view.zoom(1 / 1.5));
  byId("game-fit").addEventListener("click", () => fit(true));
  byId("game-truth").addEventListener("change", () => app.changed("game-view"));

  const sliders = [0, 1].flatMap((i) => [
    slider(`z_mean ${i + 1}`, { min: -4, max: 4, step: 0.01 }, (value) => {
      byHand({ ...mine(), mean: mine().mean.with(i, value) });
    }),
    slider(`sigma ${i + 1}`, { min: SMALLEST_SIGMA, max: 1, step: 0.005 }, (value) => {
      byHand({ ...mine(), logVar: mine().logVar.with(i, 2 * Math.log(value)) });
    }),
  ]);
  const byNumbers = byId("game-numbers");
  byId("game-sliders").append(...sliders.map(({ label }) => label));
  byNumbers.addEventListener("toggle", () => app.changed("mine"));

  const sidesOf = (q) => q.mean.map((m, i) => [m - 3 * Math.exp(q.logVar[i] / 2), m + 3 * Math.exp(q.logVar[i] / 2)]);
  const inView = (q) => {
    const sides = sidesOf(q);
    return sides.every(([low, high], i) => Math.max(view.centre[i] - low, high - view.centre[i]) < view.span / 2);
  };

  /** Show the posterior and both q; unless told, only when they are out of sight or too small. */
  const fit = (always) => {
    const { q, truth } = app.digit;
    const [own, others] = [sidesOf(mine()), sidesOf(q)];
    const sides = own.map(([low, high], i) => [Math.min(low, others[i][0]), Math.max(high, others[i][1])]);
    if (truth) {
      truth.extent.forEach(([low, high], i) => (sides[i] = [Math.min(sides[i][0], low), Math.max(sides[i][1], high)]));
    }
    const span = 1.35 * Math.max(...sides.map(([low, high]) => high - low));
    const centre = sides.map(([low, high]) => (low + high) / 2);
    const inside = sides.every(([low, high], i) => Math.max(view.centre[i] - low, high - view.centre[i]) < view.span / 2);
    if (always || !inside || span < view.span / 2.2) view.show(centre, span);
  };

  const prepareHeat = () => {
    heat = null;
    const { truth } = app.digit;
    if (!truth) return;
    const { box, levels, top } = truth;
    [heatCanvas.width, heatCanvas.height] = [box.columns, box.rows];
    const context = heatCanvas.getContext("2d");
    const picture = context.createImageData(box.columns, box.rows);
    const colour = themeRgb("posterior");
    for (let r = 0; r < box.rows; r++) {
      for (let c = 0; c < box.columns; c++) {
        const depth = box.values[r * box.columns + c] - top;
        if (depth < -12) continue;
        const pixel = 4 * ((box.rows - 1 - r) * box.columns + c); // the picture's first row is the largest z2
        picture.data.set(colour, pixel);
        picture.data[pixel + 3] = 200 * Math.exp(depth / 2); // the square root, to show the tails
      }
    }
    context.putImageData(picture, 0, 0);
    heat = { box, lines: levels.map((level) => contour(box, level)) };
  };

  const drawHeat = (context) => {
    const { box, lines } = heat;
    const { halfWidth, spacing } = app.posterior.grid;
    const step = box.stride * spacing;
    const x = (column) => view.screenX(box.column * spacing - halfWidth + column * step);
    const y = (row) => view.screenY(box.row * spacing - halfWidth + row * step);
    const [width, height] = [box.columns * step * view.scale, box.rows * step * view.scale];
    context.drawImage(heatCanvas, x(-0.5), y(box.rows - 0.5), width, height);
    context.strokeStyle = themeColour("posterior");
    context.lineWidth = 1.3;
    context.beginPath();
    for (const line of lines) {
      for (const [c1, r1, c2, r2] of line) {
        context.moveTo(x(c1), y(r1));
        context.lineTo(x(c2), y(r2));
      }
    }
    context.stroke();
  };

  const drawSamples = (context) => {
    context.fillStyle = context.strokeStyle = themeColour("mine");
    context.lineWidth = 1;
    for (const { z, gradient } of climbing.samples) {
      const [x, y] = view.toScreen(z);
      const length = Math.hypot(...gradient) || 1;
      const reach = 26 * Math.min(1, length / 100);
      context.fillRect(x - 2, y - 2, 4, 4);
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x + (reach * gradient[0]) / length, y - (reach * gradient[1]) / length);
      context.stroke();
    }
  };

  const drawPlane = () => {
    const context = view.clear(0);
    if (heat && byId("game-truth").checked) drawHeat(context);
    const q = mine();
    const colour = themeColour("mine");
    context.globalAlpha = 0.12;
    context.fillStyle = colour;
    const [x, y] = view.toScreen(q.mean);
    const [a, b] = q.logVar.map((v) => 2 * Math.exp(v / 2) * view.scale);
    context.beginPath();
    context.ellipse(x, y, a, b, 0, 0, 2 * Math.PI);
    context.fill();
    context.globalAlpha = 1;
    drawEllipses(context, view, q, colour, 2.5);
    context.fillStyle = colour;
    for (const [dx, dy] of [[0, 0], [a, 0], [-a, 0], [0, b], [0, -b]]) {
      context.beginPath();
      context.arc(x + dx, y + dy, dx || dy ? 6 : 5, 0, 2 * Math.PI);
      context.fill();
    }
    if (climbing) drawSamples(context);
    context.setLineDash(app.mine ? [] : [7, 6]); // over yours, where they coincide
    drawEllipses(context, view, app.digit.q, themeColour("encoder"), 2.5);
    context.setLineDash([]);
    view.drawAxes(context);
  };

  const fillScore = () => {
    const { loss: encoder, truth } = app.digit;
    const own = app.mine ? app.judge.loss(app.digit.x, app.mine) : encoder;
    const logEvidence = truth?.logEvidence;
    for (const [who, loss] of [["mine", own], ["encoder", encoder]]) {
      const show = (name, value) => (byId(`${who}-${name}`).textContent = formatted(value));
      show("reconstruction", loss.reconstruction);
      show("kl", loss.kl);
      show("elbo", loss.elbo);
      show("evidence", logEvidence);
      show("gap", logEvidence - loss.elbo);
      byId(`gauge-${who}`).hidden = !truth;
      if (truth) byId(`gauge-${who}`).style.left = `${gaugePlace(logEvidence - loss.elbo)}%`;
    }
    byId("verdict").textContent = worded(verdict(own, encoder));
    byId("hard-digit").disabled = !app.posterior;
    const q = mine();
    drawDigit(byId("game-mean"), app.model.decode(q.mean));
    if (byNumbers.open) sliders.forEach(({ show }, k) => show(k % 2 ? Math.exp(q.logVar[k >> 1] / 2) : q.mean[k >> 1]));
    byId("climb").textContent = climbing ? "Stop climbing" : "Climb from here";
  };

  const verdict = (own, encoder) => {
    if (!app.posterior) return "The true posterior is being prepared; the ellipse can be moved already.";
    if (!app.mine) return "This is the encoder’s. Take the ellipse by its middle or its rim.";
    if (climbing) return `Climbing: step ${climbing.steps}.`;
    const ahead = own.elbo - encoder.elbo;
    const gap = app.digit.truth.logEvidence - own.elbo;
    if (climbed && gap > 1) {
      return `The climb is stuck on a lower hill, ${formatted(gap)} nats below the wall. Drag the ellipse onto the darkest cloud, then climb again.`;
    }
    if (ahead > 0.005) {
      const who = climbed ? "The climb beats" : "You beat";
      return `${who} the encoder by ${formatted(ahead)} nats. It has one network for all digits; here only this one counts.`;
    }
    if (ahead > -0.005) return "You are level with the encoder.";
    const why =
      own.kl - encoder.kl > own.reconstruction - encoder.reconstruction
        ? "Your q is too narrow, or too far from the middle of the plane."
        : "Its samples draw the digit badly: move it onto the cloud, or make it narrower.";
    return `The encoder is ahead by ${formatted(-ahead)} nats. ${why}`;
  };

  return {
    draw(topics) {
      const fresh = topics.has("digit");
      if (fresh) climbing = null;
      if (fresh || topics.has("theme")) prepareHeat();
      if (fresh) fit(false);
      if (fresh || topics.has("theme")) drawDigit(byId("game-input"), app.digit.x);
      if (fresh || topics.has("mine") || topics.has("theme")) fillScore();
      if (["digit", "mine", "game-view", "theme"].some((topic) => topics.has(topic))) drawPlane();
    },
  };
}

/** Where a gap of so many nats stands on the gauge, in percent: 0 at the right, 300 at the left. */
function gaugePlace(gap) {
  return 100 * (1 - Math.log1p(Math.min(300, Math.max(0, gap))) / Math.log1p(300));
}
