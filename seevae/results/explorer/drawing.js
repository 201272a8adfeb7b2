// needs: model
"use strict";
// Small helpers to draw with: the theme's colours, digits, ellipses, and elements of the page.

/** @returns {any} */
const byId = (id) => document.getElementById(id);

/** @returns {any[]} */
const allOf = (selector) => [...document.querySelectorAll(selector)];

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
    const { parentElement: place, nodeValue } = texts.currentNode;
    if (!["SCRIPT", "STYLE"].includes(place.tagName)) texts.currentNode.nodeValue = worded(nodeValue);
  }
  for (const labelled of allOf("[aria-label]")) labelled.ariaLabel = worded(labelled.ariaLabel);
  for (const titled of allOf("body [title]")) titled.title = worded(titled.title);
}

/**
 * A new element with properties, and children that are elements or text. Text never becomes markup.
 * @returns {any}
 */
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** What is done on clicks of buttons, { id: act }. */
function onClicks(acts) {
  for (const [id, act] of Object.entries(acts)) byId(id).addEventListener("click", () => act());
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }; // to the right, down

/** What is done on keys at an element, { key: act }: letters large or small; Ctrl and Meta are the browser's. */
function onKeys(place, acts) {
  place.addEventListener("keydown", (event) => {
    const act = acts[event.key] ?? acts[event.key.toLowerCase()];
    if (!act || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    act(event);
  });
}

/** An act for each arrow key: move(to the right, down, event). */
const onArrows = (move) => Object.fromEntries(Object.entries(ARROWS).map(([key, [x, y]]) => [key, (event) => move(x, y, event)]));

/** Whether the page is laid out for a small screen, by the limit that style.css has. */
const narrow = () => matchMedia("(max-width: 1199px)").matches;

/** What draws on a canvas. Some browsers refuse it, for all or for many canvases. */
function penOf(canvas, settings) {
  const context = canvas.getContext("2d", settings);
  if (!context) throw new Error("the browser gives no canvas to draw on.");
  return context;
}

/** An empty canvas as large as it is shown: [context, width, height] in pixels of the page; null where it is not shown. */
function emptied(canvas) {
  const { clientWidth, clientHeight } = canvas;
  if (!clientWidth || !clientHeight) return null;
  const context = sized(canvas, clientWidth, clientHeight);
  context.clearRect(0, 0, clientWidth, clientHeight);
  return [context, clientWidth, clientHeight];
}

/** What draws on a canvas that is so large, in pixels of the page. */
function sized(canvas, width, height) {
  const density = window.devicePixelRatio || 1;
  const size = [width, height].map((value) => Math.round(value * density));
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const context = penOf(canvas);
  context.setTransform(density, 0, 0, density, 0, 0);
  return context;
}

const themeColours = new Map(); // asking the style sheet costs a layout: once a theme is enough

/** A colour of the style sheet, such as "ink", in the theme that now holds. */
function themeColour(name) {
  if (!themeColours.has(name)) {
    themeColours.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  }
  return themeColours.get(name);
}

/** [red, green, blue] of a colour "#rrggbb". */
const rgbOf = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));

/** The same of a colour of the style sheet; they are all written so. */
const themeRgb = (name) => rgbOf(themeColour(name));

