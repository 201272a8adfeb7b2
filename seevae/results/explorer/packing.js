// needs: worker
"use strict";
// How numbers stand in the page: as base64 text, images packed by deflate. explorer/__init__.py writes the same.

/** "1 step", "1,200 steps". */
const counted = (/** @type {number} */ count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** The bytes of a base64 text as a typed array. */
function unpack(text, Type) {
  return new Type(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
}

/** The layers of a model; a large kernel is kept as roots in 16 bits: a number is unit * root * |root|. */
function unpackLayers(layers) {
  const kernelOf = (kernel) => {
    if (typeof kernel === "string") return unpack(kernel, Float32Array);
    const units = unpack(kernel.units, Float32Array);
    return Float32Array.from(unpack(kernel.roots, Int16Array), (root, i) => units[i % units.length] * root * Math.abs(root));
  };
  const parts = ({ kernel, bias }) => ({ kernel: kernelOf(kernel), bias: unpack(bias, Float32Array) });
  return Object.fromEntries(Object.entries(layers).map(([name, layer]) => [name, parts(layer)]));
}

/** Codes { z: pairs, one after the other, labels } from whole numbers. */
function unpackCodes({ unit, z, labels }) {
  return { z: Float32Array.from(unpack(z, Int16Array), (value) => value * unit), labels: unpack(labels, Uint8Array) };
}

function unpackReplay(record) {
  const { z, labels } = unpackCodes(record);
  const frames = record.moments.map((_, k) => z.subarray(2 * k * labels.length, 2 * (k + 1) * labels.length));
  return { moments: record.moments, losses: record.losses, frames, labels };
}

function unpackPicks({ images, labels }) {
  const pixels = grey(unpack(images, Uint8Array));
  return labels.map((label, k) => ({ label, image: pixels.subarray(k * PIXELS, (k + 1) * PIXELS) }));
}

/** The bytes of a base64 text that deflate packed. Throws an Error with a sentence where the browser cannot unpack. */
async function unpackDeflated(text) {
  return inflated(unpack(text, Uint8Array), "deflate");
}

/** Bytes that were packed, unpacked; format: "deflate" (zlib), "deflate-raw" or "gzip". */
async function inflated(bytes, format) {
  if (typeof DecompressionStream === "undefined") throw new Error("This browser cannot unpack the images: use a newer one.");
  return through(new DecompressionStream(format), bytes);
}

/** What comes out of a stream of bytes when these go in. */
async function through({ readable, writable }, bytes) {
  const writer = writable.getWriter();
  writer.write(bytes).catch(() => {}); // what is damaged is told where it is read
  writer.close().catch(() => {});
  return new Uint8Array(await new Response(readable).arrayBuffer());
}

/** A typed array as base64 text: what unpack reads. */
function pack(/** @type {any} */ array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let text = "";
  for (let i = 0; i < bytes.length; i += 2 ** 15) text += String.fromCharCode(...bytes.subarray(i, i + 2 ** 15));
  return btoa(text);
}

/** Layers as unpackLayers reads them, and explorer/__init__.py (packed_kernel) writes them. */
function packLayers(/** @type {Layers} */ layers) {
  const packed = ({ kernel, bias }) => {
    if (kernel.length <= 2 ** 16) return pack(kernel);
    const units = new Float32Array(bias.length).fill(1e-30);
    kernel.forEach((value, i) => (units[i % bias.length] = Math.max(units[i % bias.length], Math.abs(value) / 32767 ** 2)));
    const root = (value, i) => Math.max(-32767, Math.min(32767, Math.round(Math.sign(value) * Math.sqrt(Math.abs(value) / units[i % bias.length]))));
    return { units: pack(units), roots: pack(Int16Array.from(kernel, root)) };
  };
  return Object.fromEntries(LAYERS.map((name) => [name, { kernel: packed(layers[name]), bias: pack(layers[name].bias) }]));
}

/** Codes as unpackCodes reads them. */
function packCodes({ z, labels }) {
  const unit = z.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6) / 32767;
  return { unit, z: pack(Int16Array.from(z, (value) => Math.round(value / unit))), labels: pack(Uint8Array.from(labels)) };
}

/** Bytes as the text that unpackDeflated reads. */
async function packDeflated(/** @type {Uint8Array} */ bytes) {
  return pack(await through(new CompressionStream("deflate"), bytes));
}
