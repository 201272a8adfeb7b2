// needs: packing, posterior, state, digit, network, sample, loss, plane, lens, training, faults, slow, replay, axes, latents, tabs, address, tour, own
"use strict";
// Reads what the page was given, makes the state, and builds the panels. Where one cannot work, it says so itself.

const SPACINGS = [0.05, 0.025, 0.0125]; // of the posterior's grids, one after the other

/** The state of a page with these contents; all that has no value yet is null. */
function stateOf(contents) {
  const model = new Model(unpackLayers(contents.layers), contents.epsilons);
  const { dataset: name, names, colours, training, ordered } = contents;
  const home = { name, picks: unpackPicks(contents.picks), names, colours, training, ordered };
  return makeState(
    {
      model, // the weights: another object whenever they change
      whose: { at: "page" }, // whose weights they are: the page's, or { at: "here", from: what they began as }
      home, // the images that the page carries
      data: home, // those that it shows: { name, picks, names, colours }
      codes: contents.codes && unpackCodes(contents.codes), // of held-out digits, under these weights
      replay: contents.replay && unpackReplay(contents.replay),
      halfWidth: contents.halfWidth,
      posterior: null, // of these weights; it comes from a worker
      stopPreparing: null,
      lacking: model.latentDim === 2 ? "" : "log p(x) cannot be summed: there are not two latents", // why there is no evidence
      image: { x: new Float32Array(PIXELS), pick: null }, // what lies on the paper
      mine: null, // a q of the reader's own
      hand: null, // z, where the reader put it
      epsilons: Array.from({ length: KEPT_DRAWS }, () => normalCode(model.latentDim)), // the newest draw first
      lettered: false, // whether the new digits have letters in the plane: once somebody drew some
      prior: Array.from(LETTERS, () => normalCode(model.latentDim)),
      switches: { ...VAE }, // of the training
      training: null,
      clouds: null, // { mean, logVar } of the held-out digits, where all q together are shown
      slow: null, // an update in slow motion
      tab: "new",
      tabs: [],
      walk: [], // the places where the walk starts and ends
      moment: contents.replay ? contents.replay.moments.length - 1 : 0,
      wander: !matchMedia("(prefers-reduced-motion: reduce)").matches, // z is drawn anew by itself, until somebody touches it
      shown: "probability", // how decoded digits are shown
      under: false, // decoded digits under the dots
      lens: null, // the view of the lens
      paper: null,
      view: 0, climb: 0, pen: 0, unit: 0, size: 0, theme: 0, // have no value: they only change
    },
    {
      encoderQ: { needs: ["model", "image"], from: (state) => state.model.encode(state.image.x) },
      q: { needs: ["encoderQ", "mine"], from: (state) => state.mine ?? state.encoderQ },
      draws: { needs: ["q", "epsilons", "switches"], from: ({ q, epsilons, switches }) => epsilons.map((one) => drawCode(q, one, switches)) },
      z: { needs: ["hand", "draws"], from: ({ hand, draws }) => hand ?? draws[0] },
      decoded: { needs: ["model", "z"], from: ({ model, z }) => model.decode(z) },
      loss: { needs: ["model", "posterior", "image", "q"], from: (state) => lossOf(state, state.image.x, state.q) },
      truth: { needs: ["posterior", "image"], from: ({ posterior, image }) => posterior?.of(image.x) ?? null },
      refined: { needs: ["posterior"], from: ({ posterior }) => posterior?.grid.spacing === SPACINGS.at(-1) },
      picks: { needs: ["data"], from: ({ data }) => data.picks },
    },
  );
}

/** Show another model, and the codes of the held-out digits under it. What belongs to the one before is gone with it. */
function showModel(state, model, codes) {
  state.stopPreparing?.();
  [state.model, state.codes, state.posterior, state.mine] = [model, codes, null, null];
}

/** Compute the true posterior of the model as it is now, in the background. */
function preparePosteriorOf(state) {
  const { model } = state;
  if (model.latentDim !== 2) return;
  state.stopPreparing?.();
  state.stopPreparing = preparePosterior(model, state.halfWidth, SPACINGS, (posterior) => {
    if (state.model === model) state.posterior = posterior;
  }, (why) => (state.lacking = `log p(x) cannot be computed here: ${why}`));
}

/** Show the parts of the page that suit the model, and say which one it is. */
function showParts(state, { training, origin }) {
  const { model, replay } = state;
  const show = (className, visible) => {
    for (const part of allOf(`.${className}`)) part.hidden ||= !visible;
  };
  show("needs-plane", model.latentDim === 2);
  show("needs-sliders", model.latentDim !== 2);
  show("needs-replay", replay !== null);
  show("needs-training", training !== null);
  state.panel({
    place: "stage",
    needs: ["data", "whose"],
    draw() {
      const own = state.whose.at === "page" ? origin : `trained here, from ${state.whose.from}`;
      const numbers = `784 pixels → ${model.latentDim} ${model.latentDim === 1 ? "number" : "numbers"} → 784 pixels`;
      const held = worded(`the digits shown are ${state.data.name}, held out from training.`);
      byId("origin").textContent = `${numbers}; ${own ? `${own}; ` : ""}${held}`;
    },
  });
}

function startExplorer() {
  const contents = JSON.parse(byId("contents").textContent);
  thing = contents.thing;
  const state = stateOf(contents);
  const plane = state.model.latentDim === 2;
  const build = (place, make) => attempt(place, () => make(state));
  showParts(state, contents);
  if (thing !== "digit") rewordPage();
  build("digit-panel", () => (state.paper = digitPanel(state)));
  state.paper?.lay(oneOf(state.picks, state.picks.some(({ label }) => label === 7) ? 7 : state.picks[0].label));
  if (plane) build("lens-panel", () => (state.lens = new View([byId("lens")], 1, () => state.changed("lens"))));
  build("loss-panel", lossPanel);
  build("sample-panel", samplePanel);
  build("more", tabsPanel);
  if (contents.training) build("train-panel", () => (state.training = new Training(state)));
  build("encoder-panel", networkPanel);
  build("draws-panel", drawsPanel);
  build("tab-new", priorPanel);
  if (plane) {
    build("plane-panel", () => new Plane(state));
    build("lens-panel", () => new Lens(state));
    build("tab-walk", walkPanel);
  } else {
    build("latents-panel", latentsPanel);
  }
  if (state.replay && plane) build("tab-replay", replayPanel);
  if (state.training) {
    build("tab-faults", faultsPanel);
    build("tab-axes", axesPanel);
    build("tab-own", ownPanel);
    build("stage", slowPanel);
  }
  build("more", addressPanel);
  new Tour(state);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    themeColours.clear();
    state.changed("theme");
  });
  addEventListener("resize", () => state.changed("size"));
  attempt("loss-panel", () => preparePosteriorOf(state));
  for (const part of allOf("[inert]")) part.inert = false;
  byId("broken").remove();
  return state;
}

/** What the page knows, for tests and for the curious: try explorer.model.decode([0, 0]) in the console. */
Object.assign(window, { explorer: startExplorer() });
