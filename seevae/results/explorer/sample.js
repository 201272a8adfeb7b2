// needs: learning, drawing
"use strict";
// Panel "The sample": the re-parameterisation trick with its numbers, and the spread of what it draws.

const KEPT_DRAWS = 8;

const normalCode = (latentDim) => Array.from({ length: latentDim }, normal);

function samplePanel(app) {
  let epsilons = Array.from({ length: KEPT_DRAWS }, () => normalCode(app.model.latentDim)); // the newest first
  const shelf = Array.from({ length: KEPT_DRAWS }, digitCanvas);
  byId("sample-shelf").append(...shelf);
  byId("draw-again").addEventListener("click", () => {
    epsilons = [normalCode(app.model.latentDim), ...epsilons.slice(0, -1)];
    app.changed("sample");
  });

  // A row for each part of the formula, a column for each latent.
  const rows = ["z_mean", "+ exp(z_log_var / 2), that is sigma", "× epsilon, the dice", "= z"].map((name) => {
    const cells = epsilons[0].map(() => element("td"));
    return { cells, row: element("tr", {}, element("th", { scope: "row" }, name), ...cells) };
  });
  const heads = epsilons[0].map((_, i) => element("th", { scope: "col" }, `z${i + 1}`));
  byId("sample-numbers").append(element("tr", {}, element("td"), ...heads), ...rows.map(({ row }) => row));

  const fillTable = (q, z) => {
    const sigma = q.logVar.map((value) => Math.exp(value / 2));
    [q.mean, sigma, epsilons[0], z].forEach((values, k) => {
      values.forEach((value, i) => (rows[k].cells[i].textContent = formatted(value, 3)));
    });
  };

  let resting = 0; // the timer that waits for the strokes to pause
  const drawShelf = () => {
    shelf.forEach((canvas, i) => drawDigit(canvas, app.model.decode(sampleLatent(app.digit.q, epsilons[i]))));
  };

  return {
    draw(topics) {
      if (topics.has("sample") || topics.has("theme")) drawShelf();
      if (topics.has("digit")) {
        clearTimeout(resting); // eight digits to decode: not with each stroke
        resting = setTimeout(drawShelf, 100);
      }
      if (!topics.has("digit") && !topics.has("sample") && !topics.has("theme")) return;
      const { x, q } = app.digit;
      const z = sampleLatent(q, epsilons[0]);
      const drawn = app.model.decode(z);
      const reconstruction = app.model.decode(q.mean);
      drawDigit(byId("sample-input"), x);
      drawDigit(byId("sample-mean"), reconstruction);
      drawDifference(byId("sample-difference"), x, reconstruction);
      drawDigit(byId("sample-drawn"), drawn);
      drawDigit(byId("sample-tossed"), drawn.map((probability) => (Math.random() < probability ? 1 : 0)));
      fillTable(q, z);
    },
  };
}
