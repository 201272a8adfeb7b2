"use strict";
// How the network learns: the gradient of its loss on a batch, and the optimizer's step. Nothing here draws.
//
// The same as Keras does in vae_mnist.py (test_explorer.py compares them): the loss is the reconstruction loss plus beta
// times the KL divergence, each a mean over the batch; the optimizer is Nadam with shorter steps for the two heads.
// An array of a batch holds one image after the other.

const HEADS = ["z_mean", "z_log_var"];
const LAYERS = ["encoder_h", ...HEADS, "decoder_h", "decoder_output"];
const RECIPE = { learningRate: 0.01, beta1: 0.9, beta2: 0.99, headStep: 0.15, epsilon: 1e-7, batchSize: 100 };

/** result (rows, outputs) = input (rows, inputs) * kernel (inputs, outputs) + bias; inputs of 0 cost nothing. */
function denseBatch(input, { kernel, bias }, rows) {
  const outputs = bias.length;
  const result = new Float32Array(rows * outputs);
  const inputs = kernel.length / outputs;
  const used = new Int32Array(inputs);
  for (let r = 0; r < rows; r++) {
    const target = result.subarray(r * outputs, (r + 1) * outputs);
    target.set(bias);
    const count = nonZero(input, r * inputs, inputs, used);
    addRows(target, kernel, outputs, input, r * inputs, used, count);
  }
  return result;
}

/** Which of `length` numbers from `start` on are not 0: the first `count` of `used`, which it returns. */
function nonZero(values, start, length, used) {
  let count = 0;
  for (let i = 0; i < length; i++) if (values[start + i] !== 0) used[count++] = i;
  return count;
}

/** target += the sum of weights[start + i] * row i of a matrix, over the i that are used; four rows at a time. */
function addRows(target, matrix, width, weights, start, used, count) {
  let k = 0;
  for (; k + 4 <= count; k += 4) {
    const [i0, i1, i2, i3] = [used[k], used[k + 1], used[k + 2], used[k + 3]];
    const w0 = weights[start + i0];
    const w1 = weights[start + i1];
    const w2 = weights[start + i2];
    const w3 = weights[start + i3];
    const [a, b, c, d] = [i0 * width, i1 * width, i2 * width, i3 * width];
    for (let j = 0; j < width; j++) {
      target[j] += w0 * matrix[a + j] + w1 * matrix[b + j] + w2 * matrix[c + j] + w3 * matrix[d + j];
    }
  }
  for (; k < count; k++) {
    const w = weights[start + used[k]];
    const a = used[k] * width;
    for (let j = 0; j < width; j++) target[j] += w * matrix[a + j];
  }
}

/** The gradients of a dense layer: { kernel, bias } from its input and the gradient at its output. */
function denseGradient(input, gradient, inputs, outputs, rows) {
  const kernel = new Float32Array(inputs * outputs);
  const bias = new Float32Array(outputs);
  for (let r = 0; r < rows; r++) for (let j = 0; j < outputs; j++) bias[j] += gradient[r * outputs + j];
  const column = new Float32Array(rows);
  const used = new Int32Array(rows);
  for (let i = 0; i < inputs; i++) {
    for (let r = 0; r < rows; r++) column[r] = input[r * inputs + i];
    const count = nonZero(column, 0, rows, used);
    addRows(kernel.subarray(i * outputs, (i + 1) * outputs), gradient, outputs, column, 0, used, count);
  }
  return { kernel, bias };
}

/** The gradient at the input of a dense layer, where that is above 0; elsewhere 0: back through a relu as well. */
function denseBackBatch(gradient, input, { kernel, bias }, rows, result = new Float32Array(input.length)) {
  const outputs = bias.length;
  const inputs = kernel.length / outputs;
  for (let r = 0; r < rows; r++) {
    const from = r * outputs;
    for (let i = 0; i < inputs; i++) {
      if (!(input[r * inputs + i] > 0)) continue;
      let [s0, s1, s2, s3] = [0, 0, 0, 0]; // four sums at a time: each addition would wait for the one before
      let j = 0;
      const k = i * outputs;
      for (; j + 4 <= outputs; j += 4) {
        s0 += gradient[from + j] * kernel[k + j];
        s1 += gradient[from + j + 1] * kernel[k + j + 1];
        s2 += gradient[from + j + 2] * kernel[k + j + 2];
        s3 += gradient[from + j + 3] * kernel[k + j + 3];
      }
      for (; j < outputs; j++) s0 += gradient[from + j] * kernel[k + j];
      result[r * inputs + i] += s0 + s1 + (s2 + s3);
    }
  }
  return result;
}

