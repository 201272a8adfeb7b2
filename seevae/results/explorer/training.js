// needs: worker, packing, posterior, curves, state
"use strict";
// The training: the network learns in a worker, from the images that the page carries, and the page shows it.

const LARGEST_BETA = 100;

/** beta from 0 to 100 on a slider from 0 to 100: 0, then logarithmic from 0.01, with 1 in the middle. */
const betaAt = (place) => (place <= 0 ? 0 : Number((LARGEST_BETA ** (place / 50 - 1)).toPrecision(2)));
const placeOf = (beta) => (beta <= 0 ? 0 : 50 * (1 + Math.log(beta) / Math.log(LARGEST_BETA)));

class Training {
  constructor(state) {
    this.state = state;
    this.images = unpackTraining(state.home.training); // a promise of { images, heldOut, labels }
    this.own = { model: state.model, codes: state.codes, images: this.images }; // the page's
    this.worker = null;
    this.started = null; // a promise that the worker has been started, or has failed
    this.running = false;
    this.turn = 0; // the number of the last command; reports of older ones are not shown
    this.pending = {}; // what the worker has not been told yet: the last command wins
    this.waiting = null; // who waits for the report of the last command
    this.curves = [];
    this.last = null; // the last report
    this.note = "";
    this.followControls();
    const needs = ["training", "switches", "whose"];
    state.panel({ place: "train-panel", needs, draw: () => this.draw() });
    state.panel({ place: "train-panel", needs: ["training", "theme", "size"], draw: () => drawCurves(byId("curve"), this.curves, { "held-out loss": sumOf }) });
  }

  get switches() {
    return this.state.switches;
  }

  followControls() {
    onClicks({
      "train-start": () => this.run(!this.running),
      "train-new": () => this.learnAnew(true),
      "train-back": () => this.goBack(),
      fold: () => (byId("fold").ariaExpanded = String(byId("dock").classList.toggle("open"))),
    });
    byId("train-beta").addEventListener("input", () => this.set({ beta: betaAt(Number(byId("train-beta").value)) }));
    for (const [id, name] of [["train-sample-noise", "sampleNoise"], ["train-input-noise", "inputNoise"]]) {
      byId(id).addEventListener("change", () => this.set({ [name]: byId(id).checked }));
    }
  }

  // -- Commands --------------------------------------------------------------------------------------------------

  /** Tell the worker what is wanted from now on. Returns the report that obeys it, or null where another command came. */
  command(wanted) {
    this.turn++;
    this.waiting?.(null);
    Object.assign(this.pending, wanted, { turn: this.turn, switches: { ...this.state.switches } });
    if (wanted.running !== undefined) this.running = wanted.running;
    if (this.running) this.state.stopPreparing?.();
    this.state.changed("training");
    this.started ??= this.start();
    this.started.then(() => this.tell());
    return new Promise((done) => (this.waiting = done));
  }

  tell() {
    if (!this.worker || this.pending.turn === undefined) return;
    this.worker.postMessage(this.pending);
    this.pending = {};
  }

  /** Start the worker, once, and give it the images. */
  async start() {
    try {
      const { images, heldOut } = await this.images;
      const layers = /** @type {Layers} */ (copyOfLayers(this.state.model.layers));
      this.worker = startTraining({ images, heldOut, layers }, (report) => this.take(report), (why) => this.fail(why));
    } catch (error) {
      this.fail(error.message);
    }
  }

  /** Nothing can be trained here. */
  fail(why) {
    [this.running, this.worker, this.started, this.note] = [false, null, null, `This browser does not let the page train: ${why}`];
    this.waiting?.(null);
    if (this.state.model === this.own.model) this.state.whose = { at: "page" }; // it has not come to another one
    this.state.changed("training");
  }

  set(switches) {
    this.state.switches = { ...this.state.switches, ...switches };
    if (this.worker) this.command({});
  }

  run(running) {
    this.note = "";
    if (running && this.state.whose.at === "page") this.state.whose = { at: "here", from: "the page’s weights" };
    return this.command({ running });
  }

