// needs: view
"use strict";
// Panel "Training, replayed": the plane of some held-out digits at recorded moments of the training.

function replayPanel(app) {
  const { moments, losses, frames, labels } = app.replay;
  const reach = frames.at(-1).reduce((most, value) => Math.max(most, Math.abs(value)), 3.4);
  const view = new View([byId("replay")], 1.03 * reach, () => app.changed("replay"));
  const input = byId("replay-moment");
  let playing = 0; // the timer
  input.max = moments.length - 1;
  input.value = moments.length - 1;
  byId("replay-count").textContent = labels.length.toLocaleString("en");

  const stop = () => {
    clearInterval(playing);
    playing = 0;
    byId("replay-play").textContent = "Play";
  };
  input.addEventListener("input", () => {
    stop();
    app.changed("replay");
  });
  byId("replay-play").addEventListener("click", () => {
    if (playing) return stop();
    if (Number(input.value) === moments.length - 1) input.value = 0;
    byId("replay-play").textContent = "Pause";
    playing = setInterval(() => {
      input.value = Number(input.value) + 1;
      if (Number(input.value) === moments.length - 1) stop();
      app.changed("replay");
    }, 260);
    app.changed("replay");
  });

  const describe = (moment) => {
    if (moment === 0) return "before the first step";
    return moment < 1 ? `${Math.round(100 * moment)} % of the first epoch` : `after epoch ${Math.round(moment)}`;
  };

  return {
    draw(topics) {
      if (!topics.has("replay") && !topics.has("theme")) return;
      const k = Number(input.value);
      const context = view.clear(0);
      drawPrior(context, view);
      drawDots(context, view, { z: frames[k], labels }, app.colours, 4);
      view.drawAxes(context);
      const text = `${describe(moments[k])}: held-out loss ${formatted(losses[k], 1)} nats`;
      byId("replay-numbers").textContent = text;
      input.setAttribute("aria-valuetext", text);
    },
  };
}
