"use strict";
// The training in a worker of its own, so that the page keeps answering: what runs there, and what starts it.

const UPDATE = 300; // milliseconds between two looks at the model

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

  set({ turn, layers, headStep, switches, running, step }) {
    this.turn = turn;
    if (layers) {
      this.learner.layers = layers;
      this.learner.headStep = headStep;
      this.learner.restart();
      this.trained = null;
    }
    if (switches) Object.assign(this.learner.switches, switches);
    if (running !== undefined && running !== this.running) {
      this.running = running;
      if (running) this.tick.port2.postMessage(0);
    }
    if (step) {
      const x = this.batch();
      x.set(step);
      this.running = false;
      this.learner.step(x);
    }
    this.report();
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
    postMessage({ turn: this.turn, steps, running, trained, held, layers: copyOfLayers(layers), mean, logVar });
    this.reported = performance.now();
  }
}

/** Starts and returns the worker. images, heldOut: bytes, one image after the other; report: is called with its posts. */
function startTrainingWorker(images, heldOut, layers, report) {
  const sources = ["model.js", "packing.js", "learning.js", "worker.js"].map((id) => document.getElementById(id).textContent);
  const serve = "let server; onmessage = ({ data }) => server ? server.set(data) : (server = new TrainingServer(data));";
  const url = URL.createObjectURL(new Blob([...sources, serve]));
  const worker = new Worker(url);
  worker.onmessage = ({ data }) => report(data);
  worker.postMessage({ images, heldOut, layers });
  return worker;
}
const startTraining = ({ images, heldOut, layers }, report) => startTrainingWorker(images, heldOut, layers, report);

/** The layers of a model, copied. */
function copyOfLayers(layers) {
  const copy = ({ kernel, bias }) => ({ kernel: kernel.slice(), bias: bias.slice() });
  return Object.fromEntries(LAYERS.map((name) => [name, copy(layers[name])]));
}
