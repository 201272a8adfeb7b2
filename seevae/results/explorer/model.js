// needs: nothing
"use strict";
// The arithmetic of the model: the post's network, its loss, and the gradient of its loss. Nothing here draws.
//
// An image x is 784 numbers from 0 to 1, a code z a few numbers, and q = { mean, logVar } the Gaussian over codes
// that the encoder gives. All values are nats per image. Keras clips probabilities to [1e-7, 1 - 1e-7] in the loss:
// no pixel, however wrong, costs more than 16 nats. The same is done here, to the logits.

const PIXELS = 784;
const LOWEST_LOGIT = Math.log(1e-7);
const HIGHEST_LOGIT = -Math.log(2 ** -23); // the largest 32-bit number below 1 - 1e-7 is 1 - 2^-23
const clip = (logit) => Math.max(LOWEST_LOGIT, Math.min(HIGHEST_LOGIT, logit));

/** max(0, t), the bend that makes the network more than a straight line. */
const relu = (t) => (t > 0 ? t : 0);

/** log(1 + exp(t)), without overflow. */
const softplus = (t) => relu(t) + Math.log1p(Math.exp(-Math.abs(t)));

/** The sum of softplus over clipped logits. Its logarithms are taken of products of a few factors: exp is what costs. */
function sumOfSoftplus(logits) {
  let sum = 0;
  let product = 1;
  for (let i = 0; i < logits.length; i++) {
    const logit = logits[i];
    if (logit > LOWEST_LOGIT) product *= 1 + Math.exp(Math.min(HIGHEST_LOGIT, logit));
    if (product > 1e280) {
      sum += Math.log(product);
      product = 1;
    }
  }
  return sum + Math.log(product);
}

/** The probability that belongs to a logit. */
const sigmoid = (t) => 1 / (1 + Math.exp(-t));

/** KL(q(z|x) || N(0, I)), the post's kl_loss. */
function klDivergence({ mean, logVar }) {
  let sum = 0;
  for (let i = 0; i < mean.length; i++) sum += 1 + logVar[i] - mean[i] ** 2 - Math.exp(logVar[i]);
  return -0.5 * sum;
}

/** The loss and its parts: elbo = -(reconstruction + kl). */
function lossFrom(reconstruction, q) {
  const kl = klDivergence(q);
  return { reconstruction, kl, elbo: -(reconstruction + kl) };
}

