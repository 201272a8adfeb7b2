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
    this.used = this.room(PIXELS); // grows with the layers
  }

  /** An array of zeros in the kernel's memory. */
  room(count, Type = Float32Array) {
    const array = new Type(this.memory.buffer, this.top, count);
    this.top = Math.ceil((this.top + array.byteLength) / 16) * 16; // nadam works on four numbers at a time
    return array;
  }

  /** Where the kernel may write down which of so many numbers are not 0. */
  list(length) {
    if (length > this.used.length) this.used = this.room(length);
    return this.used.byteOffset;
  }

  dense(x, { kernel, bias }, out, rows, relu) {
    const [outputs, inputs] = [bias.length, kernel.length / bias.length];
    const list = this.list(inputs);
    this.functions.dense(x.byteOffset, kernel.byteOffset, bias.byteOffset, out.byteOffset, rows, inputs, outputs, Number(relu), list);
  }

  gradient(x, atOutput, { kernel, bias }, rows) {
    const [outputs, inputs] = [bias.length, kernel.length / bias.length];
    const list = this.list(rows);
    this.functions.gradient(x.byteOffset, atOutput.byteOffset, kernel.byteOffset, bias.byteOffset, rows, inputs, outputs, list);
  }

  back(atOutput, { kernel, bias }, x, out, rows) {
    const [outputs, inputs] = [bias.length, kernel.length / bias.length];
    this.functions.back(atOutput.byteOffset, kernel.byteOffset, x.byteOffset, out.byteOffset, rows, inputs, outputs);
  }

  losses(logits, x, error, scale) {
    return this.functions.losses(logits.byteOffset, x.byteOffset, error.byteOffset, x.length, LOWEST_LOGIT, HIGHEST_LOGIT, scale);
  }

  nadam(weights, gradient, m, v, { ahead, now, correction }) {
    const { beta1, beta2, epsilon } = RECIPE;
    const arrays = [weights, gradient, m, v].map(({ byteOffset }) => byteOffset);
    const count = Math.ceil(weights.length / 4) * 4; // what is between two arrays is 0, and stays 0
    this.functions.nadam(...arrays, count, 1 - beta1, 1 - beta2, ahead, now, 1 / correction, epsilon);
  }
}
