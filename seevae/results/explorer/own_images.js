// needs: packing
"use strict";
// Images of one's own become 28 x 28 grey ones, by the rules of `--data` (seevae/images): a folder of pictures, perhaps one
// for each class; a .zip of such a folder; the arrays of an .npz or .npy file; IDX files. One picture alone becomes a digit
// in the form of MNIST's. Nothing here touches the page, so that all of it can run in a worker.

const SIDE = 28;
const WHITE = 255;
const FAINT = 32; // of 255: on white paper of so little contrast, nothing is to be seen
const MOST_CLASSES = 62;
const MOST_SHOWN = 1000; // held-out images, as in the page that vae_mnist.py writes
const LARGEST_PICTURE = 2 ** 26; // pixels
const MOST_BYTES = 2 ** 30; // of a file, unpacked
const PICTURES = /\.(png|jpe?g|bmp|gif|webp|avif|tiff?|p[gp]m)$/i;
const DATA = /(\.npz|\.npy|ubyte)(\.gz)?$/i;
const SPLITS = { train: "train", training: "train", test: "test", testing: "test", t10k: "test", val: "val", valid: "val", validation: "val", dev: "val", labeled: "train", labelled: "train", extra: "extra", unlabeled: "extra", unlabelled: "extra", unsup: "extra", unsupervised: "extra" };
const KINDS = { x: "images", image: "images", images: "images", img: "images", imgs: "images", data: "images", pixels: "images", y: "labels", label: "labels", labels: "labels", target: "labels", targets: "labels", class: "labels", classes: "labels" };

/** @typedef {{ path: string, blob: () => Promise<Blob> }} OwnFile a file, and where it lies: "digits/3/a.png" */
/** @typedef {{ shape: number[], values: any, kind: string }} OwnArray kind: as NumPy's, "b", "i", "u", "f" or "U" */

