// needs: worker
"use strict";
// How numbers stand in the page: as base64 text, images packed by deflate. explorer/__init__.py writes the same.

/** The bytes of a base64 text as a typed array. */
function unpack(text, Type) {
  return new Type(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
}

function unpackLayers(layers) {
  const parts = ({ kernel, bias }) => ({ kernel: unpack(kernel, Float32Array), bias: unpack(bias, Float32Array) });
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
