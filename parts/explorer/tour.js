"use strict";
// A tour of the page for who sees it first: some steps, one panel after the other. It can be left at any time.

/** The steps: the panel (and what in it is to be in sight), what to say, what is done on coming, and on leaving. */
const TOUR = [
  {
    panel: "digit-panel",
    title: "A digit becomes a cloud",
    text:
      "The encoder looks at this digit. It answers with a cloud of codes, not with a single one: z_mean is its middle," +
      " z_log_var says how wide it is. Pick another digit, and see both change.",
  },
  {
    panel: "sample-panel",
    title: "Draw from the cloud",
    text:
      "Press “Draw again” some times. Each draw takes another code from the cloud, and the decoder draws it. The draws" +
      " look alike, for training drew, too: a code and its neighbours must decode to the same digit.",
  },
  {
    panel: "plane-panel",
    title: "The same place, decoded",
    text:
      "Each dot is the code of a digit. The blue ellipse is the cloud of yours, and the square is in its middle: what" +
      " is decoded there looks like your digit, but smoother. Two numbers cannot keep every stroke.",
    enter(app) {
      byId("wander").checked = false;
      app.pointer = [...app.digit.q.mean];
      app.changed("pointer");
    },
  },
  {
    panel: "plane-panel",
    title: "Walk the plane",
    text:
      "Here is a walk from your digit to the other side of the plane. All that lies between two digits is decoded to" +
      " something like a digit: there are no holes. Click two places for a walk of your own.",
    sight: "walk",
    enter(app) {
      const from = [...app.digit.q.mean];
      app.plane.walk = [from, from.map((value) => (value > 0 ? -1.5 : 1.5))];
      app.changed("walk");
    },
  },
  {
    panel: "game-panel",
    title: "Be the encoder",
    text:
      "The grey cloud is the truth: all codes that may have made this digit. Drag the orange ellipse onto it. The bar" +
      " shows how near you come to log p(x), the wall that nobody gets past.",
  },
  {
    panel: "train-panel",
    onPlane: true, // it speaks of dots
    title: "Switch the KL off, and see",
    text:
      "The network now learns anew, from the weights that Keras draws, without the KL and without noise on z. Within" +
      " seconds the dots run far out of the circles of the prior: most of the plane between them draws no digit. That is" +
      " what the KL is for. Press “VAE”, and watch it bring them back. Leave the tour, and all is as before.",
    enter(app) {
      app.training.set(PRESETS.autoencoder.switches);
      app.training.learnAnew(false);
    },
    leave(app) {
      app.training.set(PRESETS.vae.switches);
      app.training.goBack();
    },
  },
];

const tourPanel = (app) => new Tour(app);

class Tour {
  constructor(app) {
    this.app = app;
    this.steps = TOUR.filter(({ panel, onPlane }) => !byId(panel).hidden && (app.plane || !onPlane));
    this.step = null; // the place in `steps`, or null where nobody is on the tour
    byId("tour-start").textContent = `Take the tour: ${this.steps.length} steps`;
    byId("tour-start").addEventListener("click", () => this.go(0));
    byId("tour-back").addEventListener("click", () => this.go(this.step - 1));
    byId("tour-next").addEventListener("click", () => this.go(this.step + 1));
    byId("tour-leave").addEventListener("click", () => this.go(null));
    byId("tour").addEventListener("keydown", ({ key }) => key === "Escape" && this.go(null));
  }

  /** Go to a step; null, and what lies beyond the last one, end the tour. */
  go(number) {
    const { app, steps } = this;
    const now = steps[this.step];
    now?.leave?.(app);
    if (now) byId(now.panel).classList.remove("on-tour");
    const next = number === null ? undefined : steps[number];
    this.step = next ? number : null;
    byId("tour").hidden = !next;
    document.body.classList.toggle("touring", Boolean(next));
    if (!next) return byId("tour-start").focus();
    byId("tour-title").textContent = worded(`${number + 1} of ${steps.length}. ${next.title}`);
    byId("tour-text").textContent = worded(next.text);
    byId("tour-back").disabled = number === 0;
    byId("tour-next").textContent = number + 1 < steps.length ? "Next" : "End";
    byId(next.panel).classList.add("on-tour");
    byId("tour-next").focus({ preventScroll: true });
    next.enter?.(app);
    if (next.sight) requestAnimationFrame(() => byId(next.sight).scrollIntoView({ block: "center" })); // when it is drawn
    else byId(next.panel).scrollIntoView();
  }

  draw() {}
}
