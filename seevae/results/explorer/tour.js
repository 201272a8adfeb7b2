// needs: training, faults
"use strict";
// A tour of the page for who sees it first: some steps, each with its place on the one screen. It can be left at any time.

/** The steps: where (`small`: on a phone), what is said, what is done on coming, and on leaving. */
const TOUR = [
  {
    place: "digit-panel",
    title: "A digit becomes a cloud: z",
    text:
      "The encoder looks at your digit and answers with a few numbers: where its code z may be. It is a cloud of codes, not a single one:" +
      " z_mean is its middle, σ its width. Pick another digit, and see both change.",
  },
  {
    place: "sample-panel",
    title: "Why noise?",
    text:
      "Press “Draw z again” a few times. Each draw takes another code from the cloud, and the decoder draws it. They look" +
      " alike, because training decoded each digit from such draws: codes close together had to give the same digit, and so no place in the cloud is empty.",
  },
  {
    place: "plane-panel",
    onPlane: true,
    title: "Any place can be decoded",
    text:
      "Each dot is the code of a digit, in the colour of its class. Drag z over the plane: every place decodes to something, also those" +
      " between the dots. Two numbers cannot keep every stroke: what comes back is smoother than your digit, and may look like another one.",
    enter: (state) => (state.hand = [...state.encoderQ.mean]),
  },
  {
    place: "tab-walk",
    tab: "walk",
    onPlane: true,
    title: "Walk the plane",
    text:
      "A walk from one digit to another, A to B, decoded on its way. What lies between two digits is decoded to something" +
      " in between, at times to a blur. Click two places in the plane for a walk of your own.",
    enter: (state) => (state.walk = walkOfTour(state)),
  },
  {
    place: "loss-panel",
    title: "Why the KL?",
    text:
      "The loss has two parts: how wrong the picture is, and the KL, which is what the code costs. The KL asks each cloud to lie near the middle" +
      " and to be wide. So all clouds together fill the circles of the prior, and a draw from there is a new digit. Without it nobody would know where to draw.",
  },
  {
    place: "tab-game",
    small: "lens-panel",
    tab: "game",
    onPlane: true,
    title: "What is the gap?",
    text:
      "The grey cloud is the truth: all codes that may have made this digit. The encoder’s ellipse only covers it roughly; what is lost by that is the gap." +
      " Drag the ellipse onto the cloud. log p(x) is the wall that nobody gets past.",
  },
  {
    place: "tab-faults",
    tab: "faults",
    training: true,
    onPlane: true,
    title: "Switch the KL off, and see",
    text:
      "The network now learns anew, from Keras’s default weights, without the KL and without noise on z: soon most" +
      " dots lie far outside the circles of the prior, and a draw from it reaches few of the digits. Now" +
      " press “VAE”: the KL brings most of them back. End the tour, and the page’s own model is back.",
    enter(state) {
      byId("fault-from").value = "now";
      beginSetting(state, "Autoencoder", "keras");
    },
    leave(state) {
      byId("fault-from").value = "new";
      state.training.goBack();
    },
  },
];

/** From the middle of the dots of one class to that of another, both within the circles: of 0 and 1, where there are such. */
function walkOfTour({ codes, data }) {
  const middles = data.names.map((_, label) => {
    const own = [...codes.labels.keys()].filter((i) => codes.labels[i] === label);
    return own.length && [0, 1].map((k) => own.map((i) => codes.z[2 * i + k]).sort((a, b) => a - b)[own.length >> 1]);
  }).filter(Boolean);
  return [middles[0] ?? [-1, 0], middles[1] ?? [1, 0]];
}

class Tour {
  constructor(state) {
    this.state = state;
    this.steps = TOUR.filter(({ onPlane, training }) => (!onPlane || state.codes) && (!training || state.training));
    this.step = null; // the place in `steps`, or null where nobody is on the tour
    onClicks({
      "tour-start": () => this.go(0),
      "tour-back": () => this.go(this.step - 1),
      "tour-next": () => this.go(this.step + 1),
      "tour-leave": () => this.go(null),
    });
    onKeys(byId("tour"), { escape: () => this.go(null) });
  }

  /** Go to a step; null, and what lies beyond the last one, end the tour. */
  go(number) {
    const { state, steps } = this;
    const now = steps[this.step];
    now?.leave?.(state);
    document.querySelector(".on-tour")?.classList.remove("on-tour");
    const next = number === null ? undefined : steps[number];
    this.step = next ? number : null;
    byId("tour").hidden = !next;
    if (!next) return byId("tour-start").focus();
    state.wander = false;
    byId("tour-title").textContent = worded(`${number + 1} of ${steps.length}. ${next.title}`);
    byId("tour-text").textContent = worded(next.text);
    byId("tour-back").disabled = number === 0;
    const last = number + 1 === steps.length;
    byId("tour-next").textContent = last ? "End the tour" : "Next";
    byId("tour-leave").hidden = last;
    const place = (narrow() && next.small) || next.place;
    byId(place).classList.add("on-tour");
    byId("tour-next").focus({ preventScroll: true });
    if (next.tab) state.tab = next.tab;
    next.enter?.(state);
    requestAnimationFrame(() => requestAnimationFrame(() => this.bringIntoSight(place))); // when it is drawn
  }

  /** Scroll so that what the step speaks of lies between the tour's box and the dock, which both stay. */
  bringIntoSight(place) {
    const own = byId(place).getBoundingClientRect();
    const top = byId("tour").getBoundingClientRect().bottom + 8;
    const room = byId("dock").getBoundingClientRect().top - 8;
    if (byId("dock").contains(byId(place)) || (own.top >= top && own.bottom <= room)) return;
    scrollBy(0, Math.min(own.top - top, Math.max(own.bottom - room, own.top - top)));
  }
}
