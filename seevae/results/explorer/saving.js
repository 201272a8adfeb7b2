// needs: packing
"use strict";
// What a visitor takes home: this page with another model in it, one file as this one is, and the weights for NumPy.

const PAGE_LIMIT = 3_500_000; // bytes, which decide how many images the page carries to train on

// The page as it came, before any panel changes it.
const pageAsItCame = (() => {
  const body = document.createElement("body");
  body.append(...[...document.body.childNodes].filter(({ nodeName }) => nodeName !== "SCRIPT").map((node) => node.cloneNode(true)));
  return { head: document.head.innerHTML.trim(), body: body.innerHTML.trim() };
})();

/** The HTML of this page with other contents, the object that stands in #contents; its policy stays the same. */
function pageWith(/** @type {any} */ contents) {
  const escaped = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  const json = JSON.stringify(contents).replace(/[<>&\u2028\u2029]/g, escaped);
  const scripts = [...document.scripts].filter(({ id }) => id.endsWith(".js")).map(({ id, textContent }) => `<script id="${id}">${textContent}<\/script>`);
  const { head, body } = pageAsItCame;
  return `<!doctype html>
<html lang="${document.documentElement.lang}">
<head>${head}</head>
<body>${body}<script type="application/json" id="contents">${json}<\/script>
${scripts.join("\n")}
</body>
</html>
`;
}

/**
 * The contents of this page with another model, to be handed to pageWith. layers; codes: { z, labels } of held-out images;
 * picks: [{ label, image }]; training: { images, heldOut (bytes), labels }, of which as many images go along as the page
 * has room for; other properties (names, colours, dataset, origin) as they are. What is left out stays as in this page;
 * but the replay is left out where there are other layers. Throws an Error with a sentence.
 */
async function contentsWith({ layers, codes, picks, training, ...others }) {
  const contents = { ...JSON.parse(document.getElementById("contents").textContent), ...others };
  if (layers) Object.assign(contents, { layers: packLayers(layers), replay: null, ordered: false });
  if (codes) {
    const reach = codes.z.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    Object.assign(contents, { codes: packCodes(codes), halfWidth: Math.max(6, Math.ceil(reach + 1)), heldOut: codes.labels.length });
  }
  if (picks) {
    const images = Uint8Array.from(picks.flatMap(({ image }) => Array.from(image, (value) => Math.round(255 * value))));
    contents.picks = { images: pack(images), labels: picks.map(({ label }) => label) };
  }
  if (training) contents.training = await packedTraining(training, PAGE_LIMIT - pageWith({ ...contents, training: null }).length);
  return contents;
}

/** As many images, spread over all of them, as go into so many bytes of text, and up to 1,000 held-out ones. */
async function packedTraining({ images, heldOut, labels }, room) {
  if (typeof CompressionStream === "undefined") throw new Error("This browser cannot pack images: use a newer one.");
  const held = heldOut.subarray(0, 1000 * PIXELS);
  const rest = await packDeflated(held);
  const all = images.length / PIXELS;
  const some = (count) => {
    const bytes = new Uint8Array(count * PIXELS);
    for (let k = 0; k < count; k++) {
      const place = Math.floor((k * all) / count) * PIXELS;
      bytes.set(images.subarray(place, place + PIXELS), k * PIXELS);
    }
    return packDeflated(bytes);
  };
  const tried = Math.min(all, 500);
  const left = room - rest.length - 10_000; // for the labels, and the names of all
  const count = Math.min(all, Math.floor((0.95 * left * tried) / (await some(tried)).length));
  if (count < 1) return null;
  return { images: await some(count), count, heldOut: rest, labels: [...labels].slice(0, held.length / PIXELS) };
}

/** The weights as the bytes of an .npz file: numpy.load("vae.npz")["encoder_h.kernel"] is (784, hidden), float32. */
function weightsNpz(/** @type {Layers} */ layers) {
  const files = LAYERS.flatMap((name) => {
    const { kernel, bias } = layers[name];
    const rows = kernel.length / bias.length;
    return [[`${name}.kernel.npy`, npyBytes(kernel, [rows, bias.length])], [`${name}.bias.npy`, npyBytes(bias, [bias.length])]];
  });
  return zipBytes(/** @type {any} */ (files));
}

function npyBytes(/** @type {Float32Array} */ values, /** @type {number[]} */ shape) {
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
  const length = Math.ceil((11 + header.length) / 64) * 64;
  const bytes = new Uint8Array(length + values.byteLength);
  bytes.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, (length - 10) & 255, (length - 10) >> 8]);
  bytes.set(new TextEncoder().encode(`${header.padEnd(length - 11)}\n`), 10);
  bytes.set(new Uint8Array(values.slice().buffer), length);
  return bytes;
}

/** A .zip file of [name, bytes], not packed. */
function zipBytes(/** @type {[string, Uint8Array][]} */ files) {
  const parts = [];
  const directory = [];
  let place = 0;
  for (const [name, bytes] of files) {
    const letters = new TextEncoder().encode(name);
    // version, flags, method, time, date (1 January 1980), CRC, two sizes, two lengths
    const common = numbersOf([20, 2], [0, 2], [0, 2], [0, 2], [33, 2], [crc32(bytes), 4], [bytes.length, 4], [bytes.length, 4], [letters.length, 2], [0, 2]);
    parts.push(numbersOf([0x04034b50, 4]), common, letters, bytes);
    directory.push(numbersOf([0x02014b50, 4], [20, 2]), common, numbersOf([0, 4], [0, 2], [0, 4], [place, 4]), letters);
    place += 30 + letters.length + bytes.length;
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = numbersOf([0x06054b50, 4], [0, 4], [files.length, 2], [files.length, 2], [length, 4], [place, 4], [0, 2]);
  return joined([...parts, ...directory, end]);
}

/** Whole numbers [value, bytes] as little-endian bytes. */
function numbersOf(...numbers) {
  return Uint8Array.from(numbers.flatMap(([value, bytes]) => Array.from({ length: bytes }, (_, i) => (value >>> (8 * i)) & 255)));
}

function joined(/** @type {Uint8Array[]} */ parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    bytes.set(part, place);
    place += part.length;
  }
  return bytes;
}

function crc32(/** @type {Uint8Array} */ bytes) {
  let sum = ~0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let k = 0; k < 8; k++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}