/** The files that were dropped, or picked: all files in a folder. To be called at once in the event's handler. */
async function listFiles(/** @type {any} */ given) {
  const found = [];
  const entries = [...(given.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) {
    return [...(given.files ?? given)].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
  }
  const read = (entry, method) => new Promise((done, fail) => entry[method](done, fail));
  const walk = async (entry) => {
    if (entry.isFile) return found.push({ path: entry.fullPath.slice(1), file: await read(entry, "file") });
    const reader = entry.createReader();
    for (let some; (some = await read(reader, "readEntries")).length; ) for (const one of some) await walk(one);
  };
  for (const entry of entries) await walk(entry);
  return found;
}

/**
 * Reads images in a worker. files: as listFiles gives them; progress(share, sentence); done({ kind: "images", name, images,
 * heldOut, labels, names, account }) or, for one picture, done({ kind: "digit", x, account }); fail(sentence).
 * Returns what stops it.
 */
function readOwnImages(files, progress, done, fail) {
  const take = (answer) => {
    if (answer.kind === "progress") return progress(answer.share, answer.sentence);
    worker.terminate();
    if (answer.kind === "refused") fail(answer.sentence);
    else done(answer);
  };
  const worker = startWorker("own_images", serveImages, take, fail);
  worker.postMessage(files);
  return worker.terminate;
}

/** What a worker does that reads images: takes the list of files, and posts the share that is done, and the images. */
function serveImages(post, breath) {
  return async (files) => {
    const told = async (share, sentence) => {
      post({ kind: "progress", share, sentence });
      await breath();
    };
    try {
      const all = files.map(({ path, file }) => ({ path, blob: async () => file }));
      post(await imagesOf(all, told));
    } catch (error) {
      post({ kind: "refused", sentence: error instanceof RangeError ? "These images do not fit into the memory of the browser: give it fewer." : error.message });
    }
  };
}

/** What files hold, as readOwnImages tells it. Throws an Error with a sentence. */
async function imagesOf(/** @type {OwnFile[]} */ files, told, name = nameOf(files)) {
  let inside = withoutRoot(files.filter(({ path }) => !/(^|\/)(\.|__MACOSX)/.test(path)));
  if (inside.length === 1 && /\.zip$/i.test(inside[0].path)) return imagesOf(await unzipped(inside[0]), told, name);
  const data = inside.filter(({ path }) => DATA.test(path) && !path.slice(0, -1).includes("/"));
  if (data.length) return fromArrays(await arraysOf(data), name, told);
  if (inside.length === 1 && PICTURES.test(inside[0].path)) return digitOf(inside[0]);
  return fromPictures(inside, name, told);
}

/** Files without the folders that hold all of them. */
function withoutRoot(files) {
  const roots = new Set(files.map(({ path }) => (path.includes("/") ? path.split("/")[0] : null)));
  if (roots.size !== 1 || roots.has(null)) return files;
  return withoutRoot(files.map(({ path, blob }) => ({ path: path.slice(path.indexOf("/") + 1), blob })));
}

/** What to call the images: their folder, or their file; several files without a folder have no name. */
function nameOf(files) {
  const roots = new Set(files.map(({ path }) => path.split("/")[0]));
  return roots.size === 1 ? [...roots][0].slice(0, 60) : `your ${counted(files.length, "file")}`;
}

const bytesOf = async (/** @type {OwnFile} */ file) => new Uint8Array(await (await file.blob()).arrayBuffer());

// -- Pictures ---------------------------------------------------------------------------------------------------------

/** The images of picture files, in parts and classes by their folders. */
async function fromPictures(files, name, told) {
  const first = ({ path }) => path.split("/")[0].toLowerCase();
  const parts = new Set(files.filter(({ path }) => path.includes("/")).map(first).filter((folder) => folder in SPLITS).map((folder) => SPLITS[folder]));
  const within = (part) => files.filter((file) => file.path.includes("/") && SPLITS[first(file)] === part).map(({ path, blob }) => ({ path: path.slice(path.indexOf("/") + 1), blob }));
  const said = new Set();
  for (const [part, words] of [["val", "the validation part"], ["extra", "an extra part"]]) if (parts.has("train") && parts.has(part)) said.add(`${words} left out`);
  const chosen = parts.has("train") ? [within("train"), ...(parts.has("test") ? [within("test")] : [])] : [files];
  const inClasses = chosen.map((part) => part.some(({ path }) => path.split("/").length === 2));
  const wanted = chosen.map((part, k) => part.filter(({ path }) => PICTURES.test(path) && path.split("/").length === (inClasses[k] ? 2 : 1)).sort((a, b) => inOrder(a.path, b.path)));
  const total = wanted.reduce((sum, part) => sum + part.length, 0);
  let [leftOut, read] = [chosen.reduce((sum, part) => sum + part.length, 0) - total, 0];
  const pairs = [];
  for (const part of wanted) {
    const [images, labels] = [new Uint8Array(part.length * PIXELS), []];
    for (const file of part) {
      const picture = await readPicture(file);
      if (++read % 20 === 0) await told(read / total, `${read.toLocaleString("en")} of ${counted(total, "picture")} read`);
      if (!picture) {
        leftOut++;
        continue;
      }
      images.set(picture.image, labels.length * PIXELS);
      labels.push(file.path.includes("/") ? file.path.split("/")[0] : null);
      picture.said.forEach((words) => said.add(words));
    }
    pairs.push({ images: images.slice(0, labels.length * PIXELS), labels: labels[0] == null ? null : labels });
  }
  if (!pairs[0].images.length) {
    const some = files.slice(0, 8).map(({ path }) => path.split("/")[0]);
    throw new Error(`“${name}” holds no picture that this browser can read and no .npz or IDX file, but ${[...new Set(some)].join(", ") || "nothing"}: give another one.`);
  }
  const pictures = chosen.flat().filter(({ path }) => PICTURES.test(path)).length;
  const lost = pairs.reduce((rest, { images }) => rest - images.length / PIXELS, pictures);
  if (lost > pictures / 10) throw new Error(`More than a tenth of “${name}” would be left out: ${lost} of ${pictures} pictures cannot be read, or lie in other folders than the rest. Mend them, or move them away.`);
  if (leftOut) said.add(`${counted(leftOut, "file")} left out that ${leftOut > 1 ? "are" : "is"} no picture`);
  return dataset(name, pairs, [...said]);
}

/** "2" before "10", as people count. */
function inOrder(a, b) {
  return a.localeCompare(b, "en", { numeric: true });
}

/** A picture file as { image: 28 x 28 bytes in which ink is bright, said }, or null if it is none that can be read. */
async function readPicture(/** @type {OwnFile} */ file) {
  const grey = await greyPicture(file);
  if (!grey) return null;
  const { width, height, said } = grey;
  let image = small(grey);
  const rim = rimOf({ values: image, width: SIDE, height: SIDE });
  if (2 * rim.filter((value) => value > WHITE >> 1).length > rim.length) {
    image = image.map((value) => WHITE - value);
    said.push("dark on light inverted");
  }
  if (width !== SIDE || height !== SIDE) said.push("pictures of other sizes made 28 x 28");
  return { image, said };
}

/** A picture file as { values: a byte for each pixel, width, height, said }, on white paper, or on black where nothing is to be seen on white; or null. */
async function greyPicture(/** @type {OwnFile} */ file) {
  if (typeof createImageBitmap === "undefined" || typeof OffscreenCanvas === "undefined") {
    throw new Error("This browser reads no pictures here: use a newer one, or give an .npz file.");
  }
  const as = { premultiplyAlpha: "none", colorSpaceConversion: "none" };
  const picture = await createImageBitmap(await file.blob(), /** @type {any} */ (as)).catch(() => null);
  if (!picture) return null;
  const { width, height } = picture;
  if (width * height > LARGEST_PICTURE) return null;
  const strip = Math.max(1, Math.min(height, Math.floor(2 ** 20 / width))); // rows at a time: a photo of 12 megapixels has 48 MB
  const context = /** @type {any} */ (new OffscreenCanvas(width, strip).getContext("2d", { willReadFrequently: true }));
  if (!context) throw new Error("The browser gives no canvas to read pictures with: give an .npz file.");
  const [values, alphas] = [new Uint8Array(width * height), new Uint8Array(width * height)];
  let [coloured, clear] = [false, false];
  for (let top = 0; top < height; top += strip) {
    const rows = Math.min(strip, height - top);
    context.clearRect(0, 0, width, strip);
    context.drawImage(picture, 0, -top);
    const { data } = context.getImageData(0, 0, width, rows);
    for (let k = 0, i = top * width; k < data.length; k += 4, i++) {
      const [red, green, blue, alpha] = [data[k], data[k + 1], data[k + 2], data[k + 3]];
      if (alpha !== WHITE) clear = true;
      if (alpha && (red !== green || green !== blue)) coloured = true;
      [values[i], alphas[i]] = [brightness(red, green, blue), alpha];
    }
  }
  picture.close();
  const on = (paper) => values.map((value, i) => Math.round((value * alphas[i] + paper * (WHITE - alphas[i])) / WHITE));
  const seen = (image) => image.reduce((most, value) => Math.max(most, value), 0) - image.reduce((least, value) => Math.min(least, value), WHITE) >= FAINT;
  const black = clear && !seen(on(WHITE)) && seen(on(0));
  const told = clear ? [`transparent places made ${black ? "black" : "white"}`] : [];
  return { values: clear ? on(black ? 0 : WHITE) : values, width, height, said: coloured ? [...told, "colour made grey"] : told };
}

/** ITU-R 601, as Pillow rounds it. */
function brightness(red, green, blue) {
  return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
}

/** The grey values of the four edges of an image. */
function rimOf({ values, width, height }) {
  const rim = [];
  for (let x = 0; x < width; x++) rim.push(values[x], values[(height - 1) * width + x]);
  for (let y = 0; y < height; y++) rim.push(values[y * width], values[y * width + width - 1]);
  return rim;
}

/** The grey value that most of the rim of an image has: the median of its four edges. */
function paperOf(picture) {
  const rim = rimOf(picture).sort((a, b) => a - b);
  return (rim[rim.length / 2 - 1] + rim[rim.length / 2]) >> 1;
}

/** An image as one of 28 x 28, averaged over areas, and centred on paper if it is not square */
function small(picture) {
  const { values, width, height } = picture;
  if (width === SIDE && height === SIDE) return values;
  const longest = Math.max(width, height);
  const [wide, tall] = [width, height].map((side) => Math.max(1, roundToEven((side / longest) * SIDE)));
  const shrunk = resized(picture, wide, tall, longest <= SIDE);
  return onPaper(shrunk, paperOf(picture), roundToEven((SIDE - wide) / 2), roundToEven((SIDE - tall) / 2));
}

/** Python's round(): a half goes to the even side. */
function roundToEven(value) {
  return value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value);
}

