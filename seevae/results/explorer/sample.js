// needs: learning, drawing, state
"use strict";
// From q to a picture: the re-parameterisation trick with its numbers, what z decodes to, and the last draws.

const KEPT_DRAWS = 12;
const WANDER_PAUSE = 1100; // milliseconds between two draws, as long as nobody has touched anything

const normalCode = (latentDim) => Array.from({ length: latentDim }, normal);

/** A code of q by the draw epsilon, as the switches of the training say: without noise, or with the wrong sigma. */
function drawCode(q, epsilon, { sampleNoise, sigmaForVariance }) {
  if (!sampleNoise) return [...q.mean];
  return sampleLatent(sigmaForVariance ? { mean: q.mean, logVar: q.logVar.map((v) => 2 * v) } : q, epsilon);
}

/** Draw z anew from q; the older draws are kept. */
function drawAgain(state) {
  state.epsilons = [normalCode(state.model.latentDim), ...state.epsilons.slice(0, -1)];
  state.hand = null;
}

function samplePanel(state) {
  onClicks({
    "draw-again": () => drawAgain(state),
    "at-mean": () => (state.hand = [...state.q.mean]),
  });
  for (const id of ["draw-again", "at-mean"]) byId(id).addEventListener("click", () => (state.wander = false));
  const { latentDim } = state.model;
  // A row for each part of the formula, a column for each latent.
  const rows = ["z_mean", "+ σ", "× ε, dice", "= z"].map((name) => {
    const cells = Array.from({ length: latentDim }, () => element("td"));
    return { cells, row: element("tr", {}, element("th", { scope: "row" }, name), ...cells) };
  });
  const heads = rows[0].cells.map((_, i) => element("th", { scope: "col" }, `z${i + 1}`));
  byId("sample-numbers").append(element("thead", {}, element("tr", {}, element("td"), ...heads)), element("tbody", {}, ...rows.map(({ row }) => row)));
  state.panel({
    place: "sample-panel",
    needs: ["q", "z"],
    draw() {
      const { q, z, hand } = state;
      const sigma = q.logVar.map((value) => Math.exp(value / 2));
      [q.mean, sigma, z.map((value, i) => (value - q.mean[i]) / sigma[i]), z].forEach((values, k) => {
        values.forEach((value, i) => (rows[k].cells[i].textContent = hand && k === 2 ? "–" : formatted(value, k % 3 ? 3 : 2)));
      });
      rows[2].row.firstChild.textContent = hand ? "z by hand" : "× ε, dice";
      rows[1].row.title = `z_log_var ${formattedCode(q.logVar)}: sigma = exp(z_log_var / 2)`;
    },
  });
  const toggle = byId("wander");
  toggle.addEventListener("change", () => (state.wander = toggle.checked));
  state.panel({ place: "plane-panel", needs: ["wander"], draw: () => (toggle.checked = state.wander) });
  setInterval(() => state.wander && !document.hidden && drawAgain(state), WANDER_PAUSE);
}

const WAYS = { // in which a decoded digit can be shown
  probability: "How probable ink is, at each pixel. All alike? Then the decoder has learned to bear the noise.",
  tossed: "Each pixel black or white, by a toss of its own.",
  difference: "What of your digit is lost (blue), and what is added (orange).",
};

/** Draw a decoded digit in the way that the reader chose. */
function drawShown(state, canvas, decoded) {
  if (state.shown === "difference") drawDigit(canvas, state.image.x.map((ink, i) => ink - decoded[i]), "lost", "added");
  else drawDigit(canvas, state.shown === "tossed" ? decoded.map((p) => (Math.random() < p ? 1 : 0)) : decoded);
}

function drawsPanel(state) {
  const shelf = Array.from({ length: KEPT_DRAWS }, digitCanvas);
  byId("sample-shelf").append(...shelf);
  for (const way of Object.keys(WAYS)) byId(`as-${way}`).addEventListener("click", () => (state.shown = way));
  const drawShelf = () => attempt("draws-panel", () => {
    state.draws.forEach((z, i) => drawShown(state, shelf[i], state.model.decode(z)));
  });
  let resting = 0; // the timer that waits for the strokes to pause
  state.panel({
    place: "draws-panel",
    needs: ["draws", "shown", "theme", "model"],
    draw(topics) {
      for (const way of Object.keys(WAYS)) byId(`as-${way}`).ariaPressed = String(state.shown === way);
      byId("draws-note").textContent = worded(WAYS[state.shown]);
      clearTimeout(resting);
      if (topics.has("epsilons") || topics.has("shown") || topics.has("theme")) drawShelf();
      else resting = setTimeout(drawShelf, 100); // twelve digits to decode: not with each stroke
    },
  });
  state.panel({ place: "out-panel", needs: ["decoded", "shown", "theme", "image"], draw: () => drawShown(state, byId("out"), state.decoded) });
}