/** The post's re-parameterised sample: z = mean + exp(logVar / 2) * epsilon. */
function sampleLatent({ mean, logVar }, epsilon) {
  return mean.map((m, i) => m + Math.exp(logVar[i] / 2) * epsilon[i]);
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

/** bias + input * kernel of a dense layer; kernel is (inputs, outputs), row after row. Zero inputs cost nothing. */
function dense(input, { kernel, bias }) {
  const result = new Float64Array(bias);
  const used = new Int32Array(input.length);
  addRows(result, kernel, bias.length, input, 0, used, nonZero(input, 0, input.length, used));
  return result;
}

/** The sum of a * b; four sums at a time, as each addition would wait for the one before. */
function dot(a, b) {
  let s0 = 0, s1 = 0, s2 = 0, s3 = 0, i = 0;
  for (; i + 4 <= a.length; i += 4) {
    s0 += a[i] * b[i];
    s1 += a[i + 1] * b[i + 1];
    s2 += a[i + 2] * b[i + 2];
    s3 += a[i + 3] * b[i + 3];
  }
  for (; i < a.length; i++) s0 += a[i] * b[i];
  return s0 + s1 + (s2 + s3);
}

/** kernel * output: carries a gradient back through a dense layer, for the inputs that are not 0. */
function denseBack(gradient, input, { kernel, bias: { length } }) {
  return input.map((value, i) => (value === 0 ? 0 : dot(gradient, kernel.subarray(i * length, (i + 1) * length))));
}

class Model {
  /**
   * layers: { encoder_h, z_mean, z_log_var, decoder_h, decoder_output }, each { kernel, bias } as Keras keeps them.
   * epsilons: the fixed draws of N(0, I) with which every expectation over q is taken.
   */
  constructor(layers, epsilons) {
    this.layers = layers;
    this.epsilons = epsilons;
    this.latentDim = layers.z_mean.bias.length;
    this.hiddenDim = layers.decoder_h.bias.length;
  }

  /** The inference network: x -> q(z|x). */
  encode(x) {
    const hidden = dense(x, this.layers.encoder_h).map(relu);
    return { mean: [...dense(hidden, this.layers.z_mean)], logVar: [...dense(hidden, this.layers.z_log_var)] };
  }

  /** The hidden layer of the decoder at a code z. */
  decoderHidden(z) {
    return dense(z, this.layers.decoder_h).map(relu);
  }

  /** The generative network: z -> the probability of ink at each pixel. */
  decode(z) {
    return dense(this.decoderHidden(z), this.layers.decoder_output).map(sigmoid);
  }

  /** log p(x|z) of Bernoulli pixels: the sum of x * logit - log(1 + exp(logit)). */
  logLikelihood(x, z) {
    const logits = dense(this.decoderHidden(z), this.layers.decoder_output);
    let sum = -sumOfSoftplus(logits);
    for (let i = 0; i < PIXELS; i++) if (x[i] !== 0) sum += x[i] * clip(logits[i]);
    return sum;
  }

  /** The gradient of log p(x|z) with respect to the code z: back-propagation, layer by layer. */
  logLikelihoodGradient(x, z) {
    const hidden = this.decoderHidden(z);
    const error = dense(hidden, this.layers.decoder_output).map((logit, i) => {
      return logit === clip(logit) ? x[i] - sigmoid(logit) : 0;
    });
    const atHidden = denseBack(error, hidden, this.layers.decoder_output);
    const everyLatent = new Float64Array(this.latentDim).fill(1);
    return denseBack(atHidden, everyLatent, this.layers.decoder_h);
  }

  /** The loss of x under q, with the expectation over q taken as a mean over the fixed draws. */
  loss(x, q) {
    let reconstruction = 0;
    for (const epsilon of this.epsilons) reconstruction -= this.logLikelihood(x, sampleLatent(q, epsilon));
    return lossFrom(reconstruction / this.epsilons.length, q);
  }

  /**
   * The gradient of the ELBO with respect to q, through the re-parameterised samples: as z = mean + sigma * epsilon,
   * dz / dmean = 1 and dz / dlogVar = sigma * epsilon / 2. Returns it with the gradient at each sample.
   */
  elboGradient(x, q) {
    const sigma = q.logVar.map((v) => Math.exp(v / 2));
    const mean = q.mean.map((m) => -m);
    const logVar = sigma.map((s) => 0.5 * (1 - s * s));
    const samples = this.epsilons.map((epsilon) => {
      const z = sampleLatent(q, epsilon);
      const gradient = this.logLikelihoodGradient(x, z);
      for (let i = 0; i < z.length; i++) {
        mean[i] += gradient[i] / this.epsilons.length;
        logVar[i] += (gradient[i] * sigma[i] * epsilon[i]) / 2 / this.epsilons.length;
      }
      return { z, gradient };
    });
    return { mean, logVar, samples };
  }

  /**
   * One step of gradient ascent on the ELBO of x from q; rate is the size of the step. The mean moves in units of
   * sigma squared, so that one rate suits narrow and wide q; a step is at most half a sigma, and e^0.3 in variance.
   * A step that would not climb is halved until it does. judge gives the loss: this model, or its Posterior.
   * Returns { q, loss, samples, rate }, or null at the top.
   */
  climb(x, q, rate = 0.5, judge = this) {
    const before = judge.loss(x, q).elbo;
    const gradient = this.elboGradient(x, q);
    const limit = (step, most) => Math.max(-most, Math.min(most, step));
    for (; rate > 1e-4; rate /= 2) {
      const next = {
        mean: q.mean.map((m, i) => {
          const sigma = Math.exp(q.logVar[i] / 2);
          return m + sigma * limit(rate * sigma * gradient.mean[i], 0.5);
        }),
        logVar: q.logVar.map((v, i) => v + limit(rate * 2 * gradient.logVar[i], 0.3)),
      };
      const loss = judge.loss(x, next);
      if (loss.elbo > before) return { q: next, loss, samples: gradient.samples, rate: Math.min(0.5, 2 * rate) };
    }
    return null;
  }
}