/** An image laid on 28 x 28 of paper, its corner at (left, top); what stands out is cut off. */
function onPaper({ values, width, height }, paper, left, top) {
  const image = new Uint8Array(PIXELS).fill(paper);
  for (let y = Math.max(0, -top); y < height && y + top < SIDE; y++) {
    for (let x = Math.max(0, -left); x < width && x + left < SIDE; x++) image[(y + top) * SIDE + x + left] = values[y * width + x];
  }
  return image;
}

/** An image in another size, as Pillow's BOX (averages over areas) or, smooth, BILINEAR makes it; first across, then along. */
function resized({ values, width, height }, wide, tall, smooth = false) {
  const across = new Uint8Array(wide * height);
  const result = new Uint8Array(wide * tall);
  resizeLines(values, width, across, wide, height, width, 1, wide, 1, smooth);
  resizeLines(across, height, result, tall, wide, 1, wide, 1, wide, smooth);
  return { values: result, width: wide, height: tall };
}

/** Lines of `length` pixels `step` apart become lines of `count` pixels; lines lie `stride` apart. */
function resizeLines(from, length, to, count, lines, stride, step, toStride, toStep, smooth) {
  const scale = length / count;
  const wider = Math.max(1, scale);
  const support = (smooth ? 1 : 0.5) * wider;
  for (let k = 0; k < count; k++) {
    const centre = (k + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - support + 0.5));
    const last = Math.min(length, Math.floor(centre + support + 0.5));
    const weights = Array.from({ length: last - first }, (_, i) => {
      const place = (i + first - centre + 0.5) / wider;
      return smooth ? Math.max(0, 1 - Math.abs(place)) : Number(place > -0.5 && place <= 0.5);
    });
    const sum = weights.reduce((total, weight) => total + weight, 0);
    for (let line = 0; line < lines; line++) {
      let value = 0;
      for (let i = 0; i < weights.length; i++) value += weights[i] * from[line * stride + (first + i) * step];
      to[line * toStride + k * toStep] = Math.round(value / sum);
    }
  }
}

