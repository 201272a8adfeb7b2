// needs: model, kernel, worker
"use strict";
// The evidence log p(x) and the true posterior p(z|x) of a model with two latents, summed over a grid of codes.
//
//   log p(x|z) = x . logits(z) - A(z)        A(z) = sum over pixels of softplus(logits(z))
//
// A does not depend on the image: a worker computes it once. What is left, x . logits(z), is a weighted sum of the
// decoder's 256 relu units. Along a row of the grid (z2 fixed) each unit is a straight line with one bend, so their
// sum is a chain of straight pieces: two running sums give a whole row, however fine the grid. The few pixels of x
// whose logits are clipped have their part put right one by one.

const LOG_2_PI = Math.log(2 * Math.PI);
const DEPTH = 16; // so many nats below the top of a posterior, nothing counts
const LAYERS_PER_NAT = 512;

/** The grid of codes: z = -halfWidth + spacing * index in both directions, size * size points, z1 fastest. */
function makeGrid(halfWidth, spacing) {
  return { halfWidth, spacing, size: Math.round((2 * halfWidth) / spacing) + 1 };
}

/**
 * The decoder's units along one row of codes after another. Each is a straight line with one bend: on from some column on,
 * or up to it. At column[k] a weighted sum of them gains level[k] times the weight of unit[k], and from there on with each
 * column rise[k] times it. room(count, Type): gives the arrays.
 */
class RowBends {
  constructor(/** @type {number} */ units, room = (count, Type) => new Type(count)) {
    this.column = room(2 * units, Int32Array);
    this.unit = room(2 * units, Int32Array);
    this.level = room(2 * units, Float64Array);
    this.rise = room(2 * units, Float64Array);
    this.count = 0; // so many of them are in use
    this.sums = this.levels = this.rises = new Float64Array(0);
  }

  /** Go to the row at z2 of a grid: its first column at z1 = left, the others a step apart. */
  goTo({ kernel, bias }, z2, { left, step, columns }) {
    this.count = 0;
    if (this.sums.length !== columns) [this.sums, this.levels, this.rises] = [0, 0, 0].map(() => new Float64Array(columns));
    for (let j = 0; j < bias.length; j++) {
      const slope = kernel[j];
      const offset = bias[j] + kernel[bias.length + j] * z2;
      const bend = slope === 0 ? offset * Infinity : Math.ceil((-offset / slope - left) / step);
      const on = slope > 0 ? Math.max(0, bend) : 0;
      const off = slope > 0 ? columns : Math.min(columns, bend);
      if (!(on < off)) continue;
      this.add(on, j, slope * (left + on * step) + offset, slope * step);
      if (off < columns) this.add(off, j, -slope * (left + off * step) - offset, -slope * step);
    }
    return this;
  }

  add(column, unit, level, rise) {
    const k = this.count++;
    this.column[k] = column;
    this.unit[k] = unit;
    this.level[k] = level;
    this.rise[k] = rise;
  }

  /** Put the bends of the row into the order of their columns. */
  sort() {
    const order = Array.from(this.column.subarray(0, this.count).keys()).sort((a, b) => this.column[a] - this.column[b]);
    for (const array of [this.column, this.unit, this.level, this.rise]) array.set(order.map((k) => array[k]));
    return this;
  }

  /** The sum of weights * units at each column. The same array comes back with every call. */
  of(weights) {
    const { column, unit, level, rise, sums, levels, rises } = this;
    levels.fill(0);
    rises.fill(0);
    for (let k = 0; k < this.count; k++) {
      levels[column[k]] += weights[unit[k]] * level[k];
      rises[column[k]] += weights[unit[k]] * rise[k];
    }
    let [sum, gain] = [0, 0];
    for (let c = 0; c < sums.length; c++) {
      sum += gain + levels[c];
      gain += rises[c];
      sums[c] = sum;
    }
    return sums;
  }
}

/** A(z) of a model along one row after another of grids of at most so many columns, by PlainArithmetic or in the kernel. */
class LogPartition {
  /** The room that it takes, in numbers. */
  static room(model, size) {
    return (PIXELS + 16) * (model.hiddenDim + 4) + 12 * model.hiddenDim + size;
  }

