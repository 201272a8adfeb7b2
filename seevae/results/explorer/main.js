// needs: address, digit, game, latents, loss, packing, plane, posterior, prior, replay, sample, tour, training
"use strict";
// Reads what the page was given, builds the panels, and draws once a frame what has changed.

const SHOWS_THE_MODEL = ["digit", "view", "pointer", "walk", "sample", "prior", "latents"];
const SPACINGS = [0.05, 0.025, 0.0125]; // of the posterior's grids, one after the other

/** What all panels share: the model, the digit, the reader's q, and what has changed since the last frame. */
class App {
  constructor(contents) {
    this.model = new Model(unpackLayers(contents.layers), contents.epsilons);
    this.halfWidth = contents.halfWidth;
    this.colours = contents.colours;
    this.picks = unpackPicks(contents.picks);
    this.classes = [...new Set(contents.picks.labels)];
    this.names = contents.names;
    this.codes = contents.codes && unpackCodes(contents.codes);
    this.replay = contents.replay && unpackReplay(contents.replay);
    this.posterior = null; // comes from a worker
    this.refined = false; // whether it is on the finest grid
    this.digit = null; // { x, q, loss, truth }
    this.shownPick = null; // the pick that it is, unless it was painted
    this.mine = null; // a q of the reader's own, once it was moved
    this.pointer = [0, 0];
    this.prior = [];
    this.panels = [];
    this.waiting = new Set(); // what has changed since the last frame
    this.stopPreparing = null;
  }

  /** Whatever gives the most exact loss by now. */
  get judge() {
    return this.posterior ?? this.model;
  }

  setDigit(x) {
    this.digit = { x };
    this.mine = null;
    this.changed("digit");
  }

  /** The model has learned: its layers now, and the codes of the digits that the plane shows. */
  setLayers(layers, codes) {
    for (const [name, layer] of Object.entries(layers)) {
      this.model.layers[name].kernel.set(layer.kernel);
      this.model.layers[name].bias.set(layer.bias);
    }
    [this.posterior, this.refined] = [null, false];
    this.codes = codes;
    this.changed("model");
  }

  /** Compute the true posterior of the model as it is now, in the background. */
  preparePosterior() {
    if (this.model.latentDim !== 2) return;
    this.stopPreparing?.();
    this.stopPreparing = preparePosterior(this.model, this.halfWidth, SPACINGS, (posterior) => {
      this.posterior = posterior;
      this.refined = posterior.grid.spacing === SPACINGS.at(-1);
      this.changed("digit");
    });
  }

  /** Something has changed: draw it with the next frame. */
  changed(topic) {
    if (this.waiting.size === 0) requestAnimationFrame(() => this.draw());
    this.waiting.add(topic);
  }

  draw() {
    const topics = this.waiting;
    this.waiting = new Set();
    if (topics.has("model")) for (const topic of SHOWS_THE_MODEL) topics.add(topic);
    if (topics.has("digit")) this.lookAt(this.digit.x);
    for (const panel of this.panels) panel.draw(topics);
  }

  lookAt(x) {
    const q = this.model.encode(x);
    this.digit = { x, q, loss: this.judge.loss(x, q), truth: this.posterior?.of(x) };
  }
}

/** Show the parts of the page that suit the model, and say which one it is. */
function showParts({ model, replay }, { training, dataset, origin }) {
  const show = (className, visible) => {
    for (const part of document.getElementsByClassName(className)) part.hidden = !visible;
  };
  show("needs-plane", model.latentDim === 2);
  show("needs-sliders", model.latentDim !== 2);
  show("needs-replay", replay !== null);
  show("needs-training", training !== null);
  document.querySelector("main").classList.toggle("no-replay", replay === null);
  byId("origin").textContent =
    `784 pixels, ${model.hiddenDim} hidden units, ${model.latentDim} ${model.latentDim === 1 ? "latent" : "latents"}; ` +
    `${origin ? `${origin}; ` : ""}the digits shown are ${dataset}, held out from training.`;
}

function startExplorer() {
  const contents = JSON.parse(byId("contents").textContent);
  const app = new App(contents);
  showParts(app, contents);
  const panels = [digitPanel, samplePanel, lossPanel, priorPanel];
  panels.push(...(app.model.latentDim === 2 ? [planePanel, gamePanel] : [latentsPanel]));
  if (app.replay) panels.push(replayPanel);
  if (contents.training) panels.push((app) => trainingPanel(app, contents.training));
  for (const makePanel of [...panels, followAddress]) app.panels.push(makePanel(app));
  new Tour(app);
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
