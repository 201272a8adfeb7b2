// needs: model
"use strict";
// How the network learns: the gradient of its loss on a batch, and the optimizer's step. Nothing here draws.
//
// The same as Keras does in vae_mnist.py (test_explorer_engine.py compares them): the loss is the reconstruction loss plus
// beta times the KL divergence, each a mean over the batch; the optimizer is Nadam with shorter steps for the two heads.
// An array of a batch holds one image after the other.

const HEADS = ["z_mean", "z_log_var"];
const LAYERS = ["encoder_h", ...HEADS, "decoder_h", "decoder_output"];
const PARTS = ["kernel", "bias"];
const TILE = 32; // columns that kernel.c takes at a time
const RECIPE = { learningRate: 0.01, beta1: 0.9, beta2: 0.99, headStep: 0.15, epsilon: 1e-7, batchSize: 100 };

// What a VAE is trained with; learners' mistakes are the others.
const VAE = { beta: 1, sampleNoise: true, inputNoise: true, meanOverPixels: false, oneNoise: false, sigmaForVariance: false };

/** @typedef {{ kernel: Float32Array, bias: Float32Array }} Layer kernel: (inputs, outputs), row after row */
/** @typedef {{ encoder_h: Layer, z_mean: Layer, z_log_var: Layer, decoder_h: Layer, decoder_output: Layer }} Layers */

/** How many numbers go into a layer, and out. */
const sizesOf = (/** @type {Layer} */ { kernel, bias }) => [kernel.length / bias.length, bias.length];

/**
 * The arithmetic of a batch, in JavaScript. KernelArithmetic (kernel.js) does the same in WebAssembly, on arrays that its
 * own `room` gave.
 */
class PlainArithmetic {
  /** An array of zeros to compute with. @returns {any} */
  room(/** @type {number} */ count, /** @type {any} */ Type = Float32Array) {
    return new Type(count);
  }

  /** out (rows, outputs) = x (rows, inputs) * kernel + bias; inputs of 0 cost nothing. relu: what is below 0 becomes 0. */
  dense(x, { kernel, bias }, out, rows, relu) {
    const [inputs, outputs] = sizesOf({ kernel, bias });
    const used = new Int32Array(inputs);
    for (let r = 0; r < rows; r++) {
      const target = out.subarray(r * outputs, (r + 1) * outputs);
      target.set(bias);
      const count = nonZero(x, r * inputs, inputs, used);
      addRows(target, kernel, outputs, x, r * inputs, used, count);
      if (relu) for (let j = 0; j < outputs; j++) if (!(target[j] > 0)) target[j] = 0;
    }
  }

  /** Into { kernel, bias }: the gradients of a dense layer, from its input x and the gradient at its output. */
  gradient(x, atOutput, { kernel, bias }, rows) {
    const [inputs, outputs] = sizesOf({ kernel, bias });
    kernel.fill(0);
    bias.fill(0);
    for (let r = 0; r < rows; r++) for (let j = 0; j < outputs; j++) bias[j] += atOutput[r * outputs + j];
    const column = new Float32Array(rows);
    const used = new Int32Array(rows);
    for (let i = 0; i < inputs; i++) {
      for (let r = 0; r < rows; r++) column[r] = x[r * inputs + i];
      const count = nonZero(column, 0, rows, used);
      addRows(kernel.subarray(i * outputs, (i + 1) * outputs), atOutput, outputs, column, 0, used, count);
    }
  }

  /** Adds to `out` the gradient at the input x of a dense layer where x is not 0: back through a relu as well. */
  back(atOutput, layer, x, out, rows) {
    const [inputs, outputs] = sizesOf(layer);
    for (let r = 0; r < rows; r++) {
      const row = denseBack(atOutput.subarray(r * outputs, (r + 1) * outputs), x.subarray(r * inputs, (r + 1) * inputs), layer);
      row.forEach((value, i) => (out[r * inputs + i] += value));
    }
  }

  /** The reconstruction loss of all pixels x together, nats; into `error`: scale * its gradient at the logits. */
  losses(logits, x, error, scale) {
    let total = 0;
    for (let i = 0; i < x.length; i++) {
      const logit = clip(logits[i]);
      total += softplus(logit) - x[i] * logit;
      error[i] = logit === logits[i] ? scale * (sigmoid(logit) - x[i]) : 0;
    }
    return total;
  }

