// needs: strokes, drawing, state
"use strict";
// "Your digit": paper to paint on, and held-out digits to pick. state.image is { x, pick }, pick null for a painting.

function digitPanel(state) {
  const paper = new Paper(state);
  const shelf = new Shelf(state, (pick) => paper.lay(pick));
  onClicks({
    undo: () => paper.undo(),
    clear() {
      const large = byId("stage").classList.toggle("painting"); // on a phone the paper lies over the plane, until one is done
      byId("clear").textContent = large && narrow() ? "Done" : "Paint a new one";
      if (large || !narrow()) paper.lay(null);
    },
  });
  state.panel({ place: "digit-panel", needs: ["image", "pen", "theme"], draw: () => paper.draw() });
  state.panel({ place: "pick-panel", needs: ["data", "theme"], draw: () => shelf.fill() });
  state.panel({ place: "pick-panel", needs: ["image", "data", "theme"], draw: () => shelf.show() });
  // They are in the order of what the page's own weights make of them: own images, and those of a saved page, are in none.
  state.panel({ place: "pick-panel", needs: ["data", "whose"], draw: () => (byId("pick-order").hidden = !state.data.ordered || state.whose.at !== "page") });
  return paper;
}

/** One digit of a class: not too good a fit, so that there is a gap to see. */
function oneOf(picks, label) {
  const own = picks.filter((pick) => pick.label === label);
  return own[Math.floor(0.6 * own.length)];
}

/** What is painted, upon a held-out digit or upon nothing. */
class Paper {
  constructor(state) {
    this.state = state;
    this.canvas = byId("paper");
    this.strokes = []; // lists of [x, y]
    this.under = null; // the digit that is painted upon,
    this.pick = null; // and the pick that it is
    this.background = digitCanvas();
    this.pen = { at: [PAPER / 2, PAPER / 2], down: false, shown: false }; // of the keyboard
    this.followPointer();
    onKeys(this.canvas, { ...onArrows((right, down) => this.movePen(8 * right, 8 * down)), " ": () => this.putPen(!this.pen.down) });
  }

  /** Lay a held-out digit on the paper, or nothing, or an image that is no pick: { image }. */
  lay(pick) {
    [this.strokes, this.under, this.pick] = [[], pick?.image ?? null, pick?.label === undefined ? null : pick];
    this.state.image = { x: toMnistForm([], this.under), pick: this.pick };
    this.state.mine = this.state.hand = null;
  }

  paint() {
    const { state, strokes, under } = this;
    state.image = { x: toMnistForm(strokes, under), pick: strokes.length ? null : this.pick };
    state.mine = state.hand = null;
    state.wander = false;
  }

  undo() {
    this.strokes.pop();
    this.pen.down = false;
    this.paint();
  }

  followPointer() {
    const { canvas } = this;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top].map((value) => (value / box.width) * PAPER);
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pen.shown = false;
      this.strokes.push([at(event)]);
      this.paint();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId) || !this.strokes.length) return;
      for (const part of event.getCoalescedEvents?.() ?? [event]) this.strokes.at(-1).push(at(part));
      this.paint();
    });
  }

  movePen(...by) {
    const { pen, strokes } = this;
    pen.at = pen.at.map((value, i) => Math.min(PAPER - 10, Math.max(10, value + by[i])));
    pen.shown = true;
    if (!pen.down) return this.state.changed("pen");
    if (strokes.length) strokes.at(-1).push(pen.at);
    else strokes.push([pen.at]);
    this.paint();
  }

  putPen(down) {
    Object.assign(this.pen, { down, shown: true });
    if (!down) return this.state.changed("pen");
    this.strokes.push([this.pen.at]);
    this.paint();
  }

  draw() {
    const { state, canvas, strokes, under, background, pen } = this;
    byId("undo").disabled = strokes.length === 0;
    byId("paper-caption").textContent = worded(under ? "A held-out digit. Paint on it, or drop pictures of your own." : "Paint above: the encoder follows each stroke.");
    const context = penOf(canvas);
    context.fillStyle = themeColour("card");
    context.fillRect(0, 0, PAPER, PAPER);
    if (under) {
      context.imageSmoothingEnabled = false;
      drawDigit(background, under);
      context.drawImage(background, 0, 0, PAPER, PAPER);
    } else if (!strokes.length) {
      drawText(context, "paint here", PAPER / 2, PAPER / 2, "22px system-ui, sans-serif");
    }
    context.strokeStyle = themeColour("ink");
    traceStrokes(context, strokes, under ? PEN * 10 : 18);
    if (pen.shown) {
      context.fillStyle = themeColour(pen.down ? "ink" : "grid");
      context.fillRect(pen.at[0] - 6, pen.at[1] - 6, 12, 12);
    }
    byId("seen").hidden = !strokes.length || Boolean(under);
    if (strokes.length) drawDigit(byId("seen"), state.image.x);
  }
}

/** A button for each class, and under them the held-out digits of the class that is chosen. */
class Shelf {
  constructor(state, onPick) {
    this.state = state;
    this.onPick = onPick; // is called with what is picked
    this.digits = byId("pick-digit");
    this.classes = byId("pick-class");
    this.label = null; // the class whose digits are on the shelf
  }

  /** The classes of the data, as buttons that are the key of the colours too; and the digits of one of them. */
  fill() {
    const { picks, names, colours } = this.state.data;
    const labels = [...new Set(picks.map(({ label }) => label))];
    this.buttons = new Map(labels.length > 1 ? labels.map((label) => {
      const button = element("button", {}, names[label]);
      button.style.setProperty("--key", classColour(colours[label]));
      button.addEventListener("click", () => this.onPick(oneOf(picks, label)));
      return [label, button];
    }) : []);
    this.classes.replaceChildren(...this.buttons.values());
    this.classes.classList.toggle("named", names.some((name) => name.length > 2));
    this.open(labels.includes(this.label) ? this.label : labels[0]);
  }

  open(label) {
    const { picks, names } = this.state.data;
    this.label = label;
    this.own = picks.filter((pick) => pick.label === label);
    this.digits.replaceChildren(...this.own.map((pick, place) => {
      const canvas = digitCanvas();
      const button = element("button", { ariaLabel: `Held-out ${names[label]}, number ${place + 1}` }, canvas);
      button.addEventListener("click", () => this.onPick(pick));
      attempt("pick-panel", () => drawDigit(canvas, pick.image));
      return button;
    }));
  }

  /** Show which digit is picked, and its class: none for a painting. */
  show() {
    const { pick } = this.state.image;
    if (pick && pick.label !== this.label) this.open(pick.label);
    this.own.forEach((one, place) => {
      const button = /** @type {any} */ (this.digits.children[place]);
      button.ariaPressed = String(one === pick);
      if (one === pick) bringForward(button);
    });
    for (const [label, button] of this.buttons) button.ariaPressed = String(pick?.label === label);
    oneStop(this.classes);
    oneStop(this.digits);
  }
}
