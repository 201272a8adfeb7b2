// needs: model, posterior, drawing
"use strict";
// All q together, the "aggregate posterior": the mean of the clouds of many digits, beside the prior.

/** The mean of many q, the "aggregate posterior", on a grid over [-halfWidth, halfWidth]^2. */
class Aggregate {
  constructor({ mean, logVar }, halfWidth, size = 120) {
    this.halfWidth = halfWidth;
    this.size = size;
    this.density = new Float32Array(size * size);
    const step = (2 * halfWidth) / size;
    const code = (index) => (index + 0.5) * step - halfWidth;
    const count = mean.length / 2;
    /** The share of a Gaussian in each cell along one axis: { first (cell), shares }; narrow ones are as wide as a cell. */
    const along = (m, v) => {
      const sigma = Math.max(Math.exp(v / 2), 0.6 * step);
      const [low, high] = [m - 4 * sigma, m + 4 * sigma].map((z) => Math.floor((z + halfWidth) / step));
      const first = Math.max(0, low);
      const cells = Math.max(0, Math.min(size - 1, high) - first + 1);
      const norm = sigma * Math.sqrt(2 * Math.PI);
      const shares = Float32Array.from({ length: cells }, (_, k) => Math.exp(-0.5 * ((code(first + k) - m) / sigma) ** 2) / norm);
      return { first, shares };
    };
    for (let i = 0; i < count; i++) {
      const { first: column, shares: across } = along(mean[2 * i], logVar[2 * i]);
      const { first: row, shares: up } = along(mean[2 * i + 1], logVar[2 * i + 1]);
      for (let r = 0; r < up.length; r++) {
        const start = (row + r) * size + column;
        for (let c = 0; c < across.length; c++) this.density[start + c] += (up[r] * across[c]) / count;
      }
    }
    let kl = 0;
    for (let r = 0; r < size; r++) {
      for (let c = 0; c < size; c++) {
        const density = this.density[r * size + c];
        const logPrior = -LOG_2_PI - 0.5 * (code(r) ** 2 + code(c) ** 2);
        if (density > 0) kl += density * (Math.log(density) - logPrior) * step * step;
      }
    }
    this.klToPrior = kl;
  }

  /** Draw it as a cloud whose darkest place is as dark as the prior's middle would be. */
  draw(context, view) {
    const { size, halfWidth, density } = this;
    const canvas = element("canvas");
    const share = (place) => density[place] * 2 * Math.PI; // of the prior's top, 1 / (2 pi)
    drawVeil(canvas, { rows: size, columns: size }, (place) => 0.86 * Math.min(1, share(place)));
    const [x, y] = view.toScreen([-halfWidth, halfWidth]);
    context.drawImage(canvas, x, y, 2 * halfWidth * view.scale, 2 * halfWidth * view.scale);
  }
}