  /** Into `out`: each grey value of images replaced by 1 with that probability, else 0, the noise on the input. */
  toss(x, out) {
    for (let i = 0; i < x.length; i++) out[i] = x[i] > 0 && Math.random() < x[i] ? 1 : 0;
  }

  /**
   * The sum of softplus over the logits, into `out`, at each column of a row of the evidence's grid; see RowBends. logits:
   * at first the biases; gain: at first 0, what the logits gain from one column to the next.
   */
  partition(kernel, { column, unit, level, rise, count }, logits, gain, out) {
    for (let c = 0, next = 0; c < out.length; c++) {
      for (let i = 0; i < PIXELS; i++) logits[i] += gain[i];
      for (; next < count && column[next] === c; next++) {
        for (let i = 0, k = unit[next] * PIXELS; i < PIXELS; i++, k++) {
          logits[i] += level[next] * kernel[k];
          gain[i] += rise[next] * kernel[k];
        }
      }
      out[c] = sumOfSoftplus(logits);
    }
  }

  /** One step of Nadam for some weights; m, v: the running means of the gradient and of its square. */
  nadam(weights, gradient, m, v, { ahead, now, correction }) {
    const { beta1, beta2, epsilon } = RECIPE;
    for (let i = 0; i < weights.length; i++) {
      const g = gradient[i];
      m[i] += (g - m[i]) * (1 - beta1);
      v[i] += (g * g - v[i]) * (1 - beta2);
      weights[i] -= (ahead * m[i] + now * g) / (Math.sqrt(v[i] / correction) + epsilon);
    }
  }
}

/** Something for each kernel and bias of layers, in the form of layers. @returns {any} */
function forLayers(/** @type {Layers} */ layers, /** @type {(values: Float32Array) => any} */ make) {
  const both = ({ kernel, bias }) => ({ kernel: make(kernel), bias: make(bias) });
  return Object.fromEntries(LAYERS.map((name) => [name, both(layers[name])]));
}

/** The layers of a model, copied. @returns {Layers} */
function copyOfLayers(/** @type {Layers} */ layers) {
  return forLayers(layers, (values) => values.slice());
}

/** How many numbers each image of a batch takes in the arrays of a Learner. */
function widthsOf(/** @type {Layers} */ { encoder_h, z_mean, decoder_h }) {
  const [hidden, latent, drawn] = [encoder_h, z_mean, decoder_h].map(({ bias }) => bias.length);
  const pixels = { x: PIXELS, input: PIXELS, logits: PIXELS, error: PIXELS };
  const codes = { mean: latent, logVar: latent, epsilon: latent, z: latent, everyZ: latent, atZ: latent, atMean: latent, atLogVar: latent };
  return { ...pixels, ...codes, hidden, atHidden: hidden, drawn, atDrawn: drawn };
}

/** The room that a Learner of such layers takes, in numbers. */
function roomOf(/** @type {Layers} */ layers) {
  const weights = LAYERS.reduce((sum, name) => sum + layers[name].kernel.length + layers[name].bias.length + 8, 0);
  const widths = Object.values(widthsOf(layers));
  const arrays = RECIPE.batchSize * widths.reduce((sum, width) => sum + width + 4);
  const lists = (2 * RECIPE.batchSize + TILE + 1) * (PIXELS + Math.max(...widths)); // of the kernel
  return 4 * weights + arrays + lists + 8192;
}

class Learner {
  /** layers: as Model has them; they are copied. arithmetic: a PlainArithmetic or a KernelArithmetic. */
  constructor(/** @type {Layers} */ layers, arithmetic = new PlainArithmetic()) {
    this.arithmetic = arithmetic;
    this.latentDim = layers.z_mean.bias.length;
    this.switches = { ...VAE };
    const zeros = () => forLayers(layers, ({ length }) => arithmetic.room(length));
    this.layers = zeros();
    this.gradients = zeros();
    this.means = zeros();
    this.squares = zeros();
    this.widths = widthsOf(layers);
    const room = ([name, width]) => [name, arithmetic.room(RECIPE.batchSize * width)];
    this.rooms = Object.fromEntries(Object.entries(this.widths).map(room));
    this.load(layers);
  }

  /** Begin anew from these weights: the steps count from 0; headStep: how long the steps of the two heads are. */
  load(/** @type {Layers} */ layers, headStep = RECIPE.headStep) {
    this.headStep = headStep;
    this.steps = 0;
    this.momentumProduct = 1;
    for (const name of LAYERS) {
      for (const part of PARTS) {
        this.layers[name][part].set(layers[name][part]);
        this.means[name][part].fill(0);
        this.squares[name][part].fill(0);
      }
    }
  }

