// needs: drawing, state
"use strict";
// For a model that has no plane: in its place one slider for each latent, and z is where they stand.

function latentsPanel(state) {
  const { latentDim } = state.model;
  byId("latents-why").textContent =
    `This model has ${latentDim} ${latentDim === 1 ? "latent" : "latents"}, one slider for each. The plane, the true` +
    " posterior and “be the encoder” need exactly two latents: train with --latent-dim 2 to see them.";
  const sliders = Array.from({ length: latentDim }, (_, i) =>
    slider(`z${i + 1}`, { min: -4, max: 4, step: 0.01 }, (value) => {
      state.wander = false;
      state.hand = [...state.z].with(i, value);
    }),
  );
  byId("latents").append(...sliders.map(({ label }) => label));
  state.panel({ place: "latents-panel", needs: ["z"], draw: () => sliders.forEach(({ show }, i) => show(state.z[i])) });
}
