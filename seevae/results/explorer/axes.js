// needs: packing, view, state
"use strict";
// "Straight axes": what the two principal components of the images can do, beside the plane. They know no curves.

const AXES_IMAGES = 1000; // of which the axes are found, at most
const SURE = 0.01; // a straight picture goes below 0 and above 1: its probabilities are kept so far from both

/** The mean image of bytes, and the two directions in which the images differ most: { mean, axes: [image, image] }. */
async function principalAxes(bytes, breath = breathing(8, tick)) {
  const count = Math.min(AXES_IMAGES, bytes.length / PIXELS);
  const stride = Math.floor(bytes.length / PIXELS / count);
  const rows = Array.from({ length: count }, (_, k) => grey(bytes.subarray(k * stride * PIXELS, (k * stride + 1) * PIXELS)));
  const mean = new Float32Array(PIXELS);
  for (const row of rows) row.forEach((value, i) => (mean[i] += value / count));
  for (const row of rows) for (let i = 0; i < PIXELS; i++) row[i] -= mean[i];
  const axes = [];
  for (let k = 0; k < 2; k++) {
    let axis = Float64Array.from({ length: PIXELS }, (_, i) => Math.sin(i * (k + 1)));
    for (let turn = 0; turn < 60; turn++) { // power iteration
      await breath();
      const next = spreadAlong(rows, axis);
      for (const other of axes) {
        const share = dot(next, other);
        for (let i = 0; i < PIXELS; i++) next[i] -= share * other[i];
      }
      const length = Math.sqrt(dot(next, next)) || 1;
      axis = next.map((value) => value / length);
    }
    axes.push(axis);
  }
  return { mean, axes };
}

/** The covariance of the rows times an axis; a function of its own, as a browser makes no long one fast that awaits. */
function spreadAlong(rows, axis) {
  const next = new Float64Array(PIXELS);
  for (const row of rows) {
    const share = dot(row, axis);
    for (let i = 0; i < PIXELS; i++) next[i] += share * row[i];
  }
  return next;
}

/** How far an image goes along each of the axes. */
const along = ({ mean, axes }, x) => axes.map((axis) => dot(x, axis) - dot(mean, axis));

/** The picture at a place on the axes, 0 to 1. */
const straight = ({ mean, axes }, [a, b]) => Float32Array.from(mean, (value, i) => Math.max(0, Math.min(1, value + a * axes[0][i] + b * axes[1][i])));

/** The reconstruction loss of x as a picture of probabilities, in nats. */
function crossEntropy(x, picture) {
  let sum = 0;
  for (let i = 0; i < PIXELS; i++) {
    const p = Math.max(SURE, Math.min(1 - SURE, picture[i]));
    sum -= x[i] * Math.log(p) + (1 - x[i]) * Math.log(1 - p);
  }
  return sum;
}

function axesPanel(state) {
  let found = null; // { axes, codes, ... } of the data, once the tab is opened
  let sought = null; // the images whose axes these are, or will be
  const find = async () => {
    const { images, heldOut, labels } = await state.training.images;
    if (sought === images) return;
    [sought, found] = [images, null];
    const axes = await principalAxes(images);
    if (sought !== images) return;
    const z = new Float32Array(2 * labels.length);
    labels.forEach((_, k) => z.set(along(axes, grey(heldOut.subarray(k * PIXELS, (k + 1) * PIXELS))), 2 * k));
    const spread = Math.sqrt(dot(z, z) / z.length) || 1; // so that they fill the circles of the prior
    const held = Array.from({ length: Math.min(200, labels.length) }, (_, k) => grey(heldOut.subarray(k * PIXELS, (k + 1) * PIXELS)));
    found = { ...axes, spread, held, codes: { z: z.map((value) => value / spread), labels } };
    state.changed("tab");
  };
  const view = new View([byId("axes-plane")], 3.6, () => state.changed("tab"));
  const meanLoss = (draw) => found.held.reduce((sum, x) => sum + crossEntropy(x, draw(x)), 0) / found.held.length;
  /** The mean losses of some held-out digits, by axes and by the model, as it is; not while it learns. */
  const compared = (model) => {
    if (state.training.running) return "";
    if (found.model !== model) {
      const losses = [(x) => straight(found, along(found, x)), (x) => model.decode(model.encode(x).mean)].map(meanLoss);
      Object.assign(found, { model, losses });
    }
    return ` Over ${found.held.length} held-out digits: straight axes ${formatted(found.losses[0], 1)}, the decoder ${formatted(found.losses[1], 1)} nats.`;
  };
  state.panel({
    place: "tab-axes",
    needs: ["tab", "image", "model", "theme", "data", "training"],
    draw() {
      if (state.tab !== "axes") return;
      find().catch((error) => cannot("tab-axes", error.message));
      if (!found) return void (byId("axes-numbers").textContent = "The two axes are being found …");
      const { model, data, image: { x } } = state;
      const place = along(found, x);
      const picture = straight(found, place);
      const decoded = model.decode(state.encoderQ.mean);
      const context = view.clear(0);
      drawDots(context, view, found.codes, data.colours, 2);
      if (data.names.length > 1) drawNames(context, view, found.codes, data.names);
      drawDisc(context, view, place.map((value) => value / found.spread), 6);
      drawDigit(byId("axes-input"), x);
      drawDigit(byId("axes-straight"), picture);
      drawDigit(byId("axes-decoded"), decoded);
      const square = (other) => x.reduce((sum, value, i) => sum + (value - other[i]) ** 2, 0);
      byId("axes-numbers").textContent = worded(
        `This digit: straight axes ${formatted(crossEntropy(x, picture), 1)} nats of reconstruction, the decoder ${formatted(crossEntropy(x, decoded), 1)} (probabilities kept ${SURE} from 0 and 1); ` +
          `the squared differences add up to ${formatted(square(picture), 1)} and ${formatted(square(decoded), 1)}.${compared(model)}`,
      );
    },
  });
}
