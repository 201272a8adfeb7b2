// needs: drawing
"use strict";
// Panel "The loss of this digit": reconstruction, KL and ELBO, beside the evidence log p(x) where there is one.

const WHOLE_BAR = 250; // nats

function lossPanel(app) {
  let speaking = 0;
  byId("loss-how").textContent =
    app.model.latentDim === 2
      ? "The expectation over q is summed over a grid of codes, as is log p(x): no noise. In the first seconds, and for a q narrower than that grid, it is a mean over 32 fixed draws."
      : "The expectation over q is a mean over 32 fixed draws of epsilon: the same q gives the same number.";

  const speak = (text) => {
    clearTimeout(speaking); // only when the numbers have come to rest
    speaking = setTimeout(() => (byId("loss-spoken").textContent = text), 900);
  };

  return {
    draw(topics) {
      if (!topics.has("digit")) return;
      const { loss, truth } = app.digit;
      const show = (name, value) => (byId(`loss-${name}`).textContent = formatted(value));
      show("reconstruction", loss.reconstruction);
      show("kl", loss.kl);
      show("elbo", loss.elbo);
      show("evidence", truth?.logEvidence);
      show("gap", truth?.logEvidence - loss.elbo);
      // Both bars begin at 0 and share one scale, the same for most digits, so that digits can be compared as well.
      const whole = Math.max(loss.reconstruction + loss.kl, WHOLE_BAR);
      const width = (name, value) => (byId(`bar-${name}`).style.width = `${Math.max(0, (100 * value) / whole)}%`);
      width("reconstruction", loss.reconstruction);
      width("kl", loss.kl);
      width("evidence", truth ? -truth.logEvidence : 0);
      width("gap", truth ? truth.logEvidence - loss.elbo : 0);
      byId("loss-note").textContent = noteOn(app);
      speak(
        `Reconstruction ${formatted(loss.reconstruction)}, KL divergence ${formatted(loss.kl)}, ELBO ${formatted(loss.elbo)} nats.` +
          (truth ? ` log p(x) ${formatted(truth.logEvidence)} nats.` : ""),
      );
    },
  };
}

/** How far log p(x) can be trusted, in words. */
function noteOn({ model, posterior, digit, refined }) {
  if (digit.x.every((ink) => ink === 0)) return "The paper is empty. To the network, that is an image too.";
  if (model.latentDim !== 2) return "log p(x) is an integral over all codes: it can be summed exactly for two latents only.";
  if (!posterior) return "log p(x) is being prepared in the background.";
  if (!refined) return "log p(x) is right to about 0.2 nats yet; a finer grid is being prepared in the background.";
  if (digit.truth.coarseness > 0.1) return "This posterior is so narrow that log p(x) is only known to some tenths of a nat.";
  return "log p(x) is summed over a grid of codes, to about 0.01 nats.";
}
