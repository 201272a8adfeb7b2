// needs: posterior, drawing
"use strict";
// The true posterior of a digit as a picture on the plane: a cloud, and two contours of it.

const CLOUD_POINTS = 64000; // of which a cloud is drawn, at most
const FINEST = 8; // times as fine as the grid

/**
 * A box of values (see Posterior.logJoint) with `factor` times as many points along each side, by Catmull and Rom's
 * cubic between each four: log p(x, z) is nearly a parabola, which a cubic follows, and straight lines would not.
 * Values more than DEPTH nats below the top, minus infinity among them, are taken for that, so that none of them
 * spreads.
 */
function refine(box, factor) {
  const { rows, columns, stride } = box;
  const floor = maximum(box.values) - DEPTH;
  const values = Float32Array.from(box.values, (value) => Math.max(value, floor));
  const wide = (columns - 1) * factor + 1;
  const across = new Float32Array(rows * wide);
  for (let r = 0; r < rows; r++) refineLine(values, r * columns, 1, columns, across, r * wide, 1, factor);
  const tall = (rows - 1) * factor + 1;
  const fine = new Float32Array(tall * wide);
  for (let c = 0; c < wide; c++) refineLine(across, c, wide, rows, fine, c, wide, factor);
  return { ...box, rows: tall, columns: wide, stride: stride / factor, values: fine };
}

/** The same along one line: `count` values of `from`, `step` apart, become points of `to`, `leap` apart. */
function refineLine(from, start, step, count, to, first, leap, factor) {
  const at = (k) => from[start + step * Math.min(count - 1, Math.max(0, k))];
  for (let k = 0; k < count - 1; k++) {
    const [a, b, c, d] = [at(k - 1), at(k), at(k + 1), at(k + 2)];
    for (let i = 0; i < factor; i++) {
      const t = i / factor;
      const bend = t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
      to[first + leap * (k * factor + i)] = b + bend / 2;
    }
  }
  to[first + leap * (count - 1) * factor] = at(count - 1);
}

class Cloud {
  constructor() {
    this.canvas = element("canvas");
    this.box = null;
    this.lines = [];
  }

  /** Take the posterior of a digit, as Posterior.of gives it; nothing is drawn without one. */
  prepare(truth) {
    this.box = null;
    if (!truth) return;
    const { levels, top } = truth;
    const fits = (factor) => truth.box.rows * truth.box.columns * factor ** 2 <= CLOUD_POINTS;
    let factor = 1;
    while (factor < FINEST && fits(factor + 1)) factor++;
    const box = refine(truth.box, factor);
    // The root of the density, to show the tails.
    drawVeil(this.canvas, box, (place) => 0.8 * Math.exp(Math.min(0, box.values[place] - top) / 2));
    this.lines = levels.map((level) => contour(box, level));
    this.box = box;
  }

  /** Draw it in a view; grid: that of the posterior. */
  draw(context, view, { halfWidth, spacing }) {
    if (!this.box) return;
    const { row, column, rows, columns, stride } = this.box;
    const step = stride * spacing;
    const x = (k) => view.screenX(column * spacing - halfWidth + k * step);
    const y = (k) => view.screenY(row * spacing - halfWidth + k * step);
    context.drawImage(this.canvas, x(-0.5), y(rows - 0.5), columns * step * view.scale, rows * step * view.scale);
    context.strokeStyle = themeColour("posterior");
    context.lineWidth = 1.3;
    context.beginPath();
    for (const line of this.lines) {
      for (const [c1, r1, c2, r2] of line) {
        context.moveTo(x(c1), y(r1));
        context.lineTo(x(c2), y(r2));
      }
    }
    context.stroke();
  }
}
