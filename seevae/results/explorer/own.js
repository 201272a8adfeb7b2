// needs: training, manifold, own_images, saving
"use strict";
// "Your own images": pictures that a visitor drops or picks become the data; the same network learns them. And what can be
// taken home: pictures, weights, and the page itself. Nothing leaves the machine: the page's policy forbids it.

const MANIFOLD_STEPS = 20; // of the manifold's picture along each axis, as in seevae/results/pictures.py

function ownPanel(state) {
  let stop = null; // stops the reading that runs
  let turn = 0; // the number of the last reading: what older ones find is not taken
  const say = (sentence) => {
    byId("own-said").textContent = sentence;
    announce(sentence);
  };
  const reading = (share) => {
    byId("own-progress").hidden = share === null;
    byId("own-stop").hidden = share === null;
    byId("own-progress").value = share ?? 0;
    if (share === null) stop = null;
  };
  const end = (sentences) => {
    reading(null);
    byId("own-account").replaceChildren(...sentences.slice(1).map((sentence) => element("li", {}, sentence)));
    say(sentences[0] ?? "");
  };
  const giveUp = () => {
    turn++;
    stop?.();
  };
  const take = async (source) => {
    const found = listFiles(source); // now: the browser forgets what was dropped
    giveUp();
    const own = turn;
    state.tab = "own";
    reading(0);
    say("Reading …");
    try {
      const files = await found;
      if (own !== turn) return;
      stop = readOwnImages(files, (share, sentence) => {
        reading(share);
        byId("own-said").textContent = sentence;
      }, (read) => {
        end(read.account);
        if (read.kind === "digit") state.paper.lay({ image: read.x });
        else showOwn(state, read);
      }, (sentence) => end([sentence]));
    } catch (error) {
      if (own === turn) end([error.message]);
    }
  };
  for (const id of ["own-files", "own-folder"]) {
    byId(id).addEventListener("change", ({ target }) => {
      if (target.files.length) take(target.files);
      target.value = "";
    });
    byId(`${id}-button`).addEventListener("click", () => byId(id).click());
  }
  byId("own-stop").addEventListener("click", () => {
    giveUp();
    end(["Stopped: nothing was taken."]);
  });
  const hovering = (yes) => document.body.classList.toggle("drop", yes);
  addEventListener("dragover", (event) => {
    event.preventDefault();
    hovering(true);
  });
  addEventListener("dragleave", () => hovering(false));
  addEventListener("drop", (event) => {
    event.preventDefault();
    hovering(false);
    take(event.dataTransfer);
  });

  const saves = {
    "save-page": async () => download(pageWith(await contentsOf(state)), "my-vae.html", "text/html"),
    "save-weights": () => download(weightsNpy(state.model.layers), "vae.npy"),
    "save-pictures": async () => {
      for (const [name, draw] of Object.entries({ "latent_scatter.png": scatterPicture, "manifold.png": manifoldPicture })) {
        download(await new Promise((done) => draw(state).toBlob(done)), name);
      }
    },
  };
  for (const [id, save] of Object.entries(saves)) {
    byId(id).addEventListener("click", async () => {
      try {
        await save();
        say("Saved: see your browser’s downloads.");
      } catch (error) {
        say(`This could not be saved: ${error.message}`);
      }
    });
  }
  state.panel({ place: "tab-own", needs: ["training"], draw: () => (byId("save-page").disabled = state.training.running) });
}

/** Make images that were read the data of the page, and let the network learn them from new weights. */
function showOwn(state, { name, images, heldOut, labels: all, names }) {
  const { hiddenDim, latentDim, epsilons } = state.model;
  const layers = newLayers(hiddenDim, latentDim, true);
  const { colours } = state.home;
  if (thing === "digit" && String(names) !== String(state.home.names)) {
    thing = "image";
    rewordPage();
  }
  // Mixed: the first ones, by which the training is judged, may all be of one class.
  const { images: shown, labels } = partOf({ images: heldOut, labels: all }, mixed(all.length).subarray(0, MOST_SHOWN));
  const picks = picksOf(shown, labels);
  const classes = names.length ? names : ["image"];
  state.data = { name, picks, names: classes, colours: classes.map((_, i) => colours[i % colours.length]) };
  showModel(state, new Model(layers, epsilons), state.codes && { z: new Float32Array(0), labels: new Uint8Array(0) });
  state.paper.lay(picks[0]);
  state.training.begin(layers, { at: "here", from: `new weights, on ${name}` }, true, { images: Promise.resolve({ images, heldOut: shown, labels }) });
}

/** What the page is to be filled with, so that it shows the model as it is now. */
async function contentsOf(state) {
  const { model, codes, data, whose, home, training } = state;
  if (whose.at === "page") return contentsWith(/** @type {any} */ ({}));
  const steps = training.last ? `${counted(training.last.steps, "step")} in the page, ` : "";
  const learned = /** @type {any} */ ({ layers: model.layers, codes, origin: `${steps}from ${whose.from}` });
  if (data === home) return contentsWith(learned);
  const { picks, names, colours, name } = data;
  return contentsWith({ ...learned, picks, names, colours, thing, dataset: name, training: await training.images });
}

function download(content, name, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** A canvas, and a view on it that shows z from -reach to reach. */
function pictureOf(reach, size) {
  const canvas = element("canvas", { width: size, height: size });
  const view = Object.assign(Object.create(View.prototype), { canvases: [canvas], centre: [0, 0], span: 2 * reach, width: size, height: size });
  const context = view.clear(0);
  context.fillStyle = themeColour("card");
  context.fillRect(0, 0, size, size);
  return { canvas, context, view };
}

/** The plane as a picture: the codes of the held-out images. */
function scatterPicture({ codes, data }) {
  const { canvas, context, view } = pictureOf(reachOf(codes), 1000);
  drawPrior(context, view);
  drawDots(context, view, codes, data.colours, 4);
  if (data.names.length > 1) drawNames(context, view, codes, data.names);
  view.drawAxes(context);
  return canvas;
}

/** The manifold as a picture: what is decoded at quantiles of the prior, z1 to the right and z2 upwards. */
function manifoldPicture({ model }) {
  const { canvas, context } = pictureOf(1, 28 * 2 * MANIFOLD_STEPS);
  const codes = normalQuantiles(Array.from({ length: MANIFOLD_STEPS }, (_, i) => 0.05 + (0.9 * i) / (MANIFOLD_STEPS - 1)));
  const tile = digitCanvas();
  context.imageSmoothingEnabled = false;
  codes.forEach((z1, column) => codes.forEach((z2, row) => {
    drawDigit(tile, model.decode([z1, z2]));
    context.drawImage(tile, 56 * column, 56 * (MANIFOLD_STEPS - 1 - row), 56, 56);
  }));
  return canvas;
}

/** The z below which draws of N(0, 1) fall with each of these probabilities, in their order: by adding up the density. */
function normalQuantiles(/** @type {number[]} */ probabilities) {
  const step = 1e-4;
  let [z, below] = [-8, 0];
  return probabilities.map((probability) => {
    for (; below < probability; z += step) below += (step * Math.exp(-0.5 * (z + step / 2) ** 2)) / Math.sqrt(2 * Math.PI);
    return z;
  });
}
