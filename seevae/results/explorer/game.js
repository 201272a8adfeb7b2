// needs: cloud, view
"use strict";
// Panel "Be the encoder": the true posterior, the encoder's q on it, and a q of one's own to move, stretch and climb.

const CLIMB_PAUSE = 110; // milliseconds between two steps, slow enough to be seen
const SMALLEST_SIGMA = 0.01;
const GRIP = 22; // pixels around the rim of the ellipse in which a finger takes it
const GAUGE_MARKS = [300, 100, 30, 10, 3, 1, 0];

const gamePanel = (app) => new Game(app);

class Game {
  constructor(app) {
    this.app = app;
    app.game = this; // for tests and the curious
    this.view = new View([byId("game")], 1, () => app.changed("game-view"));
    this.cloud = new Cloud();
    this.held = null; // what the pointer holds: "middle", "rim" or the "plane"
    this.climbing = null; // { rate, idle, steps, samples, due } while it climbs
    this.climbed = false; // whether a climb ended here
    this.seen = new Set(); // hard digits that were shown
    this.followPointer();
    this.followKeys();
    this.followButtons();
    this.makeSliders();
    this.markGauge();
  }

  // -- The reader's q --------------------------------------------------------------------------------------------

  /** The reader's q; before the first move it lies beside the encoder's, so that two ellipses are seen. */
  get q() {
    return this.app.mine ?? beside(this.app.digit.q);
  }

  take({ mean, logVar }) {
    const limit = (value, low, high) => Math.max(low, Math.min(high, value));
    const reach = this.app.halfWidth;
    this.app.mine = {
      mean: mean.map((value) => limit(value, -reach, reach)),
      logVar: logVar.map((value) => limit(value, 2 * Math.log(SMALLEST_SIGMA), 2)),
    };
    this.app.changed("mine");
  }

  /** Take a q that the reader made, not the climb. */
  takeByHand(q) {
    this.climbed = false;
    this.take(q);
  }

  moveBy(dx, dy) {
    const { mean, logVar } = this.q;
    this.takeByHand({ mean: [mean[0] + dx, mean[1] + dy], logVar });
  }

  /** Make the logarithms of both sigmas so much larger. */
  stretchBy(a, b) {
    const { mean, logVar } = this.q;
    this.takeByHand({ mean, logVar: [logVar[0] + 2 * a, logVar[1] + 2 * b] });
  }

  takeTheEncoders() {
    this.climbing = null;
    this.takeByHand(this.app.digit.q);
  }

  // -- How it is moved -------------------------------------------------------------------------------------------

  followPointer() {
    followPointers(this.view, {
      grab: (place) => {
        this.climbing = null;
        const distance = Math.hypot(...this.inSigmas(place));
        const sigma = Math.min(...this.q.logVar.map((v) => Math.exp(v / 2))) * this.view.scale; // in pixels
        const slack = GRIP / sigma;
        if (distance < Math.max(1.4, 2 - slack)) this.held = "middle";
        else this.held = distance < 2 + slack ? "rim" : "plane";
      },
      drag: (now, before) => {
        const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
        if (this.held === "plane") this.view.pan(dx, dy);
        else if (this.held === "middle") this.moveBy(dx / this.view.scale, -dy / this.view.scale);
        else this.pullRim(this.inSigmas(before), this.inSigmas(now));
      },
    });
  }

  /** Where a place lies in units of sigma from the middle of the ellipse. */
  inSigmas(place) {
    const z = this.view.toCode(place);
    const { mean, logVar } = this.q;
    return mean.map((m, i) => (z[i] - m) / Math.exp(logVar[i] / 2));
  }

  /** Taken at its side the ellipse widens, at its top it grows; both places in units of sigma. */
  pullRim(from, to) {
    const ratio = Math.log(Math.max(0.2, Math.hypot(...to)) / Math.max(0.2, Math.hypot(...from)));
    const share = from[0] ** 2 / (from[0] ** 2 + from[1] ** 2);
    this.stretchBy(ratio * share, ratio * (1 - share));
  }

  followKeys() {
    byId("game").addEventListener("keydown", (event) => {
      const step = (event.shiftKey ? 2 : 8) / this.view.scale;
      const actions = {
        ArrowLeft: () => this.moveBy(-step, 0),
        ArrowRight: () => this.moveBy(step, 0),
        ArrowUp: () => this.moveBy(0, step),
        ArrowDown: () => this.moveBy(0, -step),
        "+": () => this.stretchBy(0.05, 0.05),
        "-": () => this.stretchBy(-0.05, -0.05),
        ">": () => this.stretchBy(0.05, -0.05),
        "<": () => this.stretchBy(-0.05, 0.05),
        c: () => this.startOrStop(),
        e: () => this.takeTheEncoders(),
      };
      if (!actions[event.key] || event.ctrlKey || event.metaKey) return;
      if (event.key !== "c") this.climbing = null;
      actions[event.key]();
      event.preventDefault();
    });
  }

