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

/** The rows of a whole grid, as RowBends goes to them. */
const lineOf = ({ halfWidth, spacing, size }) => ({ left: -halfWidth, step: spacing, columns: size });

/** A(z) along the row at z2 of a grid: a Float32Array of its size. */
function logPartitionRow(model, grid, z2) {
  const { kernel, bias } = model.layers.decoder_output;
  const { column, unit, level, rise, count } = new RowBends(model.hiddenDim).goTo(model.layers.decoder_h, z2, lineOf(grid)).sort();
  const logits = Float64Array.from(bias);
  const gain = new Float64Array(PIXELS); // what the logits gain from one column to the next
  const row = new Float32Array(grid.size);
  let next = 0;
  for (let c = 0; c < grid.size; c++) {
    for (let i = 0; i < PIXELS; i++) logits[i] += gain[i];
    for (; next < count && column[next] === c; next++) {
      for (let i = 0, k = unit[next] * PIXELS; i < PIXELS; i++, k++) {
        logits[i] += level[next] * kernel[k];
        gain[i] += rise[next] * kernel[k];
      }
    }
    row[c] = sumOfSoftplus(logits);
  }
  return row;
}

/** The same for one row after another of a model, in the kernel. */
class KernelPartition {
  /** The room that it takes, in numbers. */
  static room(model, size) {
    return (PIXELS + 16) * (model.hiddenDim + 4) + 12 * model.hiddenDim + size;
  }

  constructor(kernel, model, size) {
    const { kernel: weights } = model.layers.decoder_output;
    this.kernel = kernel;
    this.model = model;
    this.weights = kernel.room(weights.length);
    this.weights.set(weights);
    this.bends = new RowBends(model.hiddenDim, (count, Type) => kernel.room(count, Type));
    this.logits = kernel.room(PIXELS, Float64Array);
    this.gain = kernel.room(PIXELS, Float64Array);
    this.out = kernel.room(size);
  }

