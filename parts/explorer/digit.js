"use strict";
// Panel "Your digit": paper to paint on, and held-out digits to pick.

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

/** The centre of mass of an image, in its pixels; the middle of the first pixel is at 0.5. */
function centreOfMass(image) {
  let [sum, x, y] = [0, 0, 0];
  image.forEach((ink, i) => {
    sum += ink;
    x += ink * ((i % 28) + 0.5);
    y += ink * (Math.floor(i / 28) + 0.5);
  });
  return [x / sum, y / sum];
}

const rasterCanvas = element("canvas", { width: 28 * FINE, height: 28 * FINE });

/** Draw strokes with the pen as an image of 28 x 28; place takes a point of the paper to the image. */
function rasterise(strokes, place) {
  const context = rasterCanvas.getContext("2d", { willReadFrequently: true });
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

function digitPanel(app) {
  const paper = byId("paper");
  const pen = { at: [PAPER / 2, PAPER / 2], down: false, shown: false }; // the pen of the keyboard
  let strokes = [];
  let picked = null;
  const background = digitCanvas();

  const show = () => {
    if (strokes.length || !picked) app.shownPick = null;
    if (strokes.length) markPicked(null); // what is painted is no longer the digit that was picked, nor of its class
    app.setDigit(toMnistForm(strokes, picked));
  };
  const clear = () => {
    [strokes, picked] = [[], null];
    markPicked(null);
    show();
  };

  const at = (event) => {
    const box = paper.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top].map((value) => (value / box.width) * PAPER);
  };
  paper.addEventListener("pointerdown", (event) => {
    paper.setPointerCapture(event.pointerId);
    pen.shown = false;
    strokes.push([at(event)]);
    show();
  });
  paper.addEventListener("pointermove", (event) => {
    if (!paper.hasPointerCapture(event.pointerId)) return;
    for (const part of event.getCoalescedEvents?.() ?? [event]) strokes.at(-1).push(at(part));
    show();
  });
  paper.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-8, 0], ArrowRight: [8, 0], ArrowUp: [0, -8], ArrowDown: [0, 8] }[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    pen.shown = true;
    if (move) pen.at = pen.at.map((value, i) => Math.min(PAPER - 10, Math.max(10, value + move[i])));
    else pen.down = !pen.down;
    if (pen.down && event.key === " ") strokes.push([pen.at]);
    else if (pen.down) strokes.at(-1).push(pen.at);
    show();
  });
  byId("undo").addEventListener("click", () => {
    strokes.pop();
    pen.down = false;
    show();
  });
  byId("clear").addEventListener("click", clear);

  // Picking: a button for each class, and under them the digits of the class that is chosen.
  const shelf = byId("pick-digit");
  let thumbnails = [];
  const classes = byId("pick-class");
  let open = null; // the class whose digits are on the shelf
  const markPicked = (button) => {
    for (const other of shelf.children) other.ariaPressed = String(other === button);
    for (const other of classes.children) other.ariaPressed = String(button !== null && other.textContent === app.names[open]);
  };
  const openClass = (label) => {
    open = label;
    for (const button of classes.children) button.ariaPressed = String(button.textContent === app.names[label]);
    const picks = app.picks.filter((pick) => pick.label === label);
    thumbnails = picks.map(({ image }) => ({ image, canvas: digitCanvas() }));
    const buttons = thumbnails.map(({ image, canvas }, place) => {
      drawDigit(canvas, image);
      const button = element("button", { ariaLabel: `Held-out ${app.names[label]}, number ${place + 1}`, ariaPressed: "false" }, canvas);
      button.addEventListener("click", () => {
        [strokes, picked] = [[], image];
        app.shownPick = picks[place];
        markPicked(button);
        show();
      });
      return button;
    });
    shelf.replaceChildren(...buttons);
    oneStop(shelf);
  };
  for (const label of app.classes.length > 1 ? app.classes : []) {
    const button = element("button", {}, app.names[label]);
    button.addEventListener("click", () => openClass(label));
    classes.append(button);
  }
  oneStop(classes);
  app.pick = (pick) => {
    openClass(pick.label);
    const button = shelf.children[app.picks.filter(({ label }) => label === pick.label).indexOf(pick)];
    shelf.scrollLeft = button.offsetLeft - shelf.offsetLeft - shelf.clientWidth / 2; // so that it is seen
    button.click();
  };
  const sevens = app.picks.filter(({ label }) => label === 7);
  const first = sevens.length ? sevens : app.picks;
  app.pick(first[Math.floor(0.6 * first.length)]); // not too good a fit, so that there is a gap to see

  return {
    draw(topics) {
      if (topics.has("theme")) for (const { canvas, image } of thumbnails) drawDigit(canvas, image);
      if (!topics.has("digit") && !topics.has("theme")) return;
      const context = paper.getContext("2d");
      context.fillStyle = themeColour("card");
      context.fillRect(0, 0, PAPER, PAPER);
      if (picked) {
        context.imageSmoothingEnabled = false;
        drawDigit(background, picked);
        context.drawImage(background, 0, 0, PAPER, PAPER);
      }
      byId("undo").disabled = strokes.length === 0;
      byId("paper-caption").textContent = worded(picked ? "a held-out digit; paint on it" : "your strokes");
      context.strokeStyle = themeColour("ink");
      traceStrokes(context, strokes, picked ? PEN * 10 : 18);
      if (pen.shown) {
        context.fillStyle = themeColour(pen.down ? "mine" : "encoder");
        context.fillRect(pen.at[0] - 6, pen.at[1] - 6, 12, 12);
      }
      drawDigit(byId("seen"), app.digit.x);
      const { mean, logVar } = app.digit.q;
      byId("q-numbers").textContent =
        mean.length > 3
          ? `${mean.length} means and variances`
          : `z_mean ${formattedCode(mean)}, z_log_var ${formattedCode(logVar)}`;
    },
  };
}