// -- One drawn digit --------------------------------------------------------------------------------------------------

const WORKING = 160; // pixels of the longer side in which a digit is looked for
const STROKE = 2; // pixels of the image that a stroke is wide, at least: MNIST's have 2 to 3

/** One picture as a digit in MNIST's form; see freedDigit. */
async function digitOf(/** @type {OwnFile} */ file) {
  const picture = await greyPicture(file);
  const name = file.path.split("/").at(-1);
  if (!picture) throw new Error(`“${name}” is no picture that this browser can read, or it is larger than 67 megapixels: give a PNG or JPEG.`);
  const x = freedDigit(picture);
  if (!x) throw new Error(`There is nothing drawn in “${name}”: its grey values are all alike.`);
  return { kind: "digit", x: grey(x), name, account: [`“${name}”: cropped, centred, and freed of its ground, as MNIST's digits are.`] };
}

/**
 * A drawn digit { values, width, height } as MNIST's are: the ground taken off, however unevenly lit; cropped; the longer
 * side made 20 pixels; centred by its mass in 28 x 28. Bytes, ink bright; null where nothing stands out from the ground.
 */
function freedDigit(picture) {
  const scale = Math.min(1, WORKING / Math.max(picture.width, picture.height));
  const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * scale)));
  const at = resized(picture, width, height, scale === 1);
  const dark = paperOf(at) > WHITE >> 1;
  const ink = Float32Array.from(at.values, (value) => (dark ? WHITE - value : value));
  // The ground: what is left when all that is narrower than a third of the picture is taken off (an opening).
  const reach = Math.ceil(Math.max(width, height) / 6);
  const ground = extremes(extremes(ink, width, height, reach, Math.min), width, height, reach, Math.max);
  for (let i = 0; i < ink.length; i++) ink[i] -= ground[i];
  const most = [...ink].sort((a, b) => a - b)[Math.floor(0.995 * (ink.length - 1))];
  if (most < 12) return null;
  let clear = ink.map((value) => Math.min(1, Math.max(0, (value / most - 0.2) / 0.6)));
  let box = boxOf(clear, width, height);
  const unit = Math.max(box.width, box.height) / 20; // a pixel of the image
  const thin = (STROKE * unit - strokeWidth(clear, width, height)) / 2;
  if (thin > 0.5) {
    clear = extremes(clear, width, height, Math.round(thin), Math.max);
    box = boxOf(clear, width, height);
  }
  const cut = new Uint8Array(box.width * box.height);
  for (let y = 0; y < box.height; y++) {
    for (let x = 0; x < box.width; x++) cut[y * box.width + x] = Math.round(WHITE * clear[(y + box.top) * width + x + box.left]);
  }
  const longest = Math.max(box.width, box.height);
  const [wide, tall] = [box.width, box.height].map((side) => Math.max(1, Math.round((side / longest) * 20)));
  const shrunk = resized({ values: cut, ...box }, wide, tall, longest < 20);
  const [x, y] = centreOfMass(shrunk.values, wide);
  const place = (centre, size) => Math.min(SIDE - size, Math.max(0, Math.round(SIDE / 2 - centre)));
  return onPaper(shrunk, 0, place(x, wide), place(y, tall));
}

/** The centre of mass of an image, in its pixels; the middle of the first pixel is at 0.5. */
function centreOfMass(image, width = SIDE) {
  let [mass, x, y] = [0, 0, 0];
  image.forEach((ink, i) => {
    mass += ink;
    x += ink * ((i % width) + 0.5);
    y += ink * (Math.floor(i / width) + 0.5);
  });
  return [x / mass, y / mass];
}

/** The smallest or largest value within `reach` pixels across and along, at each place. */
function extremes(values, width, height, reach, choose) {
  const along = (from, length, step, lines, stride) => {
    const to = new Float32Array(from.length);
    for (let line = 0; line < lines; line++) {
      for (let k = 0; k < length; k++) {
        let best = from[line * stride + k * step];
        for (let i = Math.max(0, k - reach); i <= Math.min(length - 1, k + reach); i++) best = choose(best, from[line * stride + i * step]);
        to[line * stride + k * step] = best;
      }
    }
    return to;
  };
  return along(along(values, width, 1, height, width), height, width, width, 1);
}

