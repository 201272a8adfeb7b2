// needs: training
"use strict";
// A tour of the page for who sees it first: some steps, one panel after the other. It can be left at any time.

/** The steps: the panel, what in it must be in sight, what to say, what is done on coming, and on leaving. */
const TOUR = [
  {
    panel: "digit-panel",
    sight: "paper",
    title: "A digit becomes a cloud",
    text:
      "The encoder looks at this digit. It answers with a cloud of codes, not with a single one: the blue ring in the" +
      " latent plane. z_mean is its middle; z_log_var is the logarithm of its variance: the smaller, the narrower. Pick" +
      " another digit, and see both change.",
  },
  {
    panel: "sample-panel",
    sight: "draw-again",
    title: "Draw from the cloud",
    text:
      "Press “Draw again” some times. Each draw takes another code from the cloud, and the decoder draws it. They look" +
      " alike: training decoded each digit from such draws, so that codes close together had to give the same digit.",
  },
  {
    panel: "plane-panel",
    sight: "plane",
    title: "The same place, decoded",
    text:
      "Each dot is the code of a digit. The blue ring marks the cloud of yours; the square is in its middle now, and what" +
      " is decoded there is all that the network knows of your digit. Two numbers cannot keep every stroke: it is" +
      " smoother, and may look like another digit.",
    enter(app) {
      byId("wander").checked = false;
      app.pointer = [...app.digit.q.mean];
      app.changed("pointer");
    },
  },
  {
    panel: "plane-panel",
    sight: "walk",
    title: "Walk the plane",
    text:
      "Below the plane is a walk from one digit to another, A to B. What lies between two digits is decoded to something" +
      " in between, at times to a blur. Choose two places in the plane for a walk of your own.",
    enter(app) {
      app.plane.walk = [app.picks[0], app.picks.at(-1)].map(({ image }) => [...app.model.encode(image).mean]);
      app.changed("walk");
    },
  },
  {
    panel: "game-panel",
    sight: "game",
    title: "Be the encoder",
    text:
      "The grey cloud is the truth: all codes that may have made this digit. Drag the orange ellipse onto it. The bar" +
      " shows how near you come to log p(x), the wall that nobody gets past.",
  },
  {
    panel: "train-panel",
    sight: "train-plane",
    onPlane: true, // it speaks of dots
    title: "Switch the KL off, and see",
    text:
      "The network now learns anew, from the weights that Keras takes by default, without the KL and without noise on z." +
      " Within seconds most dots lie far outside the circles of the prior: a draw from it reaches few of the digits. Now" +
      " press “VAE” in the panel: the KL brings most of them back. End the tour, and the page’s own model is back.",
    enter(app) {
      app.training.set(PRESETS.autoencoder.switches);
      app.training.learnAnew(false);
    },
    leave(app) {
      app.training.goBack();
    },
  },
];

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
    const last = number + 1 === steps.length;
    byId("tour-next").textContent = last ? "End the tour" : "Next";
    byId("tour-leave").hidden = last;
    byId(next.panel).classList.add("on-tour");
    byId("tour-next").focus({ preventScroll: true });
    next.enter?.(app);
    requestAnimationFrame(() => this.bringIntoSight(next)); // when it is drawn
  }

  /** On a narrow screen, what the step speaks of; else its panel, unless that is too long. */
  bringIntoSight({ panel, sight }) {
    const narrow = matchMedia("(max-width: 699px)").matches;
    if (sight === "walk" || (narrow && sight === "draw-again")) byId(sight).scrollIntoView({ block: "center" });
    else byId(narrow ? sight : panel).scrollIntoView();
  }
}
