// needs: sample
"use strict";
// Panel "New digits from the prior": codes from N(0, I), decoded; where there is a plane, they are marked in it.

const TRAY = 12;

function priorPanel(app) {
  const canvases = Array.from({ length: TRAY }, digitCanvas);
  canvases.forEach((canvas, i) => {
    canvas.role = "img";
    canvas.ariaLabel = `New digit ${i + 1}`;
    byId("prior-tray").append(element("figure", {}, canvas, element("figcaption", {}, String(i + 1))));
  });
  const fresh = () => {
    app.prior = canvases.map(() => normalCode(app.model.latentDim));
    app.changed("prior");
  };
  byId("prior-fresh").addEventListener("click", fresh);
  fresh();
  return {
    draw(topics) {
      if (!topics.has("prior") && !topics.has("theme")) return;
      canvases.forEach((canvas, i) => drawDigit(canvas, app.model.decode(app.prior[i])));
    },
  };
}