  /**
   * Go on from other weights, with a new count of the steps. headStep: how long the steps of the two heads are; images:
   * others, a promise of { images, heldOut, labels }.
   */
  begin(layers, whose, running, { headStep = RECIPE.headStep, images = null } = {}) {
    [this.curves, this.last, this.note] = [[], null, ""];
    const { state } = this;
    state.whose = whose;
    state.clouds = null;
    if (images) {
      this.worker?.terminate();
      [this.worker, this.started, this.images] = [null, null, images];
    }
    return this.command({ layers: copyOfLayers(layers), headStep, running });
  }

  /** Train from new weights: from those of the recipe, or from Keras's own, where no layer has smaller steps. */
  learnAnew(spread) {
    const { hiddenDim, latentDim } = this.state.model;
    const from = spread ? "new weights" : "Keras’s default weights";
    return this.begin(newLayers(hiddenDim, latentDim, spread), { at: "here", from }, true, { headStep: spread ? RECIPE.headStep : 1 });
  }

  /** Back to the page's own model, and to the switches with which it was trained. */
  goBack() {
    const { state, own } = this;
    state.switches = { ...VAE };
    const others = state.data !== state.home;
    this.begin(own.model.layers, { at: "page" }, false, { images: others ? own.images : null });
    if (state.model === own.model) return;
    showModel(state, own.model, own.codes);
    if (others) {
      state.data = state.home;
      state.paper.lay(state.data.picks[0]);
    }
    preparePosteriorOf(state);
  }

  /** One step on a batch whose first image is the digit shown. Returns the report, or null. */
  oneStep() {
    if (this.state.whose.at === "page") this.state.whose = { at: "here", from: "the page’s weights" };
    return this.command({ step: this.state.image.x, running: false });
  }

  // -- Reports ---------------------------------------------------------------------------------------------------

  /** Take what the worker reports: see worker.js. */
  async take(report) {
    if (report.turn !== this.turn) return; // of an older command
    const { state } = this;
    const { steps, running, trained, held, layers, mean, logVar } = report;
    const { labels } = await this.images;
    if (report.turn !== this.turn) return;
    this.waiting?.(report);
    this.waiting = null;
    if (!Number.isFinite(held.reconstruction + held.kl)) {
      this.running = false;
      this.note = "The weights overflowed: begin from new ones, or go back to the page’s model.";
      return state.changed("training");
    }
    this.running = running;
    this.last = { steps, trained, held, mean, logVar };
    this.curves.push({ steps, trained, held });
    if (this.curves.length > 600) this.curves = this.curves.filter((_, i) => i % 2 === 0); // thinner, as it grows long
    if (state.clouds) state.clouds = { mean, logVar };
    if (state.whose.at !== "page") {
      showModel(state, new Model(layers, state.model.epsilons), state.codes && { z: mean, labels });
      if (!running) preparePosteriorOf(state);
    }
    state.changed("training");
  }

  // -- What is seen ----------------------------------------------------------------------------------------------

  draw() {
    const { running, state } = this;
    const { beta, sampleNoise, inputNoise } = state.switches;
    byId("train-start").textContent = running ? "Pause" : "Train";
    byId("train-start").ariaPressed = String(running);
    byId("train-slow").disabled = Boolean(state.slow);
    byId("train-beta").value = placeOf(beta);
    byId("train-beta").ariaValueText = formatted(beta, 2);
    byId("train-beta-number").textContent = beta === 1 ? "1" : beta < 10 ? formatted(beta, 2) : formatted(beta, 0);
    byId("train-sample-noise").checked = sampleNoise;
    byId("train-input-noise").checked = inputNoise;
    byId("train-note").textContent = this.note;
    byId("train-numbers").textContent = this.numbers();
  }

  numbers() {
    const { whose } = this.state;
    if (whose.at === "page") return "The page’s own weights.";
    if (!this.last) return this.note ? `From ${whose.from}` : `From ${whose.from}: beginning …`;
    const { steps, held } = this.last;
    return `${counted(steps, "step")}, from ${whose.from}: held out ${formatted(held.reconstruction + held.kl, 1)} nats.`;
  }
}

/** The images to train on: { images, heldOut: bytes, labels }, from what the page carries. */
async function unpackTraining({ images, heldOut, labels }) {
  const [bytes, held] = await Promise.all([unpackDeflated(images), unpackDeflated(heldOut)]);
  return { images: bytes, heldOut: held, labels };
}
