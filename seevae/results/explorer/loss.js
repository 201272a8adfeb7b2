// needs: drawing, state
"use strict";
// The dock: the loss of this digit, always in sight. Reconstruction and KL above, the evidence log p(x) and the gap below.

const WHOLE_BAR = 250; // nats

/** The loss of x under q: summed over the posterior's grid where q lies on it, else by the fixed draws. */
function lossOf({ model, posterior, halfWidth }, x, q) {
  const inside = q.mean.every((mean, i) => Math.abs(mean) + 5 * Math.exp(q.logVar[i] / 2) < halfWidth);
  return (posterior && inside ? posterior : model).loss(x, q);
}

function lossPanel(state) {
  let whole = WHOLE_BAR;
  byId("loss-how").textContent =
    state.model.latentDim === 2
      ? "The expectation over q is summed over a grid of codes, as is log p(x): no noise. In the first seconds, and for a q narrower than that grid, it is a mean over 32 fixed draws."
      : "The expectation over q is a mean over 32 fixed draws of epsilon: the same q gives the same number. log p(x) is an integral over all codes: it can be summed exactly for two latents only.";
  state.panel({
    place: "loss-panel",
    needs: ["loss", "truth", "z", "slow", "training"],
    draw(topics) {
      const { loss, truth, slow, model, image, z } = state;
      const evidence = truth ? -truth.logEvidence : null;
      const one = -model.logLikelihood(image.x, z);
      // All bars begin at 0 and share one scale, the same for most digits, so that digits can be compared as well.
      if (!slow) whole = Math.max(WHOLE_BAR, -loss.elbo || 0);
      const show = (name, value) => (byId(`loss-${name}`).textContent = value === null ? "…" : formatted(value, 1));
      const width = (name, value) => (byId(`bar-${name}`).style.width = `${Math.max(0, Math.min(100, (100 * value) / whole)) || 0}%`);
      byId("loss-whose").textContent = state.mine ? "loss of your q" : "loss";
      show("total", -loss.elbo);
      show("reconstruction", loss.reconstruction);
      show("kl", loss.kl);
      show("evidence", evidence);
      show("gap", evidence === null ? null : -loss.elbo - evidence);
      width("reconstruction", loss.reconstruction);
      width("kl", loss.kl);
      width("evidence", evidence ?? 0);
      width("gap", evidence === null ? 0 : -loss.elbo - evidence);
      byId("bar-one").style.left = `${Math.min(100, (100 * one) / whole) || 0}%`;
      byId("loss-one").textContent = `, with this z alone ${formatted(one, 1)}`;
      byId("loss-scale").textContent = `0 to ${formatted(whole, 0)}`;
      byId("loss-note").textContent = noteOn(state);
      if (topics.has("loss") || topics.has("truth")) speak("loss", () => `Loss ${formatted(-loss.elbo, 1)} nats: reconstruction ${formatted(loss.reconstruction, 1)}, KL ${formatted(loss.kl, 1)}.` +
        (truth ? ` log p(x) ${formatted(truth.logEvidence, 1)}.` : ""));
    },
  });
}

/** How far log p(x) can be trusted, in words. */
function noteOn({ posterior, image, refined, truth, training, lacking }) {
  if (image.x.every((ink) => ink === 0)) return worded("No ink: to the network, that is a digit too.");
  if (lacking) return lacking;
  if (training?.running) return "computed when the training rests";
  if (!posterior) return "is being computed for these weights";
  if (!refined) return "so far accurate to about 0.2 nats";
  return truth.coarseness > 0.1 ? "accurate to some tenths of a nat: a narrow posterior" : "";
}

const toSpeak = new Map();
let speaking = 0;

/** Tell a screen reader, when what changes has come to rest, the latest of each topic; words() gives it. */
function speak(topic, words) {
  toSpeak.set(topic, words);
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    announce([...toSpeak.values()].map((latest) => latest()).join(" "));
    toSpeak.clear();
  }, 900);
}

/** Tell a screen reader at once what an action came to. */
function announce(sentence) {
  byId("spoken").textContent = sentence;
}