/** The box around all ink of at least a third. */
function boxOf(ink, width, height) {
  let [left, right, top, bottom] = [width, 0, height, 0];
  ink.forEach((value, i) => {
    if (value < 0.33) return;
    const [x, y] = [i % width, Math.floor(i / width)];
    [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
  });
  return { left, top, width: right - left + 1, height: bottom - top + 1 };
}

/** How wide strokes are: a long stroke has twice its area over its rim. */
function strokeWidth(ink, width, height) {
  const is = (x, y) => x >= 0 && y >= 0 && x < width && y < height && ink[y * width + x] >= 0.5;
  let [area, rim] = [0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!is(x, y)) continue;
      area++;
      rim += [is(x - 1, y), is(x + 1, y), is(x, y - 1), is(x, y + 1)].filter((inside) => !inside).length;
    }
  }
  return (2 * area) / Math.max(1, rim);
}

// -- Arrays -----------------------------------------------------------------------------------------------------------

/** The arrays of data files, { name: OwnArray }. */
async function arraysOf(/** @type {OwnFile[]} */ files) {
  const arrays = /** @type {{ [name: string]: OwnArray }} */ ({});
  for (const file of files) {
    const name = file.path.replace(/\.gz$/i, "");
    let bytes = await bytesOf(file);
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) bytes = await inflated(bytes, "gzip").catch(() => damaged(file.path));
    const start = String.fromCharCode(...bytes.subarray(0, 4));
    if (start === "PK\x03\x04") {
      const members = (await unzipped({ path: name, blob: async () => new Blob([bytes]) })).filter(({ path }) => /\.npy$/.test(path));
      for (const member of members) {
        const key = member.path.slice(0, -4);
        arrays[members.length === 1 && files.length > 1 ? name : key] = npyArray(await bytesOf(member), key);
      }
    } else if (start === "\x93NUM") arrays[name] = npyArray(bytes, name);
    else if (start.slice(0, 3) === "\0\0\x08") arrays[name] = idxArray(bytes, name);
    else damaged(file.path);
  }
  return arrays;
}

/** @returns {never} */
function damaged(path) {
  throw new Error(`“${path}” is damaged, or is no .npz, .npy, .zip or IDX file: give another one.`);
}

/** The files in a .zip file. */
async function unzipped(/** @type {OwnFile} */ file) {
  const bytes = await bytesOf(file);
  const view = new DataView(bytes.buffer);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) damaged(file.path);
  const files = [];
  let place = view.getUint32(end + 16, true);
  for (let k = view.getUint16(end + 10, true); k > 0; k--) {
    if (place + 46 > bytes.length || view.getUint32(place, true) !== 0x02014b50) damaged(file.path);
    const [method, packed, size] = [view.getUint16(place + 10, true), view.getUint32(place + 20, true), view.getUint32(place + 24, true)];
    const [nameLength, extra, comment] = [28, 30, 32].map((at) => view.getUint16(place + at, true));
    const path = new TextDecoder().decode(bytes.subarray(place + 46, place + 46 + nameLength));
    const local = view.getUint32(place + 42, true);
    const blob = async () => {
      if (size > MOST_BYTES) throw new Error(`“${path}” in “${file.path}” has more than a gigabyte: give a smaller file.`);
      if (local + 30 > bytes.length) damaged(file.path);
      const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
      const inside = bytes.subarray(start, start + packed);
      if (method !== 0 && method !== 8) throw new Error(`“${path}” in “${file.path}” is packed in a way that is not read here: use an ordinary .zip.`);
      return new Blob([method === 8 ? await inflated(inside, "deflate-raw").catch(() => damaged(file.path)) : inside]);
    };
    if (!path.endsWith("/")) files.push({ path, blob });
    place += 46 + nameLength + extra + comment;
  }
  return files;
}

const NUMBERS = {
  b1: Uint8Array, u1: Uint8Array, i1: Int8Array, u2: Uint16Array, i2: Int16Array, u4: Uint32Array, i4: Int32Array,
  u8: BigUint64Array, i8: BigInt64Array, f4: Float32Array, f8: Float64Array,
};

