// needs: cloud, view, state, loss
"use strict";
// The lens: q, its draws and the true posterior, enlarged. On the tab "Be the encoder" it covers the plane: a q of one's
// own to move, to stretch and to let climb.

const CLIMB_PAUSE = 110; // milliseconds between two steps, slow enough to be seen
const SMALLEST_SIGMA = 0.01;
const GRIP = 22; // pixels around the rim of the ellipse in which a finger takes it
const GAUGE_MARKS = [300, 100, 30, 10, 3, 1, 0];

class Lens {
  constructor(state) {
    this.state = state;
    this.view = state.lens;
    this.cloud = new Cloud();
    this.held = null; // what the pointer holds: "middle", "rim" or the "plane"
    this.climbing = null; // { image, rate, idle, steps, samples, due } while it climbs
    this.climbed = false; // whether a climb ended here
    this.seen = new Set(); // hard digits that were shown
    this.followPointer();
    this.followKeys();
    this.followButtons();
    this.makeSliders();
    this.markGauge();
    state.panel({ place: "lens-panel", needs: ["truth", "theme"], draw: () => this.cloud.prepare(state.truth) });
    state.panel({ place: "lens-panel", needs: ["encoderQ", "truth", "tab"], draw: () => this.fit(this.state.tab !== "game") });
    state.panel({ place: "lens-panel", needs: ["lens", "q", "z", "draws", "truth", "theme", "slow"], draw: () => this.drawPlane() });
    state.panel({ place: "tab-game", needs: ["loss", "truth", "tab", "climb", "lacking"], draw: () => state.tab === "game" && this.fillScore() });
  }

  // -- The reader's q --------------------------------------------------------------------------------------------

  take({ mean, logVar }) {
    const limit = (value, low, high) => Math.max(low, Math.min(high, value));
    const reach = this.state.halfWidth;
    this.state.mine = {
      mean: mean.map((value) => limit(value, -reach, reach)),
      logVar: logVar.map((value) => limit(value, 2 * Math.log(SMALLEST_SIGMA), 2)),
    };
    this.state.hand = null;
    this.state.wander = false;
  }

  /** Take a q that the reader made, not the climb. */
  takeByHand(q) {
    [this.climbed, this.climbing] = [false, null];
    this.take(q);
  }

  moveBy(dx, dy) {
    const { mean, logVar } = this.state.q;
    this.takeByHand({ mean: [mean[0] + dx, mean[1] + dy], logVar });
  }

  /** Make the logarithms of both sigmas so much larger. */
  stretchBy(a, b) {
    const { mean, logVar } = this.state.q;
    this.takeByHand({ mean, logVar: [logVar[0] + 2 * a, logVar[1] + 2 * b] });
  }

  takeTheEncoders() {
    [this.climbed, this.climbing] = [false, null];
    this.state.mine = this.state.hand = null;
    this.state.changed("climb");
  }

  // -- How it is moved -------------------------------------------------------------------------------------------

