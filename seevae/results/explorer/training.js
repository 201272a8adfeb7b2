// needs: aggregate, curves, manifold, packing, plane, sample, view, worker
"use strict";
// Panel "Train it here": the network learns in a worker, from the images that the page carries, and the page shows it.

const PRESETS = {
  vae: {
    switches: { beta: 1, sampleNoise: true, inputNoise: true },
    sentence:
      "The VAE. From whatever weights it begins, the KL draws the dots into the circles of the prior: draws from it are" +
      " digits.",
  },
  autoencoder: {
    switches: { beta: 0, sampleNoise: false, inputNoise: false },
    sentence:
      "A plain autoencoder: no noise on z, no KL, and nothing ties the codes to the prior. From Keras’s default weights" +
      " the dots run far apart within 100 steps. “New weights” begin near the prior, and the dots stay nearer to it.",
  },
  strong: {
    switches: { beta: 4, sampleNoise: true, inputNoise: true },
    sentence:
      "The KL weighs four times as much. Watch its curve fall and the reconstruction rise: a code tells less of its digit.",
  },
};

const trainingPanel = (app, carried) => new Training(app, carried);

class Training {
  /** carried: what the page carries to train on, { images, count, heldOut, labels }; see explorer/__init__.py. */
  constructor(app, carried) {
    this.app = app;
    this.carried = carried;
    this.plane = app.model.latentDim === 2 && new TrainingPlane(app);
    this.fresh = Array.from({ length: 6 }, () => ({ canvas: digitCanvas(), z: normalCode(app.model.latentDim) }));
    this.own = { layers: copyOfLayers(app.model.layers), codes: app.codes }; // the page's model
    this.atHome = true; // the page shows its own model
    this.switches = { ...PRESETS.vae.switches };
    this.worker = null;
    this.running = false;
    this.curves = [];
    byId("train-new-digits").append(...this.fresh.map(({ canvas }) => canvas));
    byId("train-count").textContent = carried.count.toLocaleString("en");
    app.training = this;
    this.followButtons();
    this.followSwitches();
  }

  followButtons() {
    byId("train-start").addEventListener("click", () => this.run(!this.running));
    byId("train-new").addEventListener("click", () => this.learnAnew(true));
    byId("train-keras").addEventListener("click", () => this.learnAnew(false));
    byId("train-back").addEventListener("click", () => this.goBack());
    byId("train-clouds").addEventListener("change", ({ target }) => this.showClouds(target.checked));
  }

  followSwitches() {
    byId("train-beta").addEventListener("input", ({ target }) => this.set({ beta: Number(target.value) }));
    byId("train-sample-noise").addEventListener("change", ({ target }) => this.set({ sampleNoise: target.checked }));
    byId("train-input-noise").addEventListener("change", ({ target }) => this.set({ inputNoise: target.checked }));
    for (const [name, { switches }] of Object.entries(PRESETS)) {
      byId(`preset-${name}`).addEventListener("click", () => this.set(switches));
    }
  }

  // -- The worker ------------------------------------------------------------------------------------------------

  /** Start the worker, once, and give it the images. */
  async prepare() {
    if (this.worker) return;
    const { images, heldOut } = this.carried;
    const [bytes, held] = await Promise.all([unpackDeflated(images), unpackDeflated(heldOut)]);
    const layers = copyOfLayers(this.app.model.layers);
    this.worker ??= startTraining({ images: bytes, heldOut: held, layers }, (report) => this.take(report));
  }

  /** Train, or pause. */
  async run(yes) {
    this.show(yes);
    if (yes) this.atHome = false;
    await this.prepare();
    this.worker.postMessage({ switches: this.switches, running: yes });
  }

  /** Go on from other weights, with a new count of the steps; headStep: how long the steps of the two heads are. */
  async begin(layers, headStep = RECIPE.headStep) {
    await this.prepare();
    this.curves = [];
    byId("train-note").textContent = "";
    this.worker.postMessage({ layers, headStep, switches: this.switches });
  }

