// needs: learning, kernel_bytes
"use strict";
// The arithmetic in WebAssembly: kernel.c, built to kernel_bytes.js (see kernel.py). Where a browser or a policy refuses
// it, the JavaScript of learning.js and posterior.js does the same, about ten times slower.

const FIRST_FREE = 2 ** 16; // bytes at the start of the memory, which are the compiler's

/** The kernel with room for so many numbers, or null where WebAssembly, or its SIMD, is refused. */
async function loadKernel(/** @type {number} */ count) {
  try {
    const memory = new WebAssembly.Memory({ initial: Math.ceil((FIRST_FREE + 4 * count) / 2 ** 16) + 1 });
    const bytes = Uint8Array.from(atob(KERNEL_BYTES), (character) => character.charCodeAt(0));
    const { instance } = await WebAssembly.instantiate(bytes, { env: { memory }, math: { log: Math.log } });
    return new KernelArithmetic(instance.exports, memory);
  } catch {
    return null;
  }
}

/** The methods of PlainArithmetic (learning.js), for arrays that its own `room` gave. */
class KernelArithmetic {
  constructor(functions, memory) {
    this.functions = functions;
    this.memory = memory;
    this.top = FIRST_FREE;
    this.random = this.room(4, Uint32Array); // where its tosses go on
    crypto.getRandomValues(this.random);
    this.lists = { columns: 0, places: [] };
  }

  /** An array of zeros in the kernel's memory. @returns {any} */
  room(count, /** @type {any} */ Type = Float32Array) {
    const array = new Type(this.memory.buffer, this.top, count);
    this.top = Math.ceil((this.top + array.byteLength) / 16) * 16; // nadam works on four numbers at a time
    return array;
  }

  /** Where the kernel writes down which numbers of a batch of so wide rows are not 0: see `struct mix` in kernel.c. */
  mix(columns) {
    if (columns > this.lists.columns) {
      const count = Math.max(PIXELS, columns);
      const lengths = [count, RECIPE.batchSize * count, RECIPE.batchSize * count, TILE * count];
      this.lists = { columns: count, places: lengths.map((length) => this.room(length).byteOffset) };
    }
    return this.lists.places;
  }

  /** Where arrays lie in the memory. Throws a TypeError for one that lies elsewhere. */
  places(...arrays) {
    if (arrays.some(({ buffer }) => buffer !== this.memory.buffer)) throw new TypeError("not an array of the kernel's room");
    return arrays.map(({ byteOffset }) => byteOffset);
  }

  dense(x, layer, out, rows, relu) {
    const [inputs, outputs] = sizesOf(layer);
    this.functions.dense(...this.places(x, layer.kernel, layer.bias, out), rows, inputs, outputs, Number(relu), ...this.mix(inputs));
  }

  gradient(x, atOutput, { kernel, bias }, rows) {
    const [inputs, outputs] = sizesOf({ kernel, bias });
    this.functions.gradient(...this.places(x, atOutput, kernel, bias), rows, inputs, outputs, ...this.mix(inputs));
  }

  back(atOutput, layer, x, out, rows) {
    this.functions.back(...this.places(atOutput, layer.kernel, x, out), rows, ...sizesOf(layer));
  }

  losses(logits, x, error, scale) {
    return this.functions.losses(...this.places(logits, x, error), x.length, LOWEST_LOGIT, HIGHEST_LOGIT, scale);
  }

  toss(x, out) {
    this.functions.toss(...this.places(x, out, this.random), x.length);
  }

  partition(kernel, { column, unit, level, rise, count }, logits, gain, out) {
    const ins = this.places(kernel, column, unit, level, rise);
    this.functions.partition(...ins, count, out.length, PIXELS, ...this.places(logits, gain, out), LOWEST_LOGIT, HIGHEST_LOGIT);
  }

  nadam(weights, gradient, m, v, { ahead, now, correction }) {
    const { beta1, beta2, epsilon } = RECIPE;
    const count = Math.ceil(weights.length / 4) * 4; // what is between two arrays is 0, and stays 0
    const numbers = [1 - beta1, 1 - beta2, ahead, now, 1 / correction, epsilon];
    this.functions.nadam(...this.places(weights, gradient, m, v), count, ...numbers);
  }
}
