// needs: strokes, drawing
"use strict";
// Panel "Your digit": paper to paint on, and held-out digits to pick.

function digitPanel(app) {
  const shelf = new Shelf(app);
  const paper = new Paper(app, shelf);
  shelf.onPick = (pick) => paper.lay(pick);
  app.pick = (pick) => shelf.pick(pick);
  app.pick(oneOf(app.picks, app.classes.includes(7) ? 7 : app.classes[0]));

  return {
    draw(topics) {
      if (topics.has("theme")) shelf.draw();
      if (!topics.has("digit") && !topics.has("theme")) return;
      paper.draw();
      drawDigit(byId("seen"), app.digit.x);
      const { mean, logVar } = app.digit.q;
      byId("q-numbers").textContent =
        mean.length > 3
          ? `${mean.length} means and variances`
          : `z_mean ${formattedCode(mean)}, z_log_var ${formattedCode(logVar)}`;
    },
  };
}

/** One digit of a class: not too good a fit, so that there is a gap to see. */
function oneOf(picks, label) {
  const own = picks.filter((pick) => pick.label === label);
  return own[Math.floor(0.6 * own.length)];
}

/** What is painted, upon a held-out digit or upon nothing. */
class Paper {
  constructor(app, shelf) {
    [this.app, this.shelf] = [app, shelf];
    this.canvas = byId("paper");
    this.strokes = []; // lists of [x, y]
    this.under = null; // the held-out digit that is painted upon
    this.background = digitCanvas();
    this.pen = { at: [PAPER / 2, PAPER / 2], down: false, shown: false }; // of the keyboard
    this.followPointer();
    this.canvas.addEventListener("keydown", (event) => this.followKey(event));
    byId("undo").addEventListener("click", () => this.undo());
    byId("clear").addEventListener("click", () => this.lay(null));
  }

  /** Lay a held-out digit on the paper, or nothing. */
  lay(pick) {
    [this.strokes, this.under] = [[], pick?.image ?? null];
    if (!pick) this.shelf.mark(null);
    this.app.shownPick = pick;
    this.show();
  }

  show() {
    const { app, strokes, under } = this;
    if (strokes.length) {
      app.shownPick = null;
      this.shelf.mark(null); // what is painted is no longer the digit that was picked, nor of its class
    }
    app.setDigit(toMnistForm(strokes, under));
  }

  undo() {
    this.strokes.pop();
    this.pen.down = false;
    this.show();
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
      this.show();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      for (const part of event.getCoalescedEvents?.() ?? [event]) this.strokes.at(-1).push(at(part));
      this.show();
    });
  }

  followKey(event) {
    const { pen, strokes } = this;
    const move = { ArrowLeft: [-8, 0], ArrowRight: [8, 0], ArrowUp: [0, -8], ArrowDown: [0, 8] }[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    pen.shown = true;
    if (move) pen.at = pen.at.map((value, i) => Math.min(PAPER - 10, Math.max(10, value + move[i])));
    else pen.down = !pen.down;
    if (pen.down && event.key === " ") strokes.push([pen.at]);
    else if (pen.down) strokes.at(-1).push(pen.at);
    this.show();
  }

  draw() {
    const { canvas, strokes, under, background, pen } = this;
    const context = canvas.getContext("2d");
    context.fillStyle = themeColour("card");
    context.fillRect(0, 0, PAPER, PAPER);
    if (under) {
      context.imageSmoothingEnabled = false;
      drawDigit(background, under);
      context.drawImage(background, 0, 0, PAPER, PAPER);
    }
    context.strokeStyle = themeColour("ink");
    traceStrokes(context, strokes, under ? PEN * 10 : 18);
    if (pen.shown) {
      context.fillStyle = themeColour(pen.down ? "mine" : "encoder");
      context.fillRect(pen.at[0] - 6, pen.at[1] - 6, 12, 12);
    }
    byId("undo").disabled = strokes.length === 0;
    byId("paper-caption").textContent = worded(under ? "a held-out digit; paint on it" : "your strokes");
  }
}

/** A button for each class, and under them the held-out digits of the class that is chosen. */
class Shelf {
  constructor(app) {
    this.app = app;
    this.digits = byId("pick-digit");
    this.classes = byId("pick-class");
    this.label = null; // the class whose digits are on the shelf
    this.thumbnails = [];
    this.onPick = () => {}; // is called with what is picked
    for (const label of app.classes.length > 1 ? app.classes : []) {
      const button = element("button", {}, app.names[label]);
      button.addEventListener("click", () => this.pick(oneOf(app.picks, label)));
      this.classes.append(button);
    }
    oneStop(this.classes);
  }

  open(label) {
    const { app, digits } = this;
    this.label = label;
    this.markClass(true);
    const picks = app.picks.filter((pick) => pick.label === label);
    this.thumbnails = picks.map(({ image }) => ({ image, canvas: digitCanvas() }));
    const buttons = this.thumbnails.map(({ canvas }, place) => {
      const ariaLabel = `Held-out ${app.names[label]}, number ${place + 1}`;
      const button = element("button", { ariaLabel, ariaPressed: "false" }, canvas);
      button.addEventListener("click", () => {
        this.mark(button);
        this.onPick(picks[place]);
      });
      return button;
    });
    this.draw();
    digits.replaceChildren(...buttons);
    oneStop(digits);
  }

  pick(pick) {
    const { app, digits } = this;
    this.open(pick.label);
    const button = digits.children[app.picks.filter(({ label }) => label === pick.label).indexOf(pick)];
    digits.scrollLeft = button.offsetLeft - digits.offsetLeft - digits.clientWidth / 2; // so that it is seen
    button.click();
  }

  /** Show which digit is picked, and its class; null for none. */
  mark(button) {
    for (const other of this.digits.children) other.ariaPressed = String(other === button);
    this.markClass(button !== null);
  }

  markClass(pressed) {
    const name = this.app.names[this.label];
    for (const button of this.classes.children) button.ariaPressed = String(pressed && button.textContent === name);
  }

  draw() {
    for (const { canvas, image } of this.thumbnails) drawDigit(canvas, image);
  }
}
