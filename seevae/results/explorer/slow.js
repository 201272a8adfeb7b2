// needs: training, loss, sample
"use strict";
// One update in slow motion: encode, draw and decode, pull, step. state.slow is { step: 1 to 4, ... } meanwhile, else null.

const SLOW_STEPS = ["Encode", "Draw, decode", "Pull", "Step"];
const SLOW_PAUSES = [1600, 1800, 3000, 3600]; // milliseconds; a click goes on at once

function slowPanel(state) {
  let goOn = () => {};
  const pause = (time) => new Promise((done) => {
    const timer = setTimeout(done, time);
    goOn = () => {
      clearTimeout(timer);
      done(null);
    };
  });
  byId("slow-steps").addEventListener("click", () => goOn());
  byId("train-slow").addEventListener("click", () => state.slow || play());

  async function play() {
    const { training } = state;
    const texts = [];
    const image = state.image;
    /** Show a step until its time is over; false where the digit or the training is another one by then. */
    const show = async (step, text, more = {}) => {
      texts.push(text);
      const { turn } = training;
      state.slow = { ...state.slow, step, texts, ...more };
      await pause(SLOW_PAUSES[step - 1]);
      return training.turn === turn && state.image === image;
    };
    const pair = (values, digits = 2) => `(${[...values].map((value) => formatted(value, digits)).join(", ")})`;
    [state.mine, state.hand, state.wander] = [null, null, false];
    state.slow = { step: 0, texts };
    try {
      const before = await training.command({ running: false });
      const q = state.encoderQ;
      if (!(await show(1, worded(`The digit becomes a cloud: z_mean ${pair(q.mean)}, σ ${pair(q.logVar.map((v) => Math.exp(v / 2)))}.`)))) return;
      drawAgain(state);
      const cost = formatted(-state.model.logLikelihood(image.x, state.z), 1);
      if (!(await show(2, `The dice ε give z = ${pair(state.z)}; it is decoded, and costs ${cost} nats.`))) return;
      const pull = pullOn(state, image.x, q);
      const pulls = `On z_mean: reconstruction ${pair(pull.reconstruction, 1)}, KL ${pair(pull.kl, 1)}. On z_log_var: ${pair(pull.widen, 1)} and ${pair(pull.klWiden, 1)}.`;
      if (!(await show(3, pulls, { pull }))) return;
      const { loss } = state;
      state.slow = { ...state.slow, pull: null };
      const after = await training.oneStep();
      if (!after || !before || state.image !== image) return;
      const now = lossOf(state, image.x, state.encoderQ);
      const change = (from, to) => `${formatted(from, 1)} → ${formatted(to, 1)}`;
      const changes = `This digit ${change(-loss.elbo, -now.elbo)}, held out ${change(sumOf(before.held), sumOf(after.held))}`;
      await show(4, worded(`${changes}: it is one of ${RECIPE.batchSize} in the batch, and all weights moved.`), { old: q });
    } finally {
      state.slow = null;
      state.changed("training");
    }
  }

  state.panel({
    place: "stage",
    needs: ["slow", "size", "theme"],
    draw() {
      const { slow } = state;
      const list = byId("slow-steps");
      list.hidden = !slow?.step;
      drawArrows(slow?.step);
      if (!slow?.step) return void delete byId("stage").dataset.step;
      byId("stage").dataset.step = slow.step;
      list.replaceChildren(...SLOW_STEPS.map((name, i) => element("li", { className: i + 1 === slow.step ? "on" : "" }, element("b", {}, `${i + 1} ${name} `), slow.texts[i] ?? "")));
      speak("slow", () => `${SLOW_STEPS[slow.step - 1]}. ${slow.texts.at(-1)}`);
    },
  });
}

/** How the two parts of the loss pull at q: the gradient of each, for the mean and for the log variance. */
function pullOn({ model, switches }, x, q) {
  const both = model.elboGradient(x, q);
  const { beta } = switches;
  const klWiden = q.logVar.map((v) => 0.5 * (1 - Math.exp(v)));
  return {
    reconstruction: both.mean.map((value, i) => value + q.mean[i]),
    kl: q.mean.map((mean) => -beta * mean),
    widen: both.logVar.map((value, i) => (switches.sampleNoise ? value - klWiden[i] : 0)),
    klWiden: klWiden.map((value) => beta * value),
  };
}

/** Draw the pulls in a view: on the middle of q and on its rim; thick for the reconstruction, thin for the KL. */
function drawPull(context, view, q, pull) {
  const middle = view.toScreen(q.mean);
  const arrow = (from, /** @type {number[]} */ [dx, dy], length, width) => {
    const size = Math.hypot(dx, dy);
    if (!(size > 0)) return from;
    const to = [from[0] + (length * dx) / size, from[1] - (length * dy) / size];
    drawArrow(context, from, to, width);
    return to;
  };
  const limit = (value, size) => Math.max(46, Math.min(size - 46, value));
  for (const [part, name, width] of [[pull.reconstruction, "reconstruction", 4], [pull.kl, "KL", 2]]) {
    const to = arrow(middle, part, Math.min(view.width * 0.36, 20 + 14 * Math.log1p(Math.hypot(...part))), width);
    drawText(context, name, limit(to[0], view.width), Math.max(14, Math.min(view.height - 8, to[1] + (part[1] > 0 ? -9 : 19))));
  }
  q.logVar.forEach((v, i) => {
    const sigma = Math.exp(v / 2) * view.scale;
    for (const side of [1, -1]) {
      const out = i ? [0, side] : [side, 0];
      for (const [size, width, shift] of [[pull.widen[i], 4, -9], [pull.klWiden[i], 2, 9]]) {
        if (Math.abs(size) < 0.02) continue;
        const from = [middle[0] + out[0] * sigma + shift * out[1], middle[1] - out[1] * sigma + shift * out[0]];
        arrow(from, out.map((value) => value * Math.sign(size)), 16 + 5 * Math.log1p(Math.abs(size)), width);
      }
    }
  });
}

/** The arrows over the stage: solid ones go forward, dashed ones back. */
function drawArrows(step) {
  byId("arrows").hidden = !step;
  const drawn = emptied(byId("arrows"));
  if (!drawn) return;
  const [context] = drawn;
  const stage = byId("stage").getBoundingClientRect();
  const box = (id) => byId(id).getBoundingClientRect();
  const low = box("encoder").bottom - stage.top - 0.07 * box("encoder").height;
  const at = (id, share) => [box(id).left - stage.left + share * box(id).width, low];
  const middle = (id) => [box(id).left - stage.left + box(id).width / 2, box(id).top - stage.top + box(id).height / 2];
  const from = narrow() ? at("sample-numbers", 1) : at("plane", 0.86);
  const arrows = {
    1: [[at("paper", 0.75), at("sample-numbers", 0), "x → q"]],
    2: [[middle("lens"), middle("plane-stage")], [from, at("out", 0.2), "z → pixels"]],
    3: [[at("out", 0.2), from, "pixel errors"], [at("sample-numbers", 0), at("paper", 0.75), "to all weights"]],
  }[step];
  for (const [from, to, label] of arrows ?? []) {
    drawArrow(context, from, to, 3, step === 3 ? [7, 5] : []);
    if (label && !narrow()) drawText(context, label, (from[0] + to[0]) / 2, from[1] - 8);
  }
}
