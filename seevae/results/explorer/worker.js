// needs: learning, kernel
"use strict";
// Long work in workers, so that the page keeps answering; on the page's own thread, in slices, where workers are refused.
// The training is such work.

const UPDATE = [250, 1000]; // milliseconds between two looks at the model that trains, at least and at most;
const SHARE = 8; // in between, so many times as long as a look takes
const JUDGED = 500; // held-out images, for the loss that is shown while it trains
const GREYS = Float32Array.from({ length: 256 }, (_, byte) => byte / 255);
const PATIENCE = 10_000; // milliseconds in which a worker must have begun

/**
 * Starts long work. file: the script, without its ending, that holds `service`; those that it needs go along. service:
 * a function (post, breath) of its own that returns what takes each message. It posts its answers, and awaits breath()
 * in long work, so that messages, or frames, can come in between. listen: is called with each answer; fail: with a
 * sentence where the work ended with an error.
 * @param {string} file
 * @param {(post: (answer: any, transfer?: Transferable[]) => void, breath: () => any) => (message: any) => any} service
 * @param {(answer: any) => void} listen
 * @returns {{ postMessage: (message: any) => void, terminate: () => void }}
 */
function startWorker(file, service, listen, fail = (sentence) => console.error(sentence)) {
  let waiting = []; // messages, until it is known who takes them
  let ended = false;
  let send = (message) => waiting.push(message);
  let stop = () => {};
  let undecided = true;
  const decide = (to) => {
    undecided = false;
    send = to;
    waiting.forEach(send);
    waiting = [];
  };
  const here = () => {
    if (!undecided || ended) return;
    stop();
    const breath = breathing(8, (go) => setTimeout(go, 8));
    const post = (answer) => setTimeout(() => ended || listen(answer));
    const take = service(post, () => (ended ? new Promise(() => {}) : breath()));
    decide(async (message) => {
      try {
        await take(message);
      } catch (error) {
        fail(`This could not be computed: ${error.message}`);
      }
    });
  };
  try {
    const begin = `const answer = ${service.name}(postMessage.bind(self), breathing(50, tick)); onmessage = ({ data }) => answer(data); postMessage("ready");`;
    const url = URL.createObjectURL(new Blob([...scriptsFor(file), begin]));
    const worker = new Worker(url);
    stop = () => {
      worker.terminate();
      URL.revokeObjectURL(url);
    };
    worker.onmessage = ({ data }) => {
      if (data !== "ready") return listen(data);
      if (undecided) decide((message) => worker.postMessage(message));
    };
    worker.onerror = (event) => (undecided ? here() : fail(`This could not be computed: ${event.message}`));
    setTimeout(here, PATIENCE);
  } catch {
    setTimeout(here); // answers come later than the call, either way
  }
  return {
    postMessage: (message) => void send(message),
    terminate: () => {
      ended = true;
      stop();
    },
  };
}

/** The texts of a script of this page, and of those that it needs, in order. */
function scriptsFor(file, found = new Map()) {
  const text = document.getElementById(`${file}.js`).textContent;
  for (const name of /^\/\/ needs: (.*)/.exec(text)[1].split(", ")) {
    if (name !== "nothing" && !found.has(name)) scriptsFor(name, found);
  }
  return found.set(file, `${text}\n`).values();
}

/** A function to await in long work: after each `slice` milliseconds it lets others do something, by way of `later`. */
function breathing(slice, later) {
  let until = performance.now() + slice;
  return () => {
    if (performance.now() < until) return null;
    return new Promise((/** @type {(value?: any) => void} */ done) => {
      later(() => {
        until = performance.now() + slice;
        done();
      });
    });
  };
}

/** Calls back after the messages that wait: sooner than a timer would. */
function tick(/** @type {() => void} */ go) {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    go();
  };
  port2.postMessage(0);
}

/**
 * What a training worker does: takes commands, { turn, images, heldOut, layers, headStep, switches, running, step }, each
 * part of which may be left out. Those that come together are one, in which the last word on each part counts. See
 * TrainingServer.
 */
function serveTraining(post, breath) {
  let [server, next, busy] = [null, null, false];
  return async (command) => {
    next = { ...next, ...command, switches: { ...next?.switches, ...command.switches } };
    if (busy) return; // the loop below takes it
    busy = true;
    try {
      while (next || server.running) {
        server ??= new TrainingServer(next, post, (await loadKernel(roomOf(next.layers))) ?? undefined);
        const now = next;
        next = null;
        if (now) server.obey(now);
        if (server.running) server.train();
        await breath();
      }
    } finally {
      busy = false;
    }
  };
}

