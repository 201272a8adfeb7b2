// needs: model, drawing, own_images
"use strict";
// Strokes of a pen, brought to the form of MNIST's digits: 28 x 28 pixels, centred by weight.

const PAPER = 280; // the paper's own pixels, ten for each pixel of the image
const PEN = 2.4; // width of the pen in pixels of the image, about that of MNIST's digits
const FINE = 4; // the strokes are drawn so many times finer, then averaged

/**
 * Bring strokes, lists of [x, y] on the paper, to MNIST's form: scaled into a box of 20 x 20 and centred by their
 * centre of mass in 28 x 28. Returns a Float32Array of 784. With `upon`, a digit, they are added where they lie.
 */
function toMnistForm(strokes, upon = null) {
  const points = strokes.flat();
  if (points.length === 0) return upon ? Float32Array.from(upon) : new Float32Array(PIXELS);
  if (upon) {
    const ink = rasterise(strokes, ([x, y]) => [x / 10, y / 10]);
    return ink.map((value, i) => Math.max(value, upon[i]));
  }
  const [left, right] = [Math.min(...points.map((p) => p[0])), Math.max(...points.map((p) => p[0]))];
  const [top, bottom] = [Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1]))];
  const longest = Math.max(right - left, bottom - top);
  const scale = Math.min((20 - PEN) / Math.max(longest, 1), 0.25); // a dot stays a dot
  const place = (shift) => ([x, y]) => [
    14 + (x - (left + right) / 2) * scale + shift[0],
    14 + (y - (top + bottom) / 2) * scale + shift[1],
  ];
  const mass = centreOfMass(rasterise(strokes, place([0, 0])));
  return rasterise(strokes, place([14 - mass[0], 14 - mass[1]]));
}

const rasterCanvas = element("canvas", { width: 28 * FINE, height: 28 * FINE });

/** Draw strokes with the pen as an image of 28 x 28; place takes a point of the paper to the image. */
function rasterise(strokes, place) {
  const context = penOf(rasterCanvas, { willReadFrequently: true });
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, 28 * FINE, 28 * FINE);
  context.setTransform(FINE, 0, 0, FINE, 0, 0);
  traceStrokes(context, strokes.map((stroke) => stroke.map(place)), PEN);
  const { data } = context.getImageData(0, 0, 28 * FINE, 28 * FINE);
  const image = new Float32Array(PIXELS);
  for (let y = 0; y < 28 * FINE; y++) {
    for (let x = 0; x < 28 * FINE; x++) {
      const pixel = Math.floor(y / FINE) * 28 + Math.floor(x / FINE);
      image[pixel] += data[4 * (y * 28 * FINE + x) + 3] / (255 * FINE * FINE);
    }
  }
  return image;
}

function traceStrokes(context, strokes, width) {
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...stroke[0]);
    for (const point of stroke) context.lineTo(...point);
    context.stroke();
  }
}