/** The array in the bytes of an .npy file. */
function npyArray(/** @type {Uint8Array} */ bytes, name) {
  const wide = bytes[6] > 1;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const start = (wide ? 12 + view.getUint32(8, true) : 10 + view.getUint16(8, true));
  const header = new TextDecoder("latin1").decode(bytes.subarray(wide ? 12 : 10, start));
  const [, order, type] = /'descr': *'([<|=>])(\w+)'/.exec(header) ?? [];
  const shape = (/'shape': *\(([^)]*)\)/.exec(header)?.[1] ?? "").split(",").map(Number).filter((_, i, all) => i < all.length - 1 || all[i]);
  const count = shape.reduce((product, side) => product * side, 1);
  const refuse = (what) => {
    throw new Error(`The array “${name}” ${what}: save it anew with numpy.savez.`);
  };
  if (/'fortran_order': *True/.test(header)) refuse("is kept column after column");
  if (type?.[0] === "U" && order === "<") {
    const width = Number(type.slice(1));
    const points = new Uint32Array(bytes.slice(start, start + 4 * width * count).buffer);
    const text = (i) => String.fromCodePoint(...points.subarray(i * width, (i + 1) * width).filter(Boolean));
    return { shape, values: Array.from({ length: count }, (_, i) => text(i)), kind: "U" };
  }
  const Type = NUMBERS[type];
  if (!Type || (order === ">" && Type.BYTES_PER_ELEMENT > 1)) refuse(`holds ${order ?? ""}${type ?? "objects"}, no plain numbers`);
  const size = count * Type.BYTES_PER_ELEMENT;
  if (bytes.length < start + size) refuse("is cut off");
  const values = Type === Uint8Array ? bytes.subarray(start, start + size) : new Type(bytes.slice(start, start + size).buffer);
  const big = Type === BigInt64Array || Type === BigUint64Array;
  return { shape, values: big ? Float64Array.from(values, Number) : values, kind: type[0] };
}

/** The array in the bytes of an IDX file. */
function idxArray(/** @type {Uint8Array} */ bytes, name) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const shape = Array.from({ length: bytes[3] }, (_, i) => view.getUint32(4 + 4 * i));
  const start = 4 + 4 * shape.length;
  const size = shape.reduce((product, side) => product * side, 1);
  if (bytes.length < start + size) damaged(name);
  return { shape, values: bytes.subarray(start, start + size), kind: "u" };
}

/** What a name says of an array: { set, part, kind }, of which part and kind may be undefined. */
function roleOf(name) {
  const words = name.replace(/[-.]idx\d-ubyte|\.(npz|npy)$/g, "").match(/[A-Z]?[a-z0-9]+|[A-Z]+/g) ?? [];
  const known = (table) => words.map((word) => table[word.toLowerCase()]).find(Boolean);
  const rest = words.filter((word) => !(word.toLowerCase() in SPLITS) && !(word.toLowerCase() in KINDS));
  return { set: rest.join("-"), part: known(SPLITS), kind: known(KINDS) };
}

/** Whether an array may hold images: (n, height * width), with or without a channel. */
function isImages({ shape, kind }) {
  if (kind === "U" || shape.length < 2 || shape.length > 4) return false;
  if (shape.length === 2) return shape[1] >= 16 && Math.sqrt(shape[1]) % 1 === 0;
  if (shape.length === 3) return ![3, 4].includes(shape[2]) || shape[1] === shape[2]; // else it is one picture in colour
  return [1, 3, 4].includes(shape[3]) || [1, 3].includes(shape[1]);
}

/** The data set in named arrays: which of them are images and labels, to train with and to test. */
async function fromArrays(/** @type {{ [name: string]: OwnArray }} */ arrays, name, told) {
  const roles = Object.entries(arrays).map(([key, array]) => ({ key, array, ...roleOf(key) }));
  let images = roles.filter(({ kind, array }) => kind === "images" && isImages(array));
  if (!roles.some(({ kind }) => kind === "images")) images = roles.filter(({ kind, array }) => !kind && isImages(array));
  const holds = `“${name}” holds ${roles.slice(0, 12).map(({ key, array }) => `${key} (${array.shape.join(", ")})`).join(", ") || "no arrays"}`;
  if (!images.length) throw new Error(`${holds}: images are numbers in an array (n, 28, 28), such as x_train.`);
  const sets = new Set(images.map(({ set }) => set));
  if (sets.size > 1) throw new Error(`${holds}: it cannot be told which of ${[...sets].join(", ")} to take; give one alone.`);
  const labels = roles.filter(({ kind, array, set }) => kind === "labels" && array.shape.length <= 2 && sets.has(set));
  const pairs = [];
  for (const part of ["train", "test"]) {
    const of = (list) => list.find((role) => (role.part ?? "train") === part);
    if (!of(images)) continue;
    const { array, key } = of(images);
    const fit = labels.filter((one) => one.array.shape[0] === array.shape[0]); // before the names of the classes
    pairs.push({ key, array, labels: (of(fit) ?? of(labels))?.array ?? (key === "arr_0" ? arrays.arr_1 : null) });
  }
  if (!pairs.length) throw new Error(`${holds}, and no part to train with.`);
  const turned = [...sets].some((set) => set.startsWith("emnist")); // its authors wrote the columns first
  const said = new Set(turned ? ["EMNIST's transposed images turned"] : []);
  const level = greyLevels(pairs, name);
  said.add(level.said);
  const total = pairs.reduce((sum, { array }) => sum + array.shape[0], 0);
  const converted = [];
  let read = 0;
  for (const { array, labels: named } of pairs) {
    const { count, height, width, channels, first } = shapeOf(array, name);
    const all = new Uint8Array(count * PIXELS);
    if (channels > 1) said.add("colour made grey");
    if (height !== SIDE || width !== SIDE) said.add(`${height} x ${width} made 28 x 28`);
    const plain = height === SIDE && width === SIDE && channels === 1 && array.kind === "u" && level.byte(200) === 200;
    const picture = { values: new Uint8Array(height * width), width, height };
    for (let n = 0; n < count; n++) {
      if (++read % 500 === 0) await told(read / total, `${read.toLocaleString("en")} of ${counted(total, "image")} read`);
      const start = n * height * width * channels;
      if (plain && !turned) {
        all.set(array.values.subarray(start, start + PIXELS), n * PIXELS);
        continue;
      }
      for (let i = 0; i < picture.values.length; i++) {
        const at = (c) => level.byte(array.values[start + (first ? c * height * width + i : i * channels + c)]);
        picture.values[i] = channels >= 3 ? brightness(at(0), at(1), at(2)) : at(0);
      }
      const image = small(picture);
      for (let i = 0; i < PIXELS; i++) all[n * PIXELS + i] = image[turned ? (i % SIDE) * SIDE + Math.floor(i / SIDE) : i];
    }
    converted.push({ images: all, labels: named ? flatLabels(named, count, name) : null });
  }
  return dataset(name, converted, [...said].filter(Boolean));
}

