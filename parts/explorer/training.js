"use strict";
// Panel "Train it here": the network learns in a worker, from the images that the page carries, and the page shows it.

const UPDATE = 300; // milliseconds between two looks at the model
const PRESETS = {
  vae: {
    switches: { beta: 1, sampleNoise: true, inputNoise: true },
    sentence: "The VAE. Watch the dots fill the circles of the prior, without holes: any draw from it is a digit.",
  },
  autoencoder: {
    switches: { beta: 0, sampleNoise: false, inputNoise: false },
    sentence:
      "A plain autoencoder: no noise on z, no KL. Watch the dots run far apart: draws from the prior now fall where no" +
      " digit is, and new digits turn to blots.",
  },
  strong: {
    switches: { beta: 4, sampleNoise: true, inputNoise: true },
    sentence: "The KL weighs four times as much. Watch the dots crowd around 0, and the digits blur.",
  },
};

/** In the worker: trains on the images that it was given, and posts now and then what it has become. */
class TrainingServer {
  constructor({ images, heldOut, layers }) {
    this.images = images;
    this.heldOut = heldOut.length > 500 * PIXELS ? heldOut.subarray(0, 500 * PIXELS) : heldOut; // for the curve
    this.shown = heldOut;
    this.learner = new Learner(layers);
    this.running = false;
    this.order = [];
    this.tick = new MessageChannel(); // comes back sooner than a timer would
    this.tick.port1.onmessage = () => this.steps();
  }

  set({ layers, switches, running }) {
    if (layers) {
      this.learner.layers = layers;
      this.learner.restart();
      this.trained = null;
    }
    if (switches) Object.assign(this.learner.switches, switches);
    if (running !== undefined && running !== this.running) {
      this.running = running;
      if (running) this.tick.port2.postMessage(0);
    }
    if (layers || !this.running) this.report();
  }

  steps() {
    if (!this.running) return;
    const losses = this.learner.step(this.batch());
    // A mean over the last batches: one batch alone would jump up and down.
    const share = this.trained ? 0.1 : 1;
    const blend = (name) => (1 - share) * (this.trained?.[name] ?? 0) + share * losses[name];
    this.trained = { reconstruction: blend("reconstruction"), kl: blend("kl") };
    if (!Number.isFinite(losses.reconstruction + losses.kl)) this.running = false;
    if (!this.running || performance.now() - (this.reported ?? 0) > UPDATE) this.report();
    this.tick.port2.postMessage(0);
  }

  /** The next images, in an order that is drawn anew when all had their turn. */
  batch() {
    const size = Math.min(RECIPE.batchSize, this.images.length / PIXELS);
    if (this.order.length < size) {
      this.order = Array.from({ length: this.images.length / PIXELS }, (_, i) => i);
      for (let i = this.order.length - 1; i > 0; i--) {
        const j = Math.floor(Math.random() * (i + 1));
        [this.order[i], this.order[j]] = [this.order[j], this.order[i]];
      }
    }
    const x = new Float32Array(size * PIXELS);
    this.order.splice(-size).forEach((place, k) => {
      for (let i = 0; i < PIXELS; i++) x[k * PIXELS + i] = this.images[place * PIXELS + i] / 255;
    });
    return x;
  }

  /** Post the weights, the codes of the digits shown, and the losses. */
  report() {
    const { learner } = this;
    const grey = (bytes) => Float32Array.from(bytes, (value) => value / 255);
    const { mean, logVar } = encodeBatch(learner.layers, grey(this.shown));
    const held = learner.evaluate(grey(this.heldOut));
    const { steps, layers } = learner;
    const { running, trained } = this;
    postMessage({ steps, running, trained, held, layers: copyOfLayers(layers), mean, logVar });
    this.reported = performance.now();
  }
}

/** Starts and returns the worker. images, heldOut: bytes, one image after the other; report: is called with its posts. */
function startTrainingWorker(images, heldOut, layers, report) {
  const sources = ["model.js", "learning.js", "training.js"].map((id) => document.getElementById(id).textContent);
  const serve = "let server; onmessage = ({ data }) => server ? server.set(data) : (server = new TrainingServer(data));";
  const url = URL.createObjectURL(new Blob([...sources, serve]));
  const worker = new Worker(url);
  worker.onmessage = ({ data }) => report(data);
  worker.postMessage({ images, heldOut, layers });
  return worker;
}