  /** The step size: it falls from the recipe's to a tenth of it, over 3,000 steps. */
  get learningRate() {
    return RECIPE.learningRate * Math.max(0.1, 1 - this.steps / 3000);
  }

  /** The arrays of a batch, each for so many rows. @returns {any} */
  arraysOf(rows) {
    if (rows > RECIPE.batchSize) throw new RangeError(`a batch has ${RECIPE.batchSize} images at most`);
    return Object.fromEntries(Object.entries(this.widths).map(([name, width]) => [name, this.rooms[name].subarray(0, rows * width)]));
  }

  /** The encoder on the first `rows` of its arrays, from `input` to q. */
  encode({ input, hidden, mean, logVar }, rows) {
    const { arithmetic, layers } = this;
    arithmetic.dense(input, layers.encoder_h, hidden, rows, true);
    arithmetic.dense(hidden, layers.z_mean, mean, rows, false);
    arithmetic.dense(hidden, layers.z_log_var, logVar, rows, false);
  }

  /** The rest of the network, from q and `epsilon` to the logits. */
  decode({ epsilon, mean, logVar, z, drawn, logits }, rows) {
    const { arithmetic, layers } = this;
    const log = this.switches.sigmaForVariance ? 1 : 0.5; // so many times logVar is the logarithm of sigma
    for (let i = 0; i < z.length; i++) z[i] = mean[i] + Math.exp(log * logVar[i]) * epsilon[i];
    arithmetic.dense(z, layers.decoder_h, drawn, rows, true);
    arithmetic.dense(drawn, layers.decoder_output, logits, rows, false);
  }

  /**
   * The loss of a batch and its gradient. x: images (rows, 784); input: what the encoder sees of them; epsilon: draws of
   * N(0, 1), (rows, latentDim), or zeros for no noise on z. Returns { reconstruction, kl, gradients } with means over
   * the batch, in nats; gradients: { layer: { kernel, bias } } of reconstruction + beta * kl, until the next call.
   */
  gradient(/** @type {Float32Array} */ x, /** @type {Float32Array} */ input, /** @type {Float32Array} */ epsilon, beta = 1) {
    const { arithmetic, layers, gradients, switches } = this;
    const rows = x.length / PIXELS;
    const of = this.arraysOf(rows);
    of.x.set(x);
    of.input.set(input);
    of.epsilon.set(epsilon);
    this.encode(of, rows);
    this.decode(of, rows);
    const scale = 1 / (rows * (switches.meanOverPixels ? PIXELS : 1));
    const reconstruction = arithmetic.losses(of.logits, of.x, of.error, scale) / rows;
    of.atDrawn.fill(0);
    arithmetic.back(of.error, layers.decoder_output, of.drawn, of.atDrawn, rows);
    of.atZ.fill(0);
    arithmetic.back(of.atDrawn, layers.decoder_h, of.everyZ.fill(1), of.atZ, rows);
    const log = switches.sigmaForVariance ? 1 : 0.5;
    for (let i = 0; i < of.mean.length; i++) {
      const [logVar, atZ] = [of.logVar[i], of.atZ[i]];
      of.atMean[i] = atZ + (beta * of.mean[i]) / rows;
      of.atLogVar[i] = log * atZ * of.epsilon[i] * Math.exp(log * logVar) + (0.5 * beta * (Math.exp(logVar) - 1)) / rows;
    }
    of.atHidden.fill(0);
    arithmetic.back(of.atMean, layers.z_mean, of.hidden, of.atHidden, rows);
    arithmetic.back(of.atLogVar, layers.z_log_var, of.hidden, of.atHidden, rows);
    arithmetic.gradient(of.input, of.atHidden, gradients.encoder_h, rows);
    arithmetic.gradient(of.hidden, of.atMean, gradients.z_mean, rows);
    arithmetic.gradient(of.hidden, of.atLogVar, gradients.z_log_var, rows);
    arithmetic.gradient(of.z, of.atDrawn, gradients.decoder_h, rows);
    arithmetic.gradient(of.drawn, of.error, gradients.decoder_output, rows);
    return { reconstruction, kl: klDivergence(of) / rows, gradients };
  }

