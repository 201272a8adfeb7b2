// needs: model
"use strict";
// Small helpers to draw with: the theme's colours, digits, ellipses, and elements of the page.

const byId = (id) => document.getElementById(id);

let thing = "digit"; // what the images show, as the page is told

/** A text about digits, in words that suit the images of this page. */
function worded(text) {
  if (thing === "digit") return text;
  const article = text.replace(/\b([Aa]) (?=digit)/g, "$1n ");
  return article.replace(/\b([Dd])igit/g, (_, first) => (first === "D" ? "Image" : "image"));
}

/** The same for all texts and labels that stand in the page. */
function rewordPage() {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { parentElement: place, data } = texts.currentNode;
    if (!["SCRIPT", "STYLE"].includes(place.tagName) && /digit/i.test(data)) texts.currentNode.data = worded(data);
  }
  for (const labelled of document.querySelectorAll("[aria-label]")) labelled.ariaLabel = worded(labelled.ariaLabel);
}

/** A new element with properties, and children that are elements or text. Text never becomes markup. */
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const themeColours = new Map(); // asking the style sheet costs a layout: once a theme is enough

/** A colour of the style sheet, such as "ink", in the theme that now holds. */
function themeColour(name) {
  if (!themeColours.has(name)) {
    themeColours.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  }
  return themeColours.get(name);
}

/** [red, green, blue] of a colour of the style sheet; they are all written #rrggbb. */
function themeRgb(name) {
  const hex = themeColour(name);
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

/** A number with a real minus sign, unless it is rounded to 0, or a dash where there is none. */
function formatted(value, digits = 2) {
  if (!Number.isFinite(value)) return "–";
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

/** Make a group of buttons one stop of the Tab key: inside it, arrows move on. Call it again for new buttons. */
function oneStop(group) {
  const stop = (chosen) => {
    for (const button of group.children) button.tabIndex = button === chosen ? 0 : -1;
  };
  const buttons = [...group.children];
  stop(buttons.find((button) => button.ariaPressed === "true") ?? buttons[0]);
  group.onfocusin = ({ target }) => stop(target);
  group.onkeydown = (event) => {
    const place = buttons.indexOf(document.activeElement);
    const goals = { ArrowRight: place + 1, ArrowDown: place + 1, ArrowLeft: place - 1, ArrowUp: place - 1 };
    const goal = { ...goals, Home: 0, End: buttons.length - 1 }[event.key];
    if (place < 0 || goal === undefined) return;
    event.preventDefault();
    buttons.at(goal % buttons.length).focus();
  };
}

/** A code as "(0.12, −1.30)". */
const formattedCode = (z) => `(${z.map((value) => formatted(value)).join(", ")})`;

/** A canvas that shows a digit; drawDigit fills it. */
function digitCanvas() {
  return element("canvas", { className: "digit" });
}

/** Draw 784 values from 0 to 1 as ink on paper. */
function drawDigit(canvas, image) {
  drawPixels(canvas, (pixels, i) => {
    for (let k = 0; k < 3; k++) pixels.data[4 * i + k] = pixels.paper[k] + image[i] * (pixels.ink[k] - pixels.paper[k]);
  });
}

/** Draw what of the digit the reconstruction lost, and what it added. */
function drawDifference(canvas, digit, reconstruction) {
  const [lost, added] = [themeRgb("lost"), themeRgb("added")];
  drawPixels(canvas, (pixels, i) => {
    const difference = digit[i] - reconstruction[i];
    const ink = difference > 0 ? lost : added;
    for (let k = 0; k < 3; k++) {
      pixels.data[4 * i + k] = pixels.paper[k] + Math.abs(difference) * (ink[k] - pixels.paper[k]);
    }
  });
}

function drawPixels(canvas, setPixel) {
  if (canvas.width !== 28 || canvas.height !== 28) canvas.width = canvas.height = 28;
  const context = canvas.getContext("2d");
  const image = context.createImageData(28, 28);
  const pixels = { data: image.data, ink: themeRgb("ink"), paper: themeRgb("card") };
  for (let i = 0; i < PIXELS; i++) {
    setPixel(pixels, i);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** The ellipses of q at 1 and 2 sigma, in the plane of a view. */
function drawEllipses(context, view, q, colour, width = 2) {
  const [x, y] = view.toScreen(q.mean);
  context.strokeStyle = colour;
  for (const radius of [1, 2]) {
    const [a, b] = q.logVar.map((v) => radius * Math.exp(v / 2) * view.scale);
    context.lineWidth = radius === 1 ? width : width * 0.75;
    context.beginPath();
    context.ellipse(x, y, a, b, 0, 0, 2 * Math.PI);
    context.stroke();
  }
}

/** Dots of codes in the colours of their classes; codes is { z (pairs, one after the other), labels }. */
function drawDots(context, view, { z, labels }, colours, size) {
  const chunk = 500; // colour by colour within a chunk: fast, and no class lies on top of all others
  context.globalAlpha = 0.75;
  for (let start = 0; start < labels.length; start += chunk) {
    const end = Math.min(labels.length, start + chunk);
    for (const label of new Set(labels.slice(start, end))) {
      context.fillStyle = colours[label];
      for (let i = start; i < end; i++) {
        if (labels[i] !== label) continue;
        const x = view.screenX(z[2 * i]);
        const y = view.screenY(z[2 * i + 1]);
        context.fillRect(x - size / 2, y - size / 2, size, size);
      }
    }
  }
  context.globalAlpha = 1;
}

/** The prior's circles of 1, 2 and 3 sigma, with their names. */
function drawPrior(context, view) {
  context.strokeStyle = themeColour("grid");
  context.fillStyle = themeColour("quiet");
  context.lineWidth = 1;
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "center";
  context.setLineDash([5, 4]);
  for (const radius of [1, 2, 3]) {
    const [x, y] = view.toScreen([0, 0]);
    context.beginPath();
    context.arc(x, y, radius * view.scale, 0, 2 * Math.PI);
    context.stroke();
    context.fillText(`${radius}σ`, x, y + radius * view.scale - 4);
  }
  context.setLineDash([]);
}

/** Which colour belongs to which class, as small squares and names; nothing for a single class. */
function fillLegend(place, classes, names, colours) {
  for (const label of classes.length > 1 ? classes : []) {
    const square = element("span", { className: "key" });
    square.style.setProperty("--key", colours[label]);
    place.append(element("span", {}, square, names[label]));
  }
}

/** A slider with its name and its value; change(value) is called with each movement. Returns { label, show(value) }. */
function slider(name, { min, max, step }, change) {
  const input = element("input", { type: "range", min, max, step });
  const output = element("span", { className: "numbers" });
  input.addEventListener("input", () => change(Number(input.value)));
  const show = (value) => {
    input.value = value;
    output.textContent = formatted(value, 3);
  };
  return { label: element("label", {}, element("span", {}, name), input, output), show };
}
