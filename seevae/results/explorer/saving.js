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

/** The weights as the bytes of an .npy file: numpy.load("vae.npy")["encoder_h.kernel"] is (784, hidden), float32. */
function weightsNpy(/** @type {Layers} */ layers) {
  const parts = LAYERS.flatMap((name) => {
    const { kernel, bias } = layers[name];
    return [[`${name}.kernel`, [kernel.length / bias.length, bias.length], kernel], [`${name}.bias`, [bias.length], bias]];
  });
  const fields = parts.map(([name, shape]) => `('${name}', '<f4', (${shape.join(", ")},))`);
  const header = `{'descr': [${fields.join(", ")}], 'fortran_order': False, 'shape': ()}`;
  const length = Math.ceil((11 + header.length) / 64) * 64;
  const start = Uint8Array.of(0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, (length - 10) & 255, (length - 10) >> 8);
  return new Blob([start, `${header.padEnd(length - 11)}\n`, ...parts.map(([, , values]) => values)]);
}