  /** Move all weights by one step of Nadam (Dozat, 2016), as Keras takes it. */
  apply(gradients = this.gradients) {
    const { beta1, beta2 } = RECIPE;
    const rate = this.learningRate;
    const t = ++this.steps;
    const momentum = (step) => beta1 * (1 - 0.5 * 0.96 ** step);
    this.momentumProduct *= momentum(t);
    const ahead = momentum(t + 1) / (1 - this.momentumProduct * momentum(t + 1));
    const now = (1 - momentum(t)) / (1 - this.momentumProduct);
    const correction = 1 - beta2 ** t;
    for (const name of LAYERS) {
      const step = HEADS.includes(name) ? this.headStep * rate : rate;
      const lengths = { ahead: step * ahead, now: step * now, correction };
      for (const part of PARTS) {
        const [m, v] = [this.means[name][part], this.squares[name][part]];
        this.arithmetic.nadam(this.layers[name][part], gradients[name][part], m, v, lengths);
      }
    }
  }

  /** One step on images x (rows, 784). Returns { reconstruction, kl } of them, in nats, before the step. */
  step(/** @type {Float32Array} */ x) {
    const { beta, inputNoise } = this.switches;
    const of = this.arraysOf(x.length / PIXELS);
    of.x.set(x);
    if (inputNoise) this.arithmetic.toss(of.x, of.input);
    const { reconstruction, kl } = this.gradient(of.x, inputNoise ? of.input : of.x, this.epsilon(x.length / PIXELS), beta);
    this.apply();
    return { reconstruction, kl };
  }

  /** Draws of N(0, 1) for the latents of so many images: zeros without noise on z, one draw for all with oneNoise. */
  epsilon(rows) {
    const { sampleNoise, oneNoise } = this.switches;
    const draws = Float32Array.from({ length: rows * this.latentDim }, sampleNoise ? normal : () => 0);
    return oneNoise ? draws.map((_, i) => draws[i % this.latentDim]) : draws;
  }

  /**
   * Images x (n, 784) as they are: { mean, logVar } of q, each (n, latentDim), and { reconstruction, kl }, nats, which are
   * means over the first `judged` of them (a multiple of the batch size, or all) with one draw of z each.
   */
  evaluate(/** @type {Float32Array} */ x, judged = x.length / PIXELS) {
    const count = x.length / PIXELS;
    const [mean, logVar] = [0, 0].map(() => new Float32Array(count * this.latentDim));
    let [reconstruction, kl] = [0, 0];
    for (let start = 0; start < count; start += RECIPE.batchSize) {
      const rows = Math.min(RECIPE.batchSize, count - start);
      const of = this.arraysOf(rows);
      of.input.set(x.subarray(start * PIXELS, (start + rows) * PIXELS));
      this.encode(of, rows);
      mean.set(of.mean, start * this.latentDim);
      logVar.set(of.logVar, start * this.latentDim);
      if (start >= judged) continue;
      of.epsilon.set(this.epsilon(rows));
      this.decode(of, rows);
      reconstruction += this.arithmetic.losses(of.logits, of.input, of.error, 1);
      kl += klDivergence(of);
    }
    return { reconstruction: reconstruction / judged, kl: kl / judged, mean, logVar };
  }
}

/** A draw of N(0, 1), by Box and Muller. */
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

/**
 * New weights. `spread`: as vae_mnist.py draws them with its default recipe (seevae/training/start.py, spread_weights), the
 * codes near N(0, I); else as Keras does by itself, and the author of the post.
 */
function newLayers(hiddenDim, latentDim, spread) {
  const uniform = (count, limit) => Float32Array.from({ length: count }, () => limit * (2 * Math.random() - 1));
  const layer = (inputs, outputs, limit, bias = 0) => {
    return { kernel: uniform(inputs * outputs, limit), bias: uniform(outputs, bias) };
  };
  const glorot = (inputs, outputs) => Math.sqrt(6 / (inputs + outputs));
  return {
    encoder_h: layer(PIXELS, hiddenDim, spread ? Math.sqrt(6 / PIXELS) : glorot(PIXELS, hiddenDim)),
    z_mean: layer(hiddenDim, latentDim, glorot(hiddenDim, latentDim)),
    z_log_var: layer(hiddenDim, latentDim, glorot(hiddenDim, latentDim)),
    decoder_h: spread ? layer(latentDim, hiddenDim, Math.sqrt(24 / latentDim), 2) : layer(latentDim, hiddenDim, glorot(latentDim, hiddenDim)),
    decoder_output: layer(hiddenDim, PIXELS, glorot(hiddenDim, PIXELS)),
  };
}