/** How an array of images lies: (n, height, width), with channels last or, `first`, before the height. */
function shapeOf({ shape }, name) {
  const [count, ...rest] = shape;
  if (!count) throw new Error(`“${name}” has a part without images: give it at least one.`);
  const side = Math.sqrt(rest[0]);
  if (rest.length === 1) return { count, height: side, width: side, channels: 1, first: false };
  if (rest.length === 2) return { count, height: rest[0], width: rest[1], channels: 1, first: false };
  if ([1, 3, 4].includes(rest[2])) return { count, height: rest[0], width: rest[1], channels: rest[2], first: false };
  return { count, height: rest[1], width: rest[2], channels: rest[0], first: true };
}

/** How numbers become grey values: { byte, said }. Throws for what can be read in more than one way, or in none. */
function greyLevels(/** @type {{ key: string, array: OwnArray }[]} */ parts, name) {
  const ranges = parts.map(({ key, array: { values, kind, shape } }) => {
    let [low, high, whole] = [Infinity, -Infinity, true];
    const strange = new Set(); // the images that hold NaN, or infinite values
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (value < low) low = value;
      if (value > high) high = value;
      if (kind !== "f") continue;
      if (!Number.isFinite(value)) strange.add(Math.floor((i * shape[0]) / values.length));
      else if (value % 1 !== 0) whole = false;
    }
    if (strange.size) throw new Error(`${strange.size} of ${counted(shape[0], "image")} of “${name}” hold NaN or infinite values, the first ${key}[${[...strange][0]}]: replace them by numbers from 0 to 1.`);
    return { key, low, high, whole };
  });
  const [low, high] = [Math.min(...ranges.map((one) => one.low)), Math.max(...ranges.map((one) => one.high))];
  const whole = ranges.every((one) => one.whole);
  const range = `The images of “${name}” have values from ${low.toPrecision(4)} to ${high.toPrecision(4)}`;
  const little = ranges.find((one) => one.high <= 1 && one.low < one.high);
  if (little && high > 1) throw new Error(`${range}, and those of ${little.key} from ${little.low.toPrecision(4)} to ${little.high.toPrecision(4)}: give all one scale.`);
  if (low < 0) throw new Error(`${range}, which have two readings: if they go from -1 to 1, take x = (x + 1) / 2; if a mean was taken off and a deviation divided out, x = x * deviation + mean.`);
  if (high === 0) throw new Error(`The images of “${name}” hold nothing but 0: they are empty.`);
  if (high > 255 || (high > 1 && !whole)) throw new Error(`${range}: scale them with x = x / ${high.toPrecision(6)}.`);
  if (high <= 1) return { byte: (value) => Math.round(WHITE * value), said: whole ? "0 and 1 made 0 and 255" : "numbers from 0 to 1 made 256 grey values" };
  return { byte: (value) => value, said: high < 64 ? `the largest value is ${high} of 255: they may want a scale` : "" };
}