/** The bytes of a base64 text that deflate packed. */
async function unpackDeflated(text) {
  const packed = new Blob([unpack(text, Uint8Array)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

function trainingPanel(app, { images, count, heldOut, labels }) {
  const plane = app.model.latentDim === 2 && new TrainingPlane(app);
  const fresh = Array.from({ length: 6 }, () => ({ canvas: digitCanvas(), z: normalCode(app.model.latentDim) }));
  byId("train-new-digits").append(...fresh.map(({ canvas }) => canvas));
  byId("train-count").textContent = count.toLocaleString("en");
  const own = copyOfLayers(app.model.layers); // the page's
  const ownCodes = app.codes;
  const settings = { ...PRESETS.vae.switches };
  let worker = null;
  let running = false;
  let atHome = true; // the page shows its own model
  let curves = [];
  const startButton = byId("train-start");

  const send = (message) => worker?.postMessage(message);
  const prepare = async () => {
    if (worker) return;
    const [bytes, held] = await Promise.all([unpackDeflated(images), unpackDeflated(heldOut)]);
    worker ??= startTrainingWorker(bytes, held, copyOfLayers(app.model.layers), update);
  };
  const update = ({ steps, running: still, trained, held, layers, mean, logVar }) => {
    if (!Number.isFinite(held.reconstruction + held.kl)) {
      byId("train-note").textContent = "The weights overflowed: begin from new ones, or go back to the page’s model.";
      return show(false);
    }
    if (curves.length && steps < curves.at(-1).steps) curves = [];
    curves.push({ steps, trained, held });
    app.training = { steps, trained, held, mean, logVar };
    if (plane && byId("train-clouds").checked) plane.showClouds({ mean, logVar });
    if (!atHome) app.setLayers(layers, app.codes && { z: mean, labels });
    if (!still && !atHome) app.preparePosterior();
    app.changed("training");
  };
  const show = (yes) => {
    running = yes;
    startButton.textContent = yes ? "Pause" : "Train";
    startButton.ariaPressed = String(yes);
  };
  const run = async (yes) => {
    show(yes);
    if (yes) atHome = false;
    await prepare();
    send({ switches: settings, running: yes });
  };
  const begin = async (layers) => {
    await prepare();
    curves = [];
    byId("train-note").textContent = "";
    send({ layers, switches: settings });
  };
  const set = (switches) => {
    Object.assign(settings, switches);
    app.changed("training");
    send({ switches });
  };
  app.switches = () => ({ ...settings });
  app.setSwitches = set;

  startButton.addEventListener("click", () => run(!running));
  byId("train-new").addEventListener("click", async () => {
    await begin(newLayers(app.model.hiddenDim, app.model.latentDim));
    run(true);
  });
  byId("train-back").addEventListener("click", async () => {
    await run(false);
    atHome = true;
    await begin(copyOfLayers(own));
    app.setLayers(own, ownCodes);
    app.preparePosterior();
  });
  byId("train-clouds").addEventListener("change", async ({ target }) => {
    await prepare();
    const { mean, logVar } = app.training ?? {};
    plane.showClouds(target.checked && mean ? { mean, logVar } : null);
    if (target.checked && !mean) send({}); // it reports, as it rests
  });
  byId("train-beta").addEventListener("input", (event) => set({ beta: Number(event.target.value) }));
  byId("train-sample-noise").addEventListener("change", (event) => set({ sampleNoise: event.target.checked }));
  byId("train-input-noise").addEventListener("change", (event) => set({ inputNoise: event.target.checked }));
  for (const name of Object.keys(PRESETS)) byId(`preset-${name}`).addEventListener("click", () => set(PRESETS[name].switches));

  const chosen = () => {
    const same = ({ switches }) => Object.keys(switches).every((name) => switches[name] === settings[name]);
    return Object.keys(PRESETS).find((name) => same(PRESETS[name]));
  };
  const drawSwitches = () => {
    byId("train-beta").value = settings.beta;
    byId("train-beta-number").textContent = formatted(settings.beta, 2) + (settings.beta === 1 ? ", the VAE" : "");
    byId("train-sample-noise").checked = settings.sampleNoise;
    byId("train-input-noise").checked = settings.inputNoise;
    for (const name of Object.keys(PRESETS)) byId(`preset-${name}`).ariaPressed = String(chosen() === name);
    const plain = settings.beta === 0 && !settings.sampleNoise;
    const noisy = "No noise on z and no KL: this is a plain autoencoder, with noise on its input.";
    byId("train-what").textContent = worded(PRESETS[chosen()]?.sentence ?? (plain ? noisy : "A setting of your own."));
  };

  return {
    draw(topics) {
      if (plane) plane.draw(topics);
      if (topics.has("model") || topics.has("theme")) for (const { canvas, z } of fresh) drawDigit(canvas, app.model.decode(z));
      if (!topics.has("training") && !topics.has("theme")) return;
      drawSwitches();
      drawCurves(byId("train-curves"), curves);
      const last = curves.at(-1);
      if (!last) return;
      const loss = ({ reconstruction, kl }) => formatted(reconstruction + kl, 1);
      const trained = last.trained ? `, trained ${loss(last.trained)}` : "";
      byId("train-numbers").textContent =
        `${last.steps.toLocaleString("en")} steps: reconstruction + KL, held out ${loss(last.held)}${trained} nats`;
    },
  };
}

/** The plane as the model has it now: decoded digits, and the codes of held-out ones over them. */
class TrainingPlane {
  constructor(app) {
    this.app = app;
    this.manifold = new Manifold(app.model, 40);
    this.view = new View([byId("train-plane")], reachOf(app.codes), () => app.changed("train-view"));
    this.clouds = null; // { mean, logVar } of the held-out digits, all q together, if they are to be seen
    fillLegend(byId("train-legend"), app.classes, app.names, app.colours);
  }

  /** Show all q together in place of the dots: { mean, logVar }, pairs one after the other; null for the dots. */
  showClouds(clouds) {
    this.clouds = clouds;
    byId("train-clouds-numbers").textContent = clouds
      ? worded(`The mean of ${clouds.mean.length / 2} clouds is ${formatted(new Aggregate(clouds, 6).klToPrior, 2)} nats (KL divergence) from the prior:` +
        " the nearer to 0, the more a draw from N(0, I) is like the code of a digit.")
      : "";
    this.app.changed("train-view");
  }

  draw(topics) {
    const { app, view, manifold } = this;
    if (topics.has("theme")) manifold.forget();
    if (topics.has("model")) {
      manifold.renew();
      const reach = reachOf(app.codes); // codes that leave the plane are followed
      if (reach > 0.55 * view.span || reach < 0.3 * view.span) view.show([0, 0], 2 * reach);
    }
    if (!["theme", "model", "train-view"].some((topic) => topics.has(topic))) return;
    const context = view.clear(0);
    context.globalAlpha = 0.45;
    if (manifold.draw(context, view)) app.changed("train-view"); // more to decode: next frame
    context.globalAlpha = 1;
    if (this.clouds) new Aggregate(this.clouds, view.span / 2).draw(context, view);
    drawPrior(context, view);
    if (!this.clouds) drawDots(context, view, app.codes, app.colours, 4);
    view.drawAxes(context);
  }
}

/** The mean of many q, the "aggregate posterior", on a grid over [-halfWidth, halfWidth]^2. */
class Aggregate {
  constructor({ mean, logVar }, halfWidth, size = 120) {
    this.halfWidth = halfWidth;
    this.size = size;
    this.density = new Float32Array(size * size);
    const step = (2 * halfWidth) / size;
    const code = (index) => (index + 0.5) * step - halfWidth;
    const count = mean.length / 2;
    /** The share of a Gaussian in each cell along one axis: [first cell, shares]; narrow ones are as wide as a cell. */
    const along = (m, v) => {
      const sigma = Math.max(Math.exp(v / 2), 0.6 * step);
      const [low, high] = [m - 4 * sigma, m + 4 * sigma].map((z) => Math.floor((z + halfWidth) / step));
      const first = Math.max(0, low);
      const cells = Math.max(0, Math.min(size - 1, high) - first + 1);
      const norm = sigma * Math.sqrt(2 * Math.PI);
      return [first, Float32Array.from({ length: cells }, (_, k) => Math.exp(-0.5 * ((code(first + k) - m) / sigma) ** 2) / norm)];
    };
    for (let i = 0; i < count; i++) {
      const [column, across] = along(mean[2 * i], logVar[2 * i]);
      const [row, up] = along(mean[2 * i + 1], logVar[2 * i + 1]);
      for (let r = 0; r < up.length; r++) {
        const start = (row + r) * size + column;
        for (let c = 0; c < across.length; c++) this.density[start + c] += (up[r] * across[c]) / count;
      }
    }
    let kl = 0;
    for (let r = 0; r < size; r++) {
      for (let c = 0; c < size; c++) {
        const density = this.density[r * size + c];
        const logPrior = -LOG_2_PI - 0.5 * (code(r) ** 2 + code(c) ** 2);
        if (density > 0) kl += density * (Math.log(density) - logPrior) * step * step;
      }
    }
    this.klToPrior = kl;
  }

  /** Draw it as a cloud whose darkest place is as dark as the prior's middle would be. */
  draw(context, view) {
    const { size, halfWidth, density } = this;
    const canvas = element("canvas", { width: size, height: size });
    const picture = canvas.getContext("2d").createImageData(size, size);
    const colour = themeRgb("posterior");
    for (let r = 0; r < size; r++) {
      for (let c = 0; c < size; c++) {
        const pixel = 4 * ((size - 1 - r) * size + c);
        picture.data.set(colour, pixel);
        picture.data[pixel + 3] = 220 * Math.min(1, density[r * size + c] * 2 * Math.PI); // 1 / (2 pi): the prior's top
      }
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
    const [x, y] = view.toScreen([-halfWidth, halfWidth]);
    context.drawImage(canvas, x, y, 2 * halfWidth * view.scale, 2 * halfWidth * view.scale);
  }
}

/** The layers of a model, copied. */
function copyOfLayers(layers) {
  const copy = ({ kernel, bias }) => ({ kernel: kernel.slice(), bias: bias.slice() });
  return Object.fromEntries(LAYERS.map((name) => [name, copy(layers[name])]));
}

/** Three small charts, each of one number against the steps: the held-out one as a line, the trained one as another. */
function drawCurves(canvas, curves) {
  const density = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  [canvas.width, canvas.height] = [Math.round(width * density), Math.round(height * density)];
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  const charts = [
    [width < 500 ? "sum of both" : "reconstruction + KL", ({ reconstruction, kl }) => reconstruction + kl],
    ["reconstruction", ({ reconstruction }) => reconstruction],
    ["KL", ({ kl }) => kl],
  ];
  charts.forEach(([title, value], k) => {
    const box = { left: 6 + (k * width) / 3, top: 20, width: width / 3 - 54, height: height - 44 };
    drawChart(context, box, title, curves, value);
  });
}

function drawChart(context, box, title, curves, value) {
  const points = (which) => curves.filter((point) => point[which]).map((point) => [point.steps, value(point[which])]);
  const lines = [["trained", "mine", points("trained")], ["held", "encoder", points("held")]];
  const recent = lines.flatMap(([, , line]) => line.slice(Math.min(3, line.length - 1)).map(([, y]) => y)); // not the start
  const finite = recent.filter(Number.isFinite);
  const [low, high] = finite.length ? [Math.min(...finite), Math.max(...finite, Math.min(...finite) + 1)] : [0, 1];
  const last = Math.max(1, curves.at(-1)?.steps ?? 1);
  const x = (steps) => box.left + (box.width * steps) / last;
  const y = (level) => box.top + box.height * (1 - (Math.min(high, level) - low) / (high - low));
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "left";
  context.fillStyle = themeColour("ink");
  context.fillText(title, box.left, 12);
  context.fillStyle = themeColour("quiet");
  if (curves.length > 1) {
    context.fillText(formatted(high, 1), box.left + box.width + 4, box.top + 8);
    context.fillText(formatted(low, 1), box.left + box.width + 4, box.top + box.height);
    context.fillText(`${last.toLocaleString("en")} steps`, box.left, box.top + box.height + 16);
  }
  context.strokeStyle = themeColour("grid");
  context.lineWidth = 1;
  context.strokeRect(box.left, box.top, box.width, box.height);
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.width, box.height);
  context.clip();
  for (const [which, colour, line] of lines) {
    context.strokeStyle = themeColour(colour);
    context.lineWidth = 2;
    context.setLineDash(which === "trained" ? [4, 3] : []);
    context.beginPath();
    line.forEach(([steps, level], i) => (i ? context.lineTo(x(steps), y(level)) : context.moveTo(x(steps), y(level))));
    context.stroke();
  }
  context.restore();
}