  /** Train from new weights: from those of the recipe, or from Keras's own, where no layer has smaller steps. */
  async learnAnew(spread) {
    const { hiddenDim, latentDim } = this.app.model;
    await this.begin(newLayers(hiddenDim, latentDim, spread), spread ? RECIPE.headStep : 1);
    return this.run(true);
  }

  async goBack() {
    await this.run(false);
    this.atHome = true;
    this.set(PRESETS.vae.switches);
    await this.begin(copyOfLayers(this.own.layers));
    this.app.setLayers(this.own.layers, this.own.codes);
    this.app.preparePosterior();
  }

  set(switches) {
    Object.assign(this.switches, switches);
    this.app.changed("training");
    this.worker?.postMessage({ switches });
  }

  /** Take what the worker reports: see TrainingServer.report. */
  take({ steps, running, trained, held, layers, mean, logVar }) {
    const { app, plane } = this;
    if (!Number.isFinite(held.reconstruction + held.kl)) {
      byId("train-note").textContent = "The weights overflowed: begin from new ones, or go back to the page’s model.";
      return this.show(false);
    }
    if (this.curves.length && steps < this.curves.at(-1).steps) this.curves = [];
    this.curves.push({ steps, trained, held });
    this.last = { steps, trained, held, mean, logVar };
    if (plane && byId("train-clouds").checked) plane.showClouds({ mean, logVar });
    if (!this.atHome) app.setLayers(layers, app.codes && { z: mean, labels: this.carried.labels });
    if (!running && !this.atHome) app.preparePosterior();
    app.changed("training");
  }

  async showClouds(yes) {
    await this.prepare();
    this.plane.showClouds(yes && this.last ? this.last : null);
    if (yes && !this.last) this.worker.postMessage({}); // it reports, as it rests
  }

  // -- What is seen ----------------------------------------------------------------------------------------------

  show(running) {
    this.running = running;
    byId("train-start").textContent = running ? "Pause" : "Train";
    byId("train-start").ariaPressed = String(running);
  }

  draw(topics) {
    const { app, plane } = this;
    if (plane) plane.draw(topics);
    if (topics.has("model") || topics.has("theme")) {
      for (const { canvas, z } of this.fresh) drawDigit(canvas, app.model.decode(z));
    }
    if (!topics.has("training") && !topics.has("theme")) return;
    this.drawSwitches();
    drawCurves(byId("train-curves"), this.curves);
    if (this.curves.length) byId("train-numbers").textContent = this.numbers();
  }

  drawSwitches() {
    const { beta, sampleNoise, inputNoise } = this.switches;
    const chosen = Object.keys(PRESETS).find((name) =>
      Object.entries(PRESETS[name].switches).every(([key, value]) => value === this.switches[key]),
    );
    byId("train-beta").value = beta;
    byId("train-beta-number").textContent = formatted(beta, 2) + (beta === 1 ? ", the VAE" : "");
    byId("train-sample-noise").checked = sampleNoise;
    byId("train-input-noise").checked = inputNoise;
    for (const name of Object.keys(PRESETS)) byId(`preset-${name}`).ariaPressed = String(chosen === name);
    const noisy = "No noise on z and no KL: this is a plain autoencoder, with noise on its input.";
    const other = beta === 0 && !sampleNoise ? noisy : "A setting of your own.";
    byId("train-what").textContent = worded(PRESETS[chosen]?.sentence ?? other);
  }

  numbers() {
    const { steps, trained, held } = this.curves.at(-1);
    const loss = ({ reconstruction, kl }) => formatted(reconstruction + kl, 1);
    const both = trained ? `${loss(held)}, trained ${loss(trained)}` : loss(held);
    return `${steps.toLocaleString("en")} steps: reconstruction + KL, held out ${both} nats`;
  }
}

/** The plane as the model has it now: decoded digits, and the codes of held-out ones over them. */
class TrainingPlane {
  constructor(app) {
    this.app = app;
    this.manifold = new Manifold(app.model, 40);
    this.view = new View([byId("train-plane")], reachOf(app.codes), () => app.changed("train-view"));
    this.view.limits.largest = 1000; // an autoencoder's codes go far
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