/** Labels as a list of numbers or texts, one for each image. */
function flatLabels(/** @type {OwnArray} */ { shape, values }, count, name) {
  let list = [...values];
  if (shape.length === 2 && shape[1] > 1 && shape[0] > 1) { // one-hot
    list = Array.from({ length: shape[0] }, (_, i) => list.slice(i * shape[1], (i + 1) * shape[1]).indexOf(1));
  }
  if (list.length !== count) throw new Error(`There are ${counted(list.length, "label")} for ${counted(count, "image")} in “${name}”: give one label for each.`);
  return list;
}

// -- The data set -----------------------------------------------------------------------------------------------------

/** pairs: { images (bytes), labels (a list, or null) } to train with, and perhaps to test; said: what was done, in words. */
function dataset(name, pairs, said) {
  if (pairs.some(({ labels }) => !labels)) {
    if (pairs.some(({ labels }) => labels)) said.push("labels of one part alone left out");
    for (const pair of pairs) pair.labels = null;
  }
  const values = [...new Set(pairs.flatMap(({ labels }) => labels ?? []))];
  values.sort((a, b) => (typeof a === "number" ? a - b : inOrder(String(a), String(b))));
  if (values.length > MOST_CLASSES) throw new Error(`The labels of “${name}” are ${values.length} classes: give ${MOST_CLASSES} at most, or none.`);
  const place = new Map(values.map((value, k) => [value, k]));
  const numbered = pairs.map(({ images, labels }) => ({ images, labels: Uint8Array.from({ length: images.length / PIXELS }, (_, i) => (labels ? place.get(labels[i]) : 0)) }));
  if (!values.length) said.push("no labels: one colour");
  if (numbered.length === 1) numbered.splice(0, 1, ...holdOut(numbered[0], name, said));
  const [train, test] = numbered;
  const sizes = [train, test].map(({ labels }) => labels.length);
  const known = new Set(marksOf(train));
  const twice = marksOf(test).filter((mark) => known.has(mark)).length;
  if (twice > sizes[1] / 10) said.push(`${twice.toLocaleString("en")} of the ${counted(sizes[1], "held-out image")} train, too`);
  if (sizes[1] > MOST_SHOWN) said.push(`of the held-out images ${MOST_SHOWN.toLocaleString("en")} are shown, drawn by lot`);
  const classes = values.length ? `, ${counted(values.length, "class", "classes")}` : "";
  const account = [`“${name}”: ${counted(sizes[0], "image")} to learn from, ${sizes[1].toLocaleString("en")} held out${classes}.`];
  if (said.length) account.push(`On the way: ${said.join("; ")}.`);
  const names = values.map((value) => String(value).slice(0, 40));
  return { kind: "images", name, images: train.images, heldOut: test.images, labels: test.labels, names, account };
}

/** A number for each image by which it is known again (FNV-1a). */
function marksOf({ images, labels }) {
  const mark = (image) => image.reduce((sum, value) => Math.imul(sum ^ value, 16777619), 2166136261);
  return Array.from(labels, (_, k) => mark(images.subarray(k * PIXELS, (k + 1) * PIXELS)));
}

/** Holds out a sixth of the images, 10,000 at most, drawn by a fixed seed. */
function holdOut(all, name, said) {
  const count = all.labels.length;
  if (count < 2) throw new Error(`“${name}” holds one image, and there is nothing to learn from one: give more.`);
  const heldOut = Math.min(10_000, Math.max(1, Math.floor(count / 6)));
  const order = mixed(count);
  said.push(`no held-out part: ${heldOut.toLocaleString("en")} of ${count.toLocaleString("en")} held out`);
  return [partOf(all, order.subarray(heldOut).sort()), partOf(all, order.subarray(0, heldOut).sort())];
}

/** The numbers from 0 to count - 1 in an order that is drawn by a fixed seed. */
function mixed(count) {
  let state = 1;
  const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  return shuffle(new Uint32Array(count).map((_, i) => i), random);
}

/** The images at some places, with their labels. */
function partOf({ images, labels }, places) {
  const part = { images: new Uint8Array(places.length * PIXELS), labels: new Uint8Array(places.length) };
  places.forEach((from, to) => {
    part.images.set(images.subarray(from * PIXELS, (from + 1) * PIXELS), to * PIXELS);
    part.labels[to] = labels[from];
  });
  return part;
}

/** Up to 24 held-out images of each class, to pick from: [{ label, image }]. */
function picksOf(/** @type {Uint8Array} */ heldOut, /** @type {ArrayLike<number>} */ labels, most = 24) {
  const taken = new Map();
  return Array.from(labels).flatMap((label, k) => {
    taken.set(label, (taken.get(label) ?? 0) + 1);
    return taken.get(label) > most ? [] : [{ label, image: grey(heldOut.subarray(k * PIXELS, (k + 1) * PIXELS)) }];
  }).sort((a, b) => a.label - b.label);
}