  row(grid, z2) {
    const { kernel, bends, logits, gain, out } = this;
    const { column, unit, level, rise, count } = bends.goTo(this.model.layers.decoder_h, z2, lineOf(grid)).sort();
    logits.set(this.model.layers.decoder_output.bias);
    gain.fill(0);
    const ins = kernel.places(this.weights, column, unit, level, rise);
    kernel.functions.partition(...ins, count, grid.size, PIXELS, ...kernel.places(logits, gain, out), LOWEST_LOGIT, HIGHEST_LOGIT);
    return out.subarray(0, grid.size);
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
   * values, z1 fastest. With `ranges`, the first column and the one after the last for each row of the box, the values
   * outside of them are left at minus infinity. Without `exact` the few pixels whose logits are clipped count too much.
   */
  logJoint(x, box, exact = true) {
    const { decoder_h: first, decoder_output: last } = this.model.layers;
    const { halfWidth, spacing, size } = this.grid;
    const { ink, unitWeights, biases } = this.linearPart(x);
    const { low, mixed } = exact ? this.sortByClipping(ink, box) : { low: [], mixed: [] };
    const weights = Float64Array.from(unitWeights);
    let constant = biases - LOG_2_PI;
    for (const i of low) {
      constant += x[i] * (LOWEST_LOGIT - last.bias[i]);
      for (let j = 0; j < weights.length; j++) weights[j] -= x[i] * last.kernel[j * PIXELS + i];
    }
    const clipped = mixed.map((i) => ({
      x: x[i],
      bias: last.bias[i],
      weights: weights.map((_, j) => last.kernel[j * PIXELS + i]),
    }));

    const { row, column, rows, columns, stride, ranges } = box;
    const left = -halfWidth + column * spacing;
    const step = stride * spacing;
    const values = new Float32Array(rows * columns).fill(-Infinity);
    const line = new RowBends(weights.length);
    for (let r = 0; r < rows; r++) {
      const [from, to] = ranges ? ranges[r] : [0, columns];
      if (from >= to) continue;
      const gridRow = row + r * stride;
      const z2 = -halfWidth + gridRow * spacing;
      const start = r * columns;
      const sums = line.goTo(first, z2, { left, step, columns }).of(weights);
      for (let c = from; c < to; c++) {
        const z1 = left + c * step;
        const partition = this.logPartition[gridRow * size + column + c * stride];
        values[start + c] = sums[c] + constant - partition - 0.5 * (z1 * z1 + z2 * z2);
      }
      for (const pixel of clipped) {
        const logits = line.of(pixel.weights);
        for (let c = from; c < to; c++) {
          const logit = logits[c] + pixel.bias;
          if (logit < LOWEST_LOGIT || logit > HIGHEST_LOGIT) values[start + c] += pixel.x * (clip(logit) - logit);
        }
      }
    }
    return { ...box, values };
  }

  /**
   * Which of the pixels are clipped in a box, by their logits at nine places spread over it: `low`, those that are
   * so far below the limit that they are clipped everywhere, and `mixed`, those that are, or nearly, in places.
   */
  sortByClipping(pixels, { row, column, rows, columns, stride }) {
    const { decoder_output: last } = this.model.layers;
    const { halfWidth, spacing } = this.grid;
    const code = (first, share, count) => (first + share * (count - 1) * stride) * spacing - halfWidth;
    const lowest = new Float64Array(pixels.length).fill(Infinity);
    const highest = new Float64Array(pixels.length).fill(-Infinity);
    for (const across of [0, 0.5, 1]) {
      for (const along of [0, 0.5, 1]) {
        const logits = dense(this.model.decoderHidden([code(column, across, columns), code(row, along, rows)]), last);
        pixels.forEach((i, k) => {
          lowest[k] = Math.min(lowest[k], logits[i]);
          highest[k] = Math.max(highest[k], logits[i]);
        });
      }
    }
    const free = (k) => lowest[k] > LOWEST_LOGIT + 5 && highest[k] < HIGHEST_LOGIT - 5;
    const low = (k) => highest[k] < LOWEST_LOGIT - 5;
    return {
      low: pixels.filter((_, k) => low(k)),
      mixed: pixels.filter((_, k) => !free(k) && !low(k)),
    };
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
    const [column, columns] = range(q.mean[0], sigma[0]);
    const [row, rows] = range(q.mean[1], sigma[1]);
    const { values } = this.logJoint(x, { row, column, rows, columns, stride });
    const code = (first, index) => (first + index * stride) * spacing - halfWidth;
    const density = (first, count, i) =>
      Float64Array.from({ length: count }, (_, k) => Math.exp(-0.5 * ((code(first, k) - q.mean[i]) / sigma[i]) ** 2));
    const across = density(column, columns, 0);
    const along = density(row, rows, 1);
    let [sum, total] = [0, 0];
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        const logPrior = -LOG_2_PI - 0.5 * (code(column, c) ** 2 + code(row, r) ** 2);
        const weight = across[c] * along[r];
        total += weight;
        sum += weight * (values[r * columns + c] - logPrior);
      }
    }
    return lossFrom(-sum / total, q);
  }

  /** A box for logJoint around all of another one that lies at most `depth` nats below the top, and a step more. */
  boxAround(overview, depth) {
    const { rows, columns, stride, values } = overview;
    const threshold = maximum(values) - depth;
    const { left, right, top, bottom } = reach(overview, threshold);
    const before = (index) => Math.max(0, (index - 1) * stride);
    const after = (index) => Math.min(this.grid.size - 1, (index + 1) * stride);
    const [row, column] = [before(top), before(left)];
    const [width, height] = [after(right) - column, after(bottom) - row];
    let fine = 1; // a wide posterior needs no fine grid
    while (width * height > 64000 * fine * fine) fine *= 2;
    // Which columns matter, for each row of the new box: those of the two rows of the overview around it, or three.
    const ranges = Array.from({ length: Math.floor(height / fine) + 1 }, (_, k) => {
      const place = (row + k * fine) / stride;
      let [first, last] = [columns, -1];
      for (let r = Math.max(0, Math.ceil(place - 1)); r <= Math.min(rows - 1, place + 1); r++) {
        for (let c = left; c <= right; c++) {
          if (values[r * columns + c] < threshold) continue;
          first = Math.min(first, c);
          last = Math.max(last, c);
        }
      }
      if (last < 0) return [0, 0];
      return [Math.floor((before(first) - column) / fine), Math.floor((after(last) - column) / fine) + 1];
    });
    return { row, column, rows: ranges.length, columns: Math.floor(width / fine) + 1, stride: fine, ranges };
  }

  /** From where to where a box has values of at least `level`: [[low, high] of z1, [low, high] of z2]. */
  extent(box, level) {
    const { left, right, top, bottom } = reach(box, level);
    const { halfWidth, spacing } = this.grid;
    const code = (first, index) => (first + index * box.stride) * spacing - halfWidth;
    return [
      [code(box.column, left), code(box.column, right)],
      [code(box.row, top), code(box.row, bottom)],
    ];
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
    const kernel = await loadKernel(KernelPartition.room(model, finest.size));
    const inKernel = kernel && new KernelPartition(kernel, model, finest.size);
    for (const spacing of spacings) {
      const grid = makeGrid(halfWidth, spacing);
      const logPartition = new Float32Array(grid.size ** 2);
      for (let row = 0; row < grid.size; row++) {
        const z2 = -halfWidth + row * spacing;
        logPartition.set(inKernel ? inKernel.row(grid, z2) : logPartitionRow(model, grid, z2), row * grid.size);
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