/** How many times as bright one of two colours [red, green, blue] is as the other one, as WCAG reckons. */
function contrast(...pair) {
  const linear = (value) => (value <= 10 ? value / 3294 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const [low, high] = pair.map(([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)).sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

/** A class's colour in the theme: where it is too near to the paper's, so much darker (or lighter) that it is seen. */
function classColour(colour) {
  const key = `class ${colour}`;
  if (!themeColours.has(key)) {
    const [own, ink, ground] = [rgbOf(colour), themeRgb("ink"), themeRgb("card")];
    let [share, mixed] = [0, own];
    while (contrast(mixed, ground) < 3) {
      share += 0.05;
      mixed = own.map((value, k) => Math.round(value + share * (ink[k] - value)));
    }
    themeColours.set(key, `rgb(${mixed})`);
  }
  return themeColours.get(key);
}

/** A number with a real minus sign, unless it is rounded to 0, or a dash where there is none. */
function formatted(value, digits = 2) {
  if (!Number.isFinite(value)) return "–";
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

/** Make a group of buttons one stop of the Tab key: inside it, arrows move on. Call it again when they change. */
function oneStop(group) {
  const stop = (chosen) => {
    for (const button of group.children) button.tabIndex = button === chosen ? 0 : -1;
  };
  const chosen = (button) => [button.ariaPressed, button.getAttribute("aria-selected")].includes("true");
  stop([...group.children].find(chosen) ?? group.children[0]);
  if (group.dataset.stop) return; // it listens already
  group.dataset.stop = "one";
  group.addEventListener("focusin", ({ target }) => stop(target));
  group.addEventListener("keydown", (event) => {
    const buttons = [...group.children];
    const place = buttons.indexOf(document.activeElement);
    const goals = { ArrowRight: place + 1, ArrowDown: place + 1, ArrowLeft: place - 1, ArrowUp: place - 1 };
    const goal = { ...goals, Home: 0, End: buttons.length - 1 }[event.key];
    if (place < 0 || goal === undefined) return;
    event.preventDefault();
    buttons.at(goal % buttons.length).focus();
  });
}

/** Scroll a row of buttons, where it is too wide, so that one of them is in its middle. */
function bringForward(/** @type {any} */ button) {
  const row = button.parentElement;
  row.scrollLeft = button.offsetLeft - row.offsetLeft - (row.clientWidth - button.clientWidth) / 2;
}

/** A code as "(0.12, −1.30)". */
const formattedCode = (z) => `(${z.map((value) => formatted(value)).join(", ")})`;

/** A canvas that shows a digit; drawDigit fills it. */
function digitCanvas() {
  return element("canvas", { className: "digit" });
}

/** Draw 784 values as ink on paper, 1 for the whole of it; what is below 0, in a colour of its own. */
function drawDigit(canvas, image, above = "ink", below = above) {
  if (canvas.width !== 28 || canvas.height !== 28) canvas.width = canvas.height = 28;
  const context = penOf(canvas);
  const { data } = context.createImageData(28, 28);
  const [paper, ...inks] = ["card", above, below].map(themeRgb);
  for (let i = 0; i < PIXELS; i++) {
    const ink = inks[image[i] < 0 ? 1 : 0];
    for (let k = 0; k < 3; k++) data[4 * i + k] = paper[k] + Math.abs(image[i]) * (ink[k] - paper[k]);
    data[4 * i + 3] = 255;
  }
  context.putImageData(new ImageData(data, 28, 28), 0, 0);
}

/** A picture of the posterior's colour: a pixel for each point of a grid, the first row the lowest; opacity(place in the grid). */
function drawVeil(canvas, { rows, columns }, opacity) {
  [canvas.width, canvas.height] = [columns, rows];
  const context = penOf(canvas);
  const picture = context.createImageData(columns, rows);
  const [red, green, blue] = themeRgb("posterior");
  const pixels = new Uint32Array(picture.data.buffer);
  const colour = red | (green << 8) | (blue << 16); // of the bytes of a pixel the first is the lowest, on all machines of today
  for (let r = 0; r < rows; r++) {
    const start = (rows - 1 - r) * columns;
    for (let c = 0; c < columns; c++) pixels[start + c] = colour | (Math.round(255 * opacity(r * columns + c)) << 24);
  }
  context.putImageData(picture, 0, 0);
}

/** The ellipses of q at so many sigmas in a view, in ink on a rim of paper; dashed for the reader's own. */
function drawEllipses(context, view, { mean, logVar }, { sigmas = [1, 2], dashed = false } = {}) {
  const [x, y] = view.toScreen(mean);
  for (const radius of sigmas) {
    const [a, b] = logVar.map((v) => Math.max(1, radius * Math.exp(v / 2) * view.scale));
    if (!(a < 1e5 && b < 1e5)) continue;
    context.beginPath();
    context.ellipse(x, y, a, b, 0, 0, 2 * Math.PI);
    for (const [width, colour, dash] of [[4.5, "card", []], [2, "ink", dashed ? [6, 4] : []]]) {
      context.setLineDash(dash);
      context.lineWidth = width;
      context.strokeStyle = themeColour(colour);
      context.stroke();
    }
  }
  context.setLineDash([]);
}

/** A line through places on a canvas, in ink. */
function drawLine(context, places, width = 1) {
  context.strokeStyle = themeColour("ink");
  context.lineWidth = width;
  context.beginPath();
  for (const [x, y] of places) context.lineTo(x, y);
  context.stroke();
}

/** An arrow in ink, with its point at `to`. */
function drawArrow(context, from, to, width, dash = []) {
  const length = Math.hypot(to[0] - from[0], to[1] - from[1]) || 1;
  const [x, y] = [0, 1].map((k) => (to[k] - from[k]) / length);
  const tip = 3 + 2 * width;
  const at = (back, aside) => [to[0] - back * x - aside * y, to[1] - back * y + aside * x];
  context.setLineDash(dash);
  drawLine(context, [from, at(tip, 0)], width);
  context.setLineDash([]);
  context.fillStyle = themeColour("ink");
  context.beginPath();
  for (const place of [to, at(tip, 0.6 * tip), at(tip, -0.6 * tip)]) context.lineTo(...place);
  context.fill();
}

/** A disc at a place of a view, with a letter or with nothing on it; colours: its own, and that of its rim and letter. */
function drawDisc(context, view, z, radius, text = "", [own, rim] = ["ink", "card"]) {
  const [x, y] = view.toScreen(z);
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = themeColour(own);
  context.fill();
  context.lineWidth = 1.5;
  context.strokeStyle = themeColour(rim);
  context.stroke();
  if (!text) return;
  context.fillStyle = themeColour(rim);
  context.font = `700 ${radius + 3}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.fillText(text, x, y + 0.42 * radius);
}

/** A text that is read on any ground: in ink, with a rim of paper. */
function drawText(context, text, x, y, font = "600 12px system-ui, sans-serif", align = "center") {
  [context.font, context.textAlign, context.lineJoin, context.lineWidth] = [font, align, "round", 4];
  context.strokeStyle = themeColour("card");
  context.strokeText(text, x, y);
  context.fillStyle = themeColour("ink");
  context.fillText(text, x, y);
}

/** Dots of codes in the colours of their classes; codes is { z (pairs, one after the other), labels }. */
function drawDots(context, view, { z, labels }, colours, size) {
  const chunk = 500; // colour by colour within a chunk: fast, and no class lies on top of all others
  context.globalAlpha = 0.85;
  for (let start = 0; start < labels.length; start += chunk) {
    const end = Math.min(labels.length, start + chunk);
    for (const label of new Set(labels.slice(start, end))) {
      context.fillStyle = classColour(colours[label]);
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
    context.fillText(radius === 3 ? "prior, 3σ" : `${radius}σ`, x, y + radius * view.scale - 4);
  }
  context.setLineDash([]);
}

/** The names of the classes at the medians of their codes, moved apart where they would lie on each other. */
function drawNames(context, view, { z, labels }, names) {
  const own = names.map(() => [[], []]);
  for (let i = 0; i < labels.length; i++) [0, 1].forEach((k) => own[labels[i]]?.[k].push(z[2 * i + k]));
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  const places = [];
  own.forEach((pair, label) => pair[0].length && places.push({ name: names[label], at: view.toScreen(pair.map(median)) }));
  if (places.length < 2) return;
  for (let turn = 0; turn < 40; turn++) {
    for (const a of places) {
      for (const b of places) {
        const apart = [b.at[0] - a.at[0], b.at[1] - a.at[1]];
        const distance = Math.hypot(...apart) || 1;
        if (a === b || distance >= 19) continue;
        const push = (19 - distance) / 2 / distance;
        b.at = b.at.map((value, k) => value + push * apart[k]);
        a.at = a.at.map((value, k) => value - push * apart[k]);
      }
    }
  }
  for (const { name, at: [x, y] } of places) drawText(context, name, x, y + 5, "700 15px system-ui, sans-serif");
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
