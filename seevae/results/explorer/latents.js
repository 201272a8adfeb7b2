// needs: drawing
"use strict";
// Panel "The latents", for a model that has no plane: one slider for each latent, and the digit they decode to.

function latentsPanel(app) {
  const { latentDim } = app.model;
  let z = new Array(latentDim).fill(0);
  byId("latents-why").textContent =
    `This model has ${latentDim} ${latentDim === 1 ? "latent" : "latents"}, one slider for each. The plane, the true` +
    " posterior and “be the encoder” need exactly two latents: train with --latent-dim 2 to see them.";
  const sliders = z.map((_, i) =>
    slider(`z${i + 1}`, { min: -4, max: 4, step: 0.01 }, (value) => {
      z = z.with(i, value);
      app.changed("latents");
    }),
  );
  byId("latents").append(...sliders.map(({ label }) => label));
  const back = () => {
    z = app.digit.q.mean;
    app.changed("latents");
  };
  byId("latents-back").addEventListener("click", back);
  return {
    draw(topics) {
      if (topics.has("digit") && !topics.has("model")) z = app.digit.q.mean;
      if (!["digit", "latents", "theme"].some((topic) => topics.has(topic))) return;
      sliders.forEach(({ show }, i) => show(z[i]));
      drawDigit(byId("latents-digit"), app.model.decode(z));
    },
  };
}