  followButtons() {
    const clicks = {
      "give-back": () => this.takeTheEncoders(),
      climb: () => this.startOrStop(),
      "hard-digit": () => this.pickHardDigit(),
      "game-in": () => this.view.zoom(1.5),
      "game-out": () => this.view.zoom(1 / 1.5),
      "game-fit": () => this.fit(true),
    };
    for (const [id, act] of Object.entries(clicks)) byId(id).addEventListener("click", act);
    byId("game-truth").addEventListener("change", () => this.app.changed("game-view"));
  }

  makeSliders() {
    this.byNumbers = byId("game-numbers");
    this.sliders = [0, 1].flatMap((i) => [
      slider(`z_mean ${i + 1}`, { min: -4, max: 4, step: 0.01 }, (value) => {
        this.takeByHand({ ...this.q, mean: this.q.mean.with(i, value) });
      }),
      slider(`sigma ${i + 1}`, { min: SMALLEST_SIGMA, max: 1, step: 0.005 }, (value) => {
        this.takeByHand({ ...this.q, logVar: this.q.logVar.with(i, 2 * Math.log(value)) });
      }),
    ]);
    byId("game-sliders").append(...this.sliders.map(({ label }) => label));
    this.byNumbers.addEventListener("toggle", () => this.app.changed("mine"));
  }

  /** A digit with a large gap: the largest of some that were not shown lately. */
  pickHardDigit() {
    const { app, seen } = this;
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
  }

  // -- The climb -------------------------------------------------------------------------------------------------

  startOrStop() {
    this.climbed = false;
    this.climbing = this.climbing ? null : { rate: 0.5, idle: 0, steps: 0, samples: [], due: 0 };
    this.take(this.q);
    if (this.climbing) requestAnimationFrame((time) => this.climbOn(time));
  }

  climbOn(time) {
    const { app, climbing } = this;
    if (!climbing) return;
    requestAnimationFrame((later) => this.climbOn(later));
    if (time < climbing.due) return;
    const before = app.judge.loss(app.digit.x, app.mine).elbo;
    const step = app.model.climb(app.digit.x, app.mine, climbing.rate, app.judge);
    const idle = step && step.loss.elbo - before > 1e-3 ? 0 : climbing.idle + 1;
    if (!step || idle === 3) {
      [this.climbing, this.climbed] = [null, true];
      return app.changed("mine");
    }
    const { rate, samples, q } = step;
    this.climbing = { rate, samples, idle, steps: climbing.steps + 1, due: time + CLIMB_PAUSE };
    this.take(q);
    if (!this.isInside(sidesOf(q))) this.fit(true);
  }

  // -- What is seen ----------------------------------------------------------------------------------------------

  isInside(sides) {
    const { centre, span } = this.view;
    return sides.every(([low, high], i) => Math.max(centre[i] - low, high - centre[i]) < span / 2);
  }

  /** Show the posterior and both q; unless told, only when they are out of sight or too small. */
  fit(always) {
    const { q, truth } = this.app.digit;
    const all = [sidesOf(this.q), sidesOf(q), ...(truth ? [truth.extent.map(withMargin)] : [])];
    const sides = [0, 1].map((i) => [
      Math.min(...all.map((one) => one[i][0])),
      Math.max(...all.map((one) => one[i][1])),
    ]);
    const span = 1.35 * Math.max(...sides.map(([low, high]) => high - low));
    if (always || !this.isInside(sides) || span < this.view.span / 2.2) {
      this.view.show(sides.map(([low, high]) => (low + high) / 2), span);
    }
  }

  drawPlane() {
    const { app, view, q } = this;
    const context = view.clear(0);
    if (app.posterior && byId("game-truth").checked) this.cloud.draw(context, view, app.posterior.grid);
    drawHandles(context, view, q);
    if (this.climbing) drawWishes(context, view, this.climbing.samples);
    const same = String([q.mean, q.logVar]) === String([app.digit.q.mean, app.digit.q.logVar]);
    context.setLineDash(same ? [7, 6] : []); // over yours, where they coincide
    drawEllipses(context, view, app.digit.q, themeColour("encoder"), 2.5);
    context.setLineDash([]);
    view.drawAxes(context);
  }

  fillScore() {
    const { app, q } = this;
    const { loss: encoder, truth } = app.digit;
    const own = app.judge.loss(app.digit.x, q);
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
    byId("verdict").textContent = worded(this.verdict(own, encoder));
    byId("hard-digit").disabled = !app.posterior;
    byId("climb").textContent = this.climbing ? "Stop climbing" : "Climb from here";
    drawDigit(byId("game-mean"), app.model.decode(q.mean));
    if (!this.byNumbers.open) return;
    this.sliders.forEach(({ show }, k) => show(k % 2 ? Math.exp(q.logVar[k >> 1] / 2) : q.mean[k >> 1]));
  }