  followPointer() {
    /** What lies at a place: the middle of the ellipse, its rim, or the plane. */
    const partAt = (place) => {
      const distance = Math.hypot(...this.inSigmas(place));
      const sigma = Math.min(...this.state.q.logVar.map((v) => Math.exp(v / 2))) * this.view.scale; // in pixels
      const slack = GRIP / sigma;
      if (distance < Math.max(1.4, 2 - slack)) return "middle";
      return distance < 2 + slack ? "rim" : "plane";
    };
    followPointers(this.view, {
      grips: (place) => partAt(place) !== "plane",
      grab: (place) => (this.held = partAt(place)),
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
    const { mean, logVar } = this.state.q;
    return mean.map((m, i) => (z[i] - m) / Math.exp(logVar[i] / 2));
  }

  /** Taken at its side the ellipse widens, at its top it grows; both places in units of sigma. */
  pullRim(from, to) {
    const ratio = Math.log(Math.max(0.2, Math.hypot(...to)) / Math.max(0.2, Math.hypot(...from)));
    const share = from[0] ** 2 / (from[0] ** 2 + from[1] ** 2 || 1);
    this.stretchBy(ratio * share, ratio * (1 - share));
  }

  followKeys() {
    const step = (event) => (event.shiftKey ? 2 : 8) / this.view.scale;
    onKeys(byId("lens"), {
      ...onArrows((right, down, event) => this.moveBy(right * step(event), -down * step(event))),
      "+": () => this.stretchBy(0.05, 0.05),
      "-": () => this.stretchBy(-0.05, -0.05),
      ">": () => this.stretchBy(0.05, -0.05),
      "<": () => this.stretchBy(-0.05, 0.05),
      c: () => this.startOrStop(),
      e: () => this.takeTheEncoders(),
    });
  }

  followButtons() {
    onClicks({
      "give-back": () => this.takeTheEncoders(),
      climb: () => this.startOrStop(),
      "hard-digit": () => this.pickHardDigit(),
      "lens-in": () => this.view.zoom(1.5),
      "lens-out": () => this.view.zoom(1 / 1.5),
      "lens-fit": () => this.fit(true),
    });
    byId("lens-truth").addEventListener("change", () => this.state.changed("lens"));
  }

  makeSliders() {
    const { state } = this;
    this.byNumbers = byId("game-numbers");
    this.sliders = [0, 1].flatMap((i) => [
      slider(`z_mean ${i + 1}`, { min: -4, max: 4, step: 0.01 }, (value) => {
        this.takeByHand({ ...state.q, mean: state.q.mean.with(i, value) });
      }),
      slider(`sigma ${i + 1}`, { min: SMALLEST_SIGMA, max: 1, step: 0.005 }, (value) => {
        this.takeByHand({ ...state.q, logVar: state.q.logVar.with(i, 2 * Math.log(value)) });
      }),
    ]);
    byId("game-sliders").append(...this.sliders.map(({ label }) => label));
    this.byNumbers.addEventListener("toggle", () => state.changed("climb"));
  }

  /** A digit with a large gap: the largest of some that were not shown lately. */
  pickHardDigit() {
    const { state, seen } = this;
    const { picks } = state.data;
    if (!state.posterior) return;
    let fresh = picks.filter((pick) => !seen.has(pick));
    if (fresh.length < picks.length / 2) {
      seen.clear();
      fresh = picks;
    }
    const tried = Array.from({ length: 24 }, () => fresh[Math.floor(Math.random() * fresh.length)]);
    const gaps = tried.map(({ image }) => {
      return state.posterior.of(image).logEvidence - lossOf(state, image, state.model.encode(image)).elbo;
    });
    const hardest = tried[gaps.indexOf(Math.max(...gaps))] ?? tried[0];
    seen.add(hardest);
    state.paper.lay(hardest);
  }

  // -- The climb -------------------------------------------------------------------------------------------------

  startOrStop() {
    const { state } = this;
    this.climbed = false;
    this.climbing = this.climbing ? null : { image: state.image, rate: 0.5, idle: 0, steps: 0, samples: [], due: 0 };
    this.take(state.q);
    state.changed("climb");
    if (this.climbing) requestAnimationFrame((time) => this.climbOn(time));
  }

  climbOn(time) {
    const { state, climbing } = this;
    if (!climbing) return;
    if (climbing.image !== state.image || !state.mine) return this.endClimb(false); // another digit
    requestAnimationFrame((later) => this.climbOn(later));
    if (time < climbing.due) return;
    const { x } = state.image;
    const judge = { loss: (image, q) => lossOf(state, image, q) };
    const before = judge.loss(x, state.mine).elbo;
    const step = state.model.climb(x, state.mine, climbing.rate, judge);
    const idle = step && step.loss.elbo - before > 1e-3 ? 0 : climbing.idle + 1;
    if (!step || idle === 3) return this.endClimb(true);
    const { rate, samples, q } = step;
    Object.assign(climbing, { rate, samples, idle, steps: climbing.steps + 1, due: time + CLIMB_PAUSE });
    this.take(q);
    if (state.tab === "game" && !this.isInside(sidesOf(q))) this.fit(true);
  }

  endClimb(atTheTop) {
    [this.climbing, this.climbed] = [null, atTheTop];
    this.state.changed("climb", "lens");
  }

  // -- What is seen ----------------------------------------------------------------------------------------------

  isInside(sides) {
    const { centre, span } = this.view;
    return sides.every(([low, high], i) => Math.max(centre[i] - low, high - centre[i]) < span / 2);
  }

  /** Show the posterior and all q; unless told, only when they are out of sight or too small. */
  fit(always) {
    const { q, encoderQ, truth, slow, tab } = this.state;
    const all = [q, encoderQ, ...(slow?.old ? [slow.old] : [])].map(sidesOf);
    if (truth && tab === "game") all.push(truth.extent.map(withMargin));
    const sides = [0, 1].map((i) => [Math.min(...all.map((one) => one[i][0])), Math.max(...all.map((one) => one[i][1]))]);
    const span = Math.max(0.2, 1.35 * Math.max(...sides.map(([low, high]) => high - low)));
    if (!Number.isFinite(span)) return;
    if (always || !this.isInside(sides) || span < this.view.span / 2.2) {
      this.view.show(sides.map(([low, high]) => (low + high) / 2), span);
    }
  }

  drawPlane() {
    const { state, view } = this;
    const { q, encoderQ, mine, posterior, slow } = state;
    const context = view.clear(0);
    if (posterior && byId("lens-truth").checked) this.cloud.draw(context, view, posterior.grid);
    context.fillStyle = themeColour("ink");
    context.globalAlpha = 0.55;
    for (const z of state.draws) {
      context.beginPath();
      context.arc(...view.toScreen(z), 2, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
    if (this.climbing) drawWishes(context, view, this.climbing.samples);
    if (slow?.old) drawEllipses(context, view, slow.old, { dashed: true });
    drawEllipses(context, view, encoderQ);
    if (mine) drawEllipses(context, view, mine, { dashed: true });
    if (state.tab === "game") {
      drawHandles(context, view, q);
      view.drawAxes(context);
    }
    drawDisc(context, view, state.z, 5);
    if (slow?.pull) drawPull(context, view, q, slow.pull);
    byId("lens-note").textContent = mine ? "Dashed: your q. Solid: the encoder’s." : "q under the lens: drag its middle, or its rim. Grey: the true posterior.";
  }

  fillScore() {
    const { state } = this;
    const { loss: own, truth, encoderQ, image } = state;
    const encoder = lossOf(state, image.x, encoderQ);
    for (const [who, loss] of [["mine", own], ["encoder", encoder]]) {
      const show = (name, value) => (byId(`${who}-${name}`).textContent = formatted(value));
      show("reconstruction", loss.reconstruction);
      show("kl", loss.kl);
      show("gap", truth ? truth.logEvidence - loss.elbo : NaN);
      byId(`gauge-${who}`).hidden = !truth;
      if (truth) byId(`gauge-${who}`).style.left = `${gaugePlace(truth.logEvidence - loss.elbo)}%`;
    }
    byId("verdict").textContent = worded(this.verdict(own, encoder));
    byId("hard-digit").disabled = !state.posterior;
    byId("climb").textContent = this.climbing ? "Stop climbing" : "Climb from here";
    if (!this.byNumbers.open) return;
    this.sliders.forEach(({ show }, k) => show(k % 2 ? Math.exp(state.q.logVar[k >> 1] / 2) : state.q.mean[k >> 1]));
  }

  verdict(own, encoder) {
    const { state } = this;
    if (state.lacking) return `${state.lacking}; the ellipse can be moved.`;
    if (!state.posterior) return "The true posterior is being computed for these weights; the ellipse can be moved already.";
    if (this.climbing) return `Climbing: step ${this.climbing.steps}.`;
    if (!state.mine) return "Yours is the encoder’s until you move it: drag it by its middle, stretch it by its rim.";
    const ahead = own.elbo - encoder.elbo;
    const gap = state.truth.logEvidence - own.elbo;
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
}

/** From where to where a q goes, three sigmas on each side: [[low, high] of z1, of z2]. */
function sidesOf({ mean, logVar }) {
  return mean.map((m, i) => [m - 3 * Math.exp(logVar[i] / 2), m + 3 * Math.exp(logVar[i] / 2)]);
}

/** A range with half of its length added on each side: what the outer contour of a cloud leaves out. */
const withMargin = ([low, high]) => [low - (high - low) / 2, high + (high - low) / 2];

/** The dots at which an ellipse can be taken. */
function drawHandles(context, view, q) {
  const [x, y] = view.toScreen(q.mean);
  const [a, b] = q.logVar.map((v) => 2 * Math.exp(v / 2) * view.scale);
  context.fillStyle = themeColour("ink");
  for (const [dx, dy] of [[a, 0], [-a, 0], [0, b], [0, -b]]) context.fillRect(x + dx - 4, y + dy - 4, 8, 8);
}

/** The samples of a climb, { z, gradient }, and where each would rather be. */
function drawWishes(context, view, samples) {
  context.fillStyle = themeColour("ink");
  for (const { z, gradient } of samples) {
    const [x, y] = view.toScreen(z);
    const length = Math.hypot(...gradient) || 1;
    const reach = 26 * Math.min(1, length / 100);
    context.fillRect(x - 2, y - 2, 4, 4);
    drawLine(context, [[x, y], [x + (reach * gradient[0]) / length, y - (reach * gradient[1]) / length]]);
  }
}

/** Where a gap of so many nats stands on the gauge, in percent: 0 at the right, 300 at the left. */
function gaugePlace(gap) {
  return 100 * (1 - Math.log1p(Math.min(300, Math.max(0, gap))) / Math.log1p(300));
}