  constructor(model, size, arithmetic = /** @type {any} */ (new PlainArithmetic())) {
    const { kernel } = model.layers.decoder_output;
    this.model = model;
    this.arithmetic = arithmetic;
    this.kernel = arithmetic.room(kernel.length);
    this.kernel.set(kernel);
    this.bends = new RowBends(model.hiddenDim, (count, Type) => arithmetic.room(count, Type));
    this.logits = arithmetic.room(PIXELS, Float64Array);
    this.gain = arithmetic.room(PIXELS, Float64Array);
    this.out = arithmetic.room(size);
  }

  /** The row at z2 of a grid: its numbers stand until the next call. */
  row(grid, z2) {
    const { kernel, bends, logits, gain, model } = this;
    bends.goTo(model.layers.decoder_h, z2, { left: -grid.halfWidth, step: grid.spacing, columns: grid.size }).sort();
    logits.set(model.layers.decoder_output.bias);
    gain.fill(0);
    const out = this.out.subarray(0, grid.size);
    this.arithmetic.partition(kernel, bends, logits, gain, out);
    return out;
  }
}

class Posterior {
  /** model: a Model with two latents. logPartition: A(z) on every point of grid. */
  constructor(model, grid, logPartition) {
    this.model = model;
    this.grid = grid;
    this.logPartition = logPartition;
    this.coarse = Math.max(1, Math.round(0.1 / grid.spacing)); // every so many points show where the posterior is
  }

  /** The codes along a side of a box of the grid: so many from point `first` on, `stride` points apart. */
  codes(first, count, stride) {
    const { spacing, halfWidth } = this.grid;
    return Float64Array.from({ length: count }, (_, k) => (first + k * stride) * spacing - halfWidth);
  }

  /** x . logits as a weighted sum of the hidden units plus a constant; kept, as one image is asked about many times. */
  linearPart(x) {
    if (this.kept?.x === x) return this.kept;
    const { kernel, bias } = this.model.layers.decoder_output;
    const ink = [];
    for (let i = 0; i < PIXELS; i++) if (x[i] > 0) ink.push(i);
    const unitWeights = new Float64Array(this.model.hiddenDim);
    for (let j = 0; j < unitWeights.length; j++) {
      for (const i of ink) unitWeights[j] += x[i] * kernel[j * PIXELS + i];
    }
    const biases = ink.reduce((sum, i) => sum + x[i] * bias[i], 0);
    this.kept = { x, ink, unitWeights, biases };
    return this.kept;
  }

  /**
   * log p(x, z) on the points of a box { row, column, rows, columns, stride } of the grid; returns the box with its
   * values, z1 fastest. Without `exact` the few pixels whose logits are clipped count too much.
   */
  logJoint(x, box, exact = true) {
    const { decoder_h: first, decoder_output: last } = this.model.layers;
    const { spacing, size } = this.grid;
    const { ink, unitWeights, biases } = this.linearPart(x);
    const clipped = (exact ? this.clippedIn(box, ink) : []).map((i) => ({
      x: x[i],
      bias: last.bias[i],
      weights: unitWeights.map((_, j) => last.kernel[j * PIXELS + i]),
    }));
    const { row, column, rows, columns, stride } = box;
    const [across, along] = [this.codes(column, columns, stride), this.codes(row, rows, stride)];
    const values = new Float32Array(rows * columns);
    const line = new RowBends(unitWeights.length);
    for (let r = 0, k = 0; r < rows; r++) {
      const z2 = along[r];
      const start = (row + r * stride) * size + column;
      const sums = line.goTo(first, z2, { left: across[0], step: stride * spacing, columns }).of(unitWeights);
      for (let c = 0; c < columns; c++, k++) {
        const z1 = across[c];
        values[k] = sums[c] + biases - LOG_2_PI - this.logPartition[start + c * stride] - 0.5 * (z1 * z1 + z2 * z2);
      }
      for (const pixel of clipped) {
        line.of(pixel.weights).forEach((sum, c) => {
          const logit = sum + pixel.bias;
          values[k - columns + c] += pixel.x * (clip(logit) - logit);
        });
      }
    }
    return { ...box, values };
  }