/** In place: max(0, t). */
function reluBatch(values) {
  for (let i = 0; i < values.length; i++) if (!(values[i] > 0)) values[i] = 0;
  return values;
}

class Learner {
  /** layers: as Model has them, Float32Arrays; they are changed in place. */
  constructor(layers) {
    this.layers = layers;
    this.latentDim = layers.z_mean.bias.length;
    this.switches = { beta: 1, sampleNoise: true, inputNoise: true };
    this.headStep = RECIPE.headStep;
    this.restart();
  }

  /** Forget the moments of the gradients, and begin to count the steps anew. */
  restart() {
    this.steps = 0;
    this.momentumProduct = 1;
    this.moments = Object.fromEntries(
      LAYERS.map((name) => {
        const zeros = ({ length }) => ({ m: new Float32Array(length), v: new Float32Array(length) });
        return [name, { kernel: zeros(this.layers[name].kernel), bias: zeros(this.layers[name].bias) }];
      }),
    );
  }

  /** The step size: it falls from the recipe's to a tenth of it, over 3,000 steps. */
  get learningRate() {
    return RECIPE.learningRate * Math.max(0.1, 1 - this.steps / 3000);
  }

  /**
   * The loss of a batch and its gradient. x: images (rows, 784); input: what the encoder sees of them; epsilon: draws of
   * N(0, 1), (rows, latentDim), or zeros for no noise on z. Returns { reconstruction, kl, gradients } with means over
   * the batch, in nats; gradients: { layer: { kernel, bias } } of reconstruction + beta * kl.
   */
  gradient(x, input, epsilon, beta) {
    const { z_mean, z_log_var, decoder_h, decoder_output } = this.layers;
    const latent = this.latentDim;
    const rows = x.length / PIXELS;
    const { hidden, mean, logVar, z, drawn, logits } = forward(this.layers, input, epsilon);
    const losses = lossesOf(x, logits, mean, logVar);
    const atLogits = logits.map((logit, i) => (logit === clip(logit) ? (sigmoid(logit) - x[i]) / rows : 0));
    const atDrawn = denseBackBatch(atLogits, drawn, decoder_output, rows);
    const atZ = new Float32Array(rows * latent);
    for (let r = 0; r < rows; r++) {
      for (let i = 0; i < latent; i++) {
        let sum = 0;
        const units = decoder_h.bias.length;
        for (let j = 0; j < units; j++) sum += atDrawn[r * units + j] * decoder_h.kernel[i * units + j];
        atZ[r * latent + i] = sum;
      }
    }
    const atMean = new Float32Array(rows * latent);
    const atLogVar = new Float32Array(rows * latent);
    for (let i = 0; i < mean.length; i++) {
      const variance = Math.exp(logVar[i]);
      atMean[i] = atZ[i] + (beta * mean[i]) / rows;
      atLogVar[i] = 0.5 * (atZ[i] * epsilon[i] * Math.sqrt(variance) + (beta * (variance - 1)) / rows);
    }
    const atHidden = denseBackBatch(atMean, hidden, z_mean, rows);
    denseBackBatch(atLogVar, hidden, z_log_var, rows, atHidden);

    const units = hidden.length / rows;
    const gradients = {
      encoder_h: denseGradient(input, atHidden, PIXELS, units, rows),
      z_mean: denseGradient(hidden, atMean, units, latent, rows),
      z_log_var: denseGradient(hidden, atLogVar, units, latent, rows),
      decoder_h: denseGradient(z, atDrawn, latent, decoder_h.bias.length, rows),
      decoder_output: denseGradient(drawn, atLogits, decoder_h.bias.length, PIXELS, rows),
    };
    return { ...losses, gradients };
  }

