"use strict";
// Reads what the page was given, builds the panels, and draws once a frame what has changed.

/** The bytes of a base64 text as a typed array. */
function unpack(text, Type) {
  return new Type(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
}

function unpackLayers(layers) {
  const parts = ({ kernel, bias }) => ({ kernel: unpack(kernel, Float32Array), bias: unpack(bias, Float32Array) });
  return Object.fromEntries(Object.entries(layers).map(([name, layer]) => [name, parts(layer)]));
}

/** Codes { z: pairs, one after the other, labels } from whole numbers. */
function unpackCodes({ unit, z, labels }) {
  return { z: Float32Array.from(unpack(z, Int16Array), (value) => value * unit), labels: unpack(labels, Uint8Array) };
}

function unpackReplay(record) {
  const { z, labels } = unpackCodes(record);
  const frames = record.moments.map((_, k) => z.subarray(2 * k * labels.length, 2 * (k + 1) * labels.length));
  return { moments: record.moments, losses: record.losses, frames, labels };
}

function unpackPicks({ images, labels }) {
  const pixels = Float32Array.from(unpack(images, Uint8Array), (value) => value / 255);
  return labels.map((label, k) => ({ label, image: pixels.subarray(k * PIXELS, (k + 1) * PIXELS) }));
}

const SHOWS_THE_MODEL = ["digit", "view", "pointer", "walk", "sample", "prior", "latents"];
const SPACINGS = [0.05, 0.025, 0.0125]; // of the posterior's grids, one after the other

function startExplorer() {
  const contents = JSON.parse(byId("contents").textContent);
  const model = new Model(unpackLayers(contents.layers), contents.epsilons);
  const plane = model.latentDim === 2;
  const panels = [];
  let stopPreparing = null;
  let waiting = new Set(); // what has changed since the last frame

  const app = {
    model,
    posterior: null, // comes from the worker
    refined: false, // whether it is on the finest grid
    halfWidth: contents.halfWidth,
    colours: contents.colours,
    picks: unpackPicks(contents.picks),
    classes: [...new Set(contents.picks.labels)],
    names: contents.names,
    codes: contents.codes && unpackCodes(contents.codes),
    replay: contents.replay && unpackReplay(contents.replay),
    digit: null, // { x, q, loss, truth }
    shownPick: null, // the pick that it is, unless it was painted
    mine: null, // a q of the reader's own, in place of the encoder's
    pointer: [0, 0],
    prior: [],
    /** Whatever gives the most exact loss by now. */
    get judge() {
      return app.posterior ?? model;
    },
    setDigit(x) {
      app.digit = { x };
      app.mine = null;
      app.changed("digit");
    },
    /** The model has learned: its layers now, and the codes of the digits that the plane shows. */
    setLayers(layers, codes) {
      for (const [name, layer] of Object.entries(layers)) {
        model.layers[name].kernel.set(layer.kernel);
        model.layers[name].bias.set(layer.bias);
      }
      [app.posterior, app.refined] = [null, false];
      app.codes = codes;
      app.changed("model");
    },
    /** Compute the true posterior of the model as it is now, in the background. */
    preparePosterior() {
      if (!plane) return;
      stopPreparing?.();
      stopPreparing = preparePosterior(model, contents.halfWidth, SPACINGS, (posterior) => {
        app.posterior = posterior;
        app.refined = posterior.grid.spacing === SPACINGS.at(-1);
        app.changed("digit");
      });
    },
    /** Something has changed: draw it with the next frame. */
    changed(topic) {
      if (waiting.size === 0) requestAnimationFrame(draw);
      waiting.add(topic);
    },
  };

  function draw() {
    const topics = waiting;
    waiting = new Set();
    if (topics.has("model")) for (const topic of SHOWS_THE_MODEL) topics.add(topic);
    if (topics.has("digit")) lookAt(app.digit.x);
    for (const panel of panels) panel.draw(topics);
  }

  function lookAt(x) {
    const q = model.encode(x);
    app.digit = { x, q, loss: app.judge.loss(x, q), truth: app.posterior?.of(x) };
  }

  const show = (className, visible) => {
    for (const part of document.getElementsByClassName(className)) part.hidden = !visible;
  };
  show("needs-plane", plane);
  show("needs-sliders", !plane);
  show("needs-replay", app.replay !== null);
  show("needs-training", contents.training !== null);
  document.querySelector("main").classList.toggle("no-replay", app.replay === null);
  byId("origin").textContent =
    `784 pixels, ${model.hiddenDim} hidden units, ${model.latentDim} ${model.latentDim === 1 ? "latent" : "latents"}; ` +
    `${contents.origin ? `${contents.origin}; ` : ""}the digits shown are ${contents.dataset}, held out from training.`;

  const build = [digitPanel, samplePanel, lossPanel, priorPanel];
  build.push(...(plane ? [planePanel, gamePanel] : [latentsPanel]));
  if (app.replay) build.push(replayPanel);
  if (contents.training) build.push((app) => trainingPanel(app, contents.training));
  panels.push(...build.map((makePanel) => makePanel(app)));
  panels.push(followAddress(app));
  panels.push(tourPanel(app));
  thing = contents.thing;
  if (thing !== "digit") rewordPage();
  app.changed("theme");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    themeColours.clear();
    app.changed("theme");
  });

  app.preparePosterior();
  return app;
}

/** What the page knows, for tests and for the curious: try explorer.model.decode([0, 0]) in the console. */
window.explorer = startExplorer();