  /** Which of the pixels are clipped in places of a box, or nearly, by their logits at nine places spread over it. */
  clippedIn({ row, column, rows, columns, stride }, pixels) {
    const three = (codes) => [0, codes.length >> 1, codes.length - 1].map((k) => codes[k]);
    const along = three(this.codes(row, rows, stride));
    const places = three(this.codes(column, columns, stride)).flatMap((z1) => along.map((z2) => [z1, z2]));
    const logits = places.map((z) => dense(this.model.decoderHidden(z), this.model.layers.decoder_output));
    return pixels.filter((i) => logits.some((at) => at[i] < LOWEST_LOGIT + 5 || at[i] > HIGHEST_LOGIT - 5));
  }

  /**
   * The loss of x under q, as Model.loss gives it, but with the expectation over q summed over the grid: exact, for
   * narrow and for wide q. Only a q narrower than the grid is left to the model's fixed draws.
   */
  loss(x, q) {
    const { halfWidth, spacing, size } = this.grid;
    const sigma = q.logVar.map((v) => Math.exp(v / 2));
    if (Math.min(...sigma) < 0.7 * spacing) return this.model.loss(x, q);
    const stride = Math.max(1, Math.floor(Math.min(...sigma) / (2 * spacing)));
    const range = (mean, s) => {
      const first = Math.max(0, Math.floor((mean - 5 * s + halfWidth) / spacing));
      const last = Math.min(size - 1, Math.ceil((mean + 5 * s + halfWidth) / spacing));
      return [first, Math.max(0, Math.floor((last - first) / stride)) + 1];
    };
    const [[column, columns], [row, rows]] = q.mean.map((mean, i) => range(mean, sigma[i]));
    const { values } = this.logJoint(x, { row, column, rows, columns, stride });
    const [z1, z2] = [this.codes(column, columns, stride), this.codes(row, rows, stride)];
    const [across, along] = [z1, z2].map((codes, i) => codes.map((z) => Math.exp(-0.5 * ((z - q.mean[i]) / sigma[i]) ** 2)));
    let [sum, total] = [0, 0];
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        const logPrior = -LOG_2_PI - 0.5 * (z1[c] ** 2 + z2[r] ** 2);
        const weight = across[c] * along[r];
        total += weight;
        sum += weight * (values[r * columns + c] - logPrior);
      }
    }
    return lossFrom(-sum / total, q);
  }

  /** A box for logJoint around all of another one that lies at most `depth` nats below the top, and a step more. */
  boxAround(overview, depth) {
    const { stride, values } = overview;
    const { left, right, top, bottom } = reach(overview, maximum(values) - depth);
    const before = (index) => Math.max(0, (index - 1) * stride);
    const after = (index) => Math.min(this.grid.size - 1, (index + 1) * stride);
    const [row, column] = [before(top), before(left)];
    const [width, height] = [after(right) - column, after(bottom) - row];
    let fine = 1; // a wide posterior needs no fine grid
    while (width * height > 64000 * fine * fine) fine *= 2;
    return { row, column, rows: Math.floor(height / fine) + 1, columns: Math.floor(width / fine) + 1, stride: fine };
  }

  /** From where to where a box has values of at least `level`: [[low, high] of z1, [low, high] of z2]. */
  extent(box, level) {
    const { left, right, top, bottom } = reach(box, level);
    const [z1, z2] = [this.codes(box.column, box.columns, box.stride), this.codes(box.row, box.rows, box.stride)];
    return [[z1[left], z1[right]], [z2[top], z2[bottom]]];
  }

  /**
   * The true posterior of x. Returns { logEvidence, coarseness, top, levels, extent, box }: log p(x); what halving
   * the last spacing changed in it; the largest log p(x, z); the two values of it whose contours hold 39 % and 86 % of
   * the posterior's mass (what one and two sigma hold of a Gaussian in the plane); from where to where the outer one
   * goes, [[low, high] of z1, of z2]; and log p(x, z) on a box around all of that mass.
   */
  of(x) {
    const count = Math.floor((this.grid.size - 1) / this.coarse) + 1;
    const overview = this.logJoint(x, { row: 0, column: 0, rows: count, columns: count, stride: this.coarse }, false);
    const box = this.logJoint(x, this.boxAround(overview, DEPTH + 2));
    const { values, rows, columns } = box;
    const top = maximum(values);
    const layers = new Float64Array(DEPTH * LAYERS_PER_NAT); // mass by how far below the top it lies
    let total = 0;
    let everyOther = 0;
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        const value = values[r * columns + c];
        if (value <= top - DEPTH) continue;
        const mass = Math.exp(value - top);
        total += mass;
        if (r % 2 === 0 && c % 2 === 0) everyOther += mass;
        layers[Math.floor((top - value) * LAYERS_PER_NAT)] += mass;
      }
    }
    const step = box.stride * this.grid.spacing;
    const levels = [1 - Math.exp(-0.5), 1 - Math.exp(-2)].map((share) => top - depthOf(share * total, layers));
    return {
      logEvidence: top + Math.log(total) + 2 * Math.log(step),
      coarseness: Math.abs(Math.log((4 * everyOther) / total)),
      top,
      levels,
      extent: this.extent(box, levels[1]),
      box,
    };
  }
}