  verdict(own, encoder) {
    const { app } = this;
    if (!app.posterior) return "The true posterior is being prepared; the ellipse can be moved already.";
    if (!app.mine) return "The orange ellipse is yours: drag it by its middle onto the cloud, stretch it by its rim.";
    if (this.climbing) return `Climbing: step ${this.climbing.steps}.`;
    const ahead = own.elbo - encoder.elbo;
    const gap = app.digit.truth.logEvidence - own.elbo;
    if (this.climbed && gap > 1) {
      return `The climb is stuck on a lower hill, ${formatted(gap)} nats below the wall. Drag the ellipse onto the darkest cloud, then climb again.`;
    }
    if (ahead > 0.005) {
      const who = this.climbed ? "The climb beats" : "You beat";
      return `${who} the encoder by ${formatted(ahead)} nats. The encoder has one network for all digits; here only this one counts.`;
    }
    if (ahead > -0.005) return "You are level with the encoder.";
    if (ahead > -0.5) return `Nearly level: the encoder is ahead by ${formatted(-ahead)} nats.`;
    const why =
      own.kl - encoder.kl > own.reconstruction - encoder.reconstruction
        ? "Your q is too narrow, or too far from the middle of the plane."
        : "Your samples draw the digit badly: move your ellipse onto the cloud, or make it narrower.";
    return `The encoder is ahead by ${formatted(-ahead)} nats. ${why}`;
  }

  markGauge() {
    for (const gap of GAUGE_MARKS) {
      const number = element("span", {}, String(gap));
      number.style.left = `${gaugePlace(gap)}%`;
      byId("gauge-scale").append(number);
    }
  }

  draw(topics) {
    const fresh = topics.has("digit");
    const recoloured = topics.has("theme");
    if (fresh) this.climbing = null;
    if (fresh || recoloured) this.cloud.prepare(this.app.digit.truth);
    if (fresh) this.fit(false);
    if (fresh || recoloured) drawDigit(byId("game-input"), this.app.digit.x);
    if (fresh || recoloured || topics.has("mine")) this.fillScore();
    if (fresh || recoloured || topics.has("mine") || topics.has("game-view")) this.drawPlane();
  }
}

/** A q as wide again as another one, and beside it: three of its sigmas to the right and down. */
function beside({ mean, logVar }) {
  const sigma = logVar.map((v) => Math.exp(v / 2));
  return { mean: [mean[0] + 3 * sigma[0], mean[1] - 3 * sigma[1]], logVar: logVar.map((v) => v + 2 * Math.log(1.5)) };
}

/** From where to where a q goes, three sigmas on each side: [[low, high] of z1, of z2]. */
function sidesOf({ mean, logVar }) {
  return mean.map((m, i) => [m - 3 * Math.exp(logVar[i] / 2), m + 3 * Math.exp(logVar[i] / 2)]);
}

/** A range with half of its length added on each side: what the outer contour of a cloud leaves out. */
const withMargin = ([low, high]) => [low - (high - low) / 2, high + (high - low) / 2];

/** The reader's ellipse, with dots where it can be taken. */
function drawHandles(context, view, q) {
  const [x, y] = view.toScreen(q.mean);
  const [a, b] = q.logVar.map((v) => 2 * Math.exp(v / 2) * view.scale);
  context.fillStyle = themeColour("mine");
  context.globalAlpha = 0.12;
  context.beginPath();
  context.ellipse(x, y, a, b, 0, 0, 2 * Math.PI);
  context.fill();
  context.globalAlpha = 1;
  drawEllipses(context, view, q, themeColour("mine"), 2.5);
  for (const [dx, dy] of [[0, 0], [a, 0], [-a, 0], [0, b], [0, -b]]) {
    context.beginPath();
    context.arc(x + dx, y + dy, dx || dy ? 6 : 5, 0, 2 * Math.PI);
    context.fill();
  }
}

/** The samples of a climb, { z, gradient }, and where each would rather be. */
function drawWishes(context, view, samples) {
  context.fillStyle = context.strokeStyle = themeColour("mine");
  context.lineWidth = 1;
  for (const { z, gradient } of samples) {
    const [x, y] = view.toScreen(z);
    const length = Math.hypot(...gradient) || 1;
    const reach = 26 * Math.min(1, length / 100);
    context.fillRect(x - 2, y - 2, 4, 4);
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + (reach * gradient[0]) / length, y - (reach * gradient[1]) / length);
    context.stroke();
  }
}

/** Where a gap of so many nats stands on the gauge, in percent: 0 at the right, 300 at the left. */
function gaugePlace(gap) {
  return 100 * (1 - Math.log1p(Math.min(300, Math.max(0, gap))) / Math.log1p(300));
}