/** Trains on the images that it was given, and posts now and then what the model has become. */
class TrainingServer {
  /** images, heldOut: bytes, one image after the other; post: takes reports. */
  constructor({ images, heldOut, layers }, /** @type {(report: any, transfer?: any[]) => void} */ post = () => {}, arithmetic = undefined) {
    this.learner = new Learner(layers, arithmetic);
    this.post = post;
    this.running = false;
    this.turn = 0;
    this.due = 0; // when the next report is to come
    this.trained = null;
    this.takeImages(images, heldOut);
  }

  takeImages(images, heldOut) {
    this.images = images;
    this.shown = grey(heldOut);
    this.order = new Uint32Array(images.length / PIXELS).map((_, i) => i);
    this.next = this.order.length; // the place in the order of the next image; at its end, it is drawn anew
  }

  /** Do what a command says, and report. */
  obey({ turn = this.turn, images, heldOut, layers, headStep, switches, running, step }) {
    this.turn = turn;
    if (images) this.takeImages(images, heldOut);
    if (images || layers) this.trained = null;
    if (layers) this.learner.load(layers, headStep);
    Object.assign(this.learner.switches, switches);
    if (running !== undefined) this.running = running;
    if (step) {
      this.running = false;
      const batch = this.batch();
      batch.set(step);
      this.learn(batch);
    }
    this.report();
  }

  /** One step, and a report if it is time. */
  train() {
    this.learn(this.batch());
    if (!this.running || performance.now() > this.due) this.report();
  }

  learn(batch) {
    const losses = this.learner.step(batch);
    // A mean over the last batches: one batch alone would jump up and down.
    const share = this.trained ? 0.1 : 1;
    const blend = (name) => (1 - share) * (this.trained?.[name] ?? 0) + share * losses[name];
    this.trained = { reconstruction: blend("reconstruction"), kl: blend("kl") };
    if (!Number.isFinite(losses.reconstruction + losses.kl)) this.running = false;
  }

  /** The next images, in an order that is drawn anew when all had their turn. */
  batch() {
    const { order } = this;
    const size = Math.min(RECIPE.batchSize, order.length);
    if (this.next + size > order.length) {
      shuffle(order, Math.random);
      this.next = 0;
    }
    const { x } = this.learner.arraysOf(size);
    for (let k = 0; k < size; k++) {
      const start = order[this.next++] * PIXELS;
      grey(this.images.subarray(start, start + PIXELS), x.subarray(k * PIXELS));
    }
    return x;
  }

  /** Post the weights, the codes of the held-out images, and the losses. */
  report() {
    const { learner, turn, running, trained } = this;
    const { steps, arithmetic } = learner;
    const begun = performance.now();
    const { mean, logVar, ...held } = learner.evaluate(this.shown, Math.min(JUDGED, this.shown.length / PIXELS));
    const kernel = !(arithmetic instanceof PlainArithmetic);
    const layers = copyOfLayers(learner.layers);
    const parts = LAYERS.flatMap((name) => PARTS.map((part) => layers[name][part].buffer));
    this.post({ turn, steps, running, trained, held, layers, kernel, mean, logVar }, parts);
    const now = performance.now();
    this.due = now + Math.min(UPDATE[1], Math.max(UPDATE[0], SHARE * (now - begun)));
  }
}

/** Starts a training that waits for commands (see serveTraining); report: is called with what it posts. */
function startTraining(/** @type {{ images: Uint8Array, heldOut: Uint8Array, layers: Layers }} */ first, report, fail = undefined) {
  const worker = startWorker("worker", serveTraining, report, fail);
  worker.postMessage(first);
  return worker;
}

/** Bring numbers into another order, by draws from 0 to 1. */
function shuffle(/** @type {Uint32Array} */ order, /** @type {() => number} */ random) {
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** Bytes as grey values from 0 to 1. */
function grey(/** @type {Uint8Array} */ bytes, values = new Float32Array(bytes.length)) {
  for (let i = 0; i < bytes.length; i++) values[i] = GREYS[bytes[i]];
  return values;
}