/** The first and last row and column of a box with a value of at least `level`. */
function reach({ rows, columns, values }, level) {
  let [top, bottom, left, right] = [rows, 0, columns, 0];
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      if (values[r * columns + c] < level) continue;
      if (r < top) top = r;
      if (r > bottom) bottom = r;
      if (c < left) left = c;
      if (c > right) right = c;
    }
  }
  return { top, bottom, left, right };
}

function maximum(values) {
  let top = -Infinity;
  for (const value of values) if (value > top) top = value;
  return top;
}

/** How far below the top, in nats, one must go for so much of the mass in layers. */
function depthOf(mass, layers) {
  let [k, left] = [0, mass];
  for (; left > layers[k]; k++) left -= layers[k];
  return (k + left / layers[k]) / LAYERS_PER_NAT;
}

/**
 * The contour lines at `level` of a box of values: pieces [column, row, column, row] in units of its points.
 * Each square of four points is cut where its edges cross the level (marching squares).
 */
function contour({ rows, columns, values }, level) {
  const pieces = [];
  for (let r = 0; r + 1 < rows; r++) {
    for (let c = 0; c + 1 < columns; c++) {
      const k = r * columns + c;
      const a = values[k] - level;
      const b = values[k + 1] - level;
      const d = values[k + columns] - level;
      const e = values[k + columns + 1] - level;
      if (a < 0 === b < 0 && a < 0 === d < 0 && a < 0 === e < 0) continue;
      const cuts = [];
      if (a < 0 !== b < 0) cuts.push([c + a / (a - b), r]);
      if (b < 0 !== e < 0) cuts.push([c + 1, r + b / (b - e)]);
      if (d < 0 !== e < 0) cuts.push([c + d / (d - e), r + 1]);
      if (a < 0 !== d < 0) cuts.push([c, r + a / (a - d)]);
      for (let i = 0; i + 1 < cuts.length; i += 2) pieces.push([...cuts[i], ...cuts[i + 1]]);
    }
  }
  return pieces;
}

/** What a worker of the evidence does: computes A on the grids it is asked for, one after the other, and posts each. */
function servePartition(post, breath) {
  return async ({ layers, halfWidth, spacings }) => {
    const model = new Model(layers, []);
    const finest = makeGrid(halfWidth, Math.min(...spacings));
    const kernel = await loadKernel(LogPartition.room(model, finest.size));
    const rows = new LogPartition(model, finest.size, kernel ?? undefined);
    for (const spacing of spacings) {
      const grid = makeGrid(halfWidth, spacing);
      const logPartition = new Float32Array(grid.size ** 2);
      for (let row = 0; row < grid.size; row++) {
        logPartition.set(rows.row(grid, -halfWidth + row * spacing), row * grid.size);
        await breath();
      }
      post({ grid, logPartition }, [logPartition.buffer]);
    }
  };
}

/** Prepares the posterior in a worker, coarse first; calls ready(posterior) for each grid. Returns what stops it. */
function preparePosterior(/** @type {Model} */ model, /** @type {number} */ halfWidth, spacings, ready, fail = undefined) {
  const layers = copyOfLayers(model.layers); // the model may go on learning
  const asked = new Model(layers, model.epsilons);
  let left = spacings.length;
  const take = ({ grid, logPartition }) => {
    ready(new Posterior(asked, grid, logPartition));
    if (--left === 0) worker.terminate();
  };
  const worker = startWorker("posterior", servePartition, take, fail);
  worker.postMessage({ layers, halfWidth, spacings });
  return worker.terminate;
}