  /** Move all weights by one step of Nadam (Dozat, 2016), as Keras takes it. */
  apply(gradients) {
    const { beta1, beta2, epsilon } = RECIPE;
    const rate = this.learningRate;
    const t = ++this.steps;
    const momentum = (step) => beta1 * (1 - 0.5 * 0.96 ** step);
    this.momentumProduct *= momentum(t);
    const ahead = momentum(t + 1) / (1 - this.momentumProduct * momentum(t + 1));
    const now = (1 - momentum(t)) / (1 - this.momentumProduct);
    const correction = 1 - beta2 ** t;
    for (const name of LAYERS) {
      const step = HEADS.includes(name) ? this.headStep * rate : rate;
      for (const part of ["kernel", "bias"]) {
        const [weights, gradient] = [this.layers[name][part], gradients[name][part]];
        const { m, v } = this.moments[name][part];
        for (let i = 0; i < weights.length; i++) {
          const g = gradient[i];
          m[i] += (g - m[i]) * (1 - beta1);
          v[i] += (g * g - v[i]) * (1 - beta2);
          weights[i] -= (step * (ahead * m[i] + now * g)) / (Math.sqrt(v[i] / correction) + epsilon);
        }
      }
    }
  }

  /** One step on images x (rows, 784). Returns { reconstruction, kl } of them, in nats, before the step. */
  step(x) {
    const { beta, inputNoise } = this.switches;
    const rows = x.length / PIXELS;
    const epsilon = this.epsilon(rows);
    const { gradients, ...losses } = this.gradient(x, inputNoise ? this.tossed(x) : x, epsilon, beta);
    this.apply(gradients);
    return losses;
  }

  /** A draw of N(0, 1) for each latent of so many images, or zeros where there is no noise on z. */
  epsilon(rows) {
    return Float32Array.from({ length: rows * this.latentDim }, this.switches.sampleNoise ? normal : () => 0);
  }

  /** { reconstruction, kl } of images x (rows, 784) as they are, in nats: means over them, with one draw of z each. */
  evaluate(x) {
    const { logits, mean, logVar } = forward(this.layers, x, this.epsilon(x.length / PIXELS));
    return lossesOf(x, logits, mean, logVar);
  }

  /** Each grey value of images replaced by 1 with that probability, else 0: the noise on the input. */
  tossed(x) {
    return x.map((value) => (value > 0 && Math.random() < value ? 1 : 0));
  }
}

/** q of images x (rows, 784): { mean, logVar }, each (rows, latentDim), and the hidden layer. */
function encodeBatch({ encoder_h, z_mean, z_log_var }, x) {
  const rows = x.length / PIXELS;
  const hidden = reluBatch(denseBatch(x, encoder_h, rows));
  return { hidden, mean: denseBatch(hidden, z_mean, rows), logVar: denseBatch(hidden, z_log_var, rows) };
}

/** The whole network, from what the encoder sees (rows, 784) to the logits; epsilon (rows, latentDim). */
function forward(layers, input, epsilon) {
  const rows = input.length / PIXELS;
  const q = encodeBatch(layers, input);
  const z = q.mean.map((m, i) => m + Math.exp(q.logVar[i] / 2) * epsilon[i]);
  const drawn = reluBatch(denseBatch(z, layers.decoder_h, rows));
  return { ...q, z, drawn, logits: denseBatch(drawn, layers.decoder_output, rows) };
}

/** { reconstruction, kl } of images x (rows, 784), means over them, in nats. */
function lossesOf(x, logits, mean, logVar) {
  const rows = x.length / PIXELS;
  let reconstruction = 0;
  for (let i = 0; i < x.length; i++) reconstruction += softplus(clip(logits[i])) - x[i] * clip(logits[i]);
  return { reconstruction: reconstruction / rows, kl: klDivergence({ mean, logVar }) / rows };
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
