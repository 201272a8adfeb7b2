// needs: training, aggregate
"use strict";
// "Faults": what each part of the loss is for, shown by what happens without it; and learners' usual mistakes.

// What `seevae.examine` finds in such networks: its names, and words of its sentences (seevae/diagnosis/sentences.toml).
const FINDINGS = {
  "off-prior": "The codes leave the prior",
  collapse: "Posterior collapse: no latent is used",
  "kl-weight-high": "times what it should beside the reconstruction loss",
  "kl-weight-low": "it was left out, stands there with a small weight",
  "no-noise": "the noise was not there in the training, or far smaller",
  "repeated-noise": "The noise of the training repeats",
  "sigma-exp": "Sigma was exp(z_log_var) in the training",
};

// name: [switches, what one sees, what is found]
const PRESETS = {
  VAE: [{}, "The VAE. The KL draws the dots into the circles of the prior: draws from it are digits.", ""],
  Autoencoder: [
    { beta: 0, sampleNoise: false },
    "A plain autoencoder: no noise on z, no KL, and nothing ties the codes to the prior. From Keras’s default weights the dots run far apart within 100 steps; “new weights” begin near the prior, and the dots stay nearer to it.",
    "no-noise",
  ],
  "KL too strong": [
    { beta: 4 },
    "The KL weighs four times as much. Watch its curve fall and the reconstruction rise: a code tells less of its digit.",
    "kl-weight-high",
  ],
  Collapse: [
    { beta: 100 },
    "The KL weighs 100 times as much: no code is worth its cost. All dots fall on the middle, q is the prior for every digit, and each draw is the same blurred mean digit.",
    "collapse",
  ],
};
const MISTAKES = {
  "no KL": [
    { beta: 0 },
    "The KL is forgotten. The clouds shrink to points, σ falls below 0.01 within 400 steps, as width has no use any more; and nothing holds the dots near the middle: draws from the prior fall between them.",
    "kl-weight-low",
  ],
  "mean over pixels": [
    { meanOverPixels: true },
    "The reconstruction loss is a mean over the 784 pixels, not their sum: as if beta were 784. The dots fall on the middle, and all draws look alike.",
    "collapse",
  ],
  "no noise": [
    { sampleNoise: false },
    "z is z_mean: the noise is forgotten. The KL still makes q as wide as the prior, as width costs nothing now; but the decoder never saw a draw of it, and its draws are not your digit.",
    "no-noise",
  ],
  "one noise for all": [
    { oneNoise: true },
    "One epsilon for all images of a batch, another for the next. Each step follows a single draw. The loss hardly shows it, in a few hundred steps: a mistake that hides.",
    "repeated-noise",
  ],
  "sigma for variance": [
    { sigmaForVariance: true },
    "exp(z_log_var) is taken for sigma: it is the variance, sigma is exp(z_log_var / 2). For q narrower than 1, which most are, it learns with less noise than the KL speaks of, and the KL comes out too small.",
    "sigma-exp",
  ],
};
const ALL_SETTINGS = Object.entries({ ...PRESETS, ...MISTAKES }).map(([name, setting]) => {
  const [own, seen, found] = /** @type {any[]} */ (setting);
  return { name, switches: { ...VAE, ...own }, seen, found: found ? `“${found}”: “… ${FINDINGS[found]} …”` : "nothing wrong" };
});

function faultsPanel(state) {
  const { training } = state;
  const buttons = new Map();
  for (const [place, settings] of [["presets", PRESETS], ["mistakes", MISTAKES]]) {
    for (const name of Object.keys(settings)) {
      const button = element("button", { id: `preset-${name.toLowerCase().replaceAll(" ", "-")}` }, name);
      button.addEventListener("click", () => beginSetting(state, name));
      buttons.set(name, button);
      byId(place).append(button);
    }
  }
  training.images.then(({ images }) => (byId("train-count").textContent = (images.length / PIXELS).toLocaleString("en")), () => {});
  byId("train-clouds").addEventListener("change", async () => {
    const clouds = byId("train-clouds");
    const report = clouds.checked && (training.last ?? (await training.command({})));
    state.clouds = report && clouds.checked ? { mean: report.mean, logVar: report.logVar } : null;
  });
  const seen = () => state.tab === "faults";
  state.panel({
    place: "tab-faults",
    needs: ["switches", "whose", "training", "tab"],
    draw() {
      const chosen = ALL_SETTINGS.find(({ switches }) => Object.keys(VAE).every((key) => switches[key] === state.switches[key]));
      for (const [name, button] of buttons) button.ariaPressed = String(name === chosen?.name);
      const untold = state.whose.at === "page" && chosen?.name !== "VAE" ? "Set for the next training; the page shows weights that were not trained so. " : "";
      byId("train-what").textContent = worded(untold + (chosen?.seen ?? "A setting of your own."));
      byId("train-examine").textContent = chosen ? `In such a network seevae.examine finds ${chosen.found}.` : "";
    },
  });
  state.panel({
    place: "tab-faults",
    needs: ["clouds", "tab"],
    draw() {
      byId("train-clouds").checked = Boolean(state.clouds);
      byId("train-clouds-numbers").textContent = state.clouds && seen()
        ? worded(`The mean of ${state.clouds.mean.length / 2} clouds is ${formatted(new Aggregate(state.clouds, 6).klToPrior)} nats (KL divergence) from the prior: the nearer to 0, the more a draw from N(0, I) is like the code of a digit.`)
        : "";
    },
  });
  const charts = { "sum of both": sumOf, reconstruction: ({ reconstruction }) => reconstruction, KL: ({ kl }) => kl };
  const curves = () => seen() && drawCurves(byId("train-curves"), training.curves, charts);
  state.panel({ place: "tab-faults", needs: ["training", "theme", "size", "tab"], draw: curves });
}

/** Train with a preset or a mistake, from the weights that are chosen beside them. */
function beginSetting(state, name, from = byId("fault-from").value) {
  state.switches = { ...ALL_SETTINGS.find((one) => one.name === name).switches };
  return from === "now" ? state.training.run(true) : state.training.learnAnew(from === "new");
}
