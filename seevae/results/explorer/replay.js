// needs: view, state
"use strict";
// "Replay": the plane shows the codes of some held-out digits at recorded moments of the training of the page's model.

function replayPanel(state) {
  const { moments, losses, labels } = state.replay;
  const input = byId("replay-moment");
  let playing = 0; // the timer
  input.max = moments.length - 1;
  byId("replay-count").textContent = labels.length.toLocaleString("en");

  const stop = () => {
    clearInterval(playing);
    playing = 0;
    byId("replay-play").textContent = "Play";
  };
  input.addEventListener("input", () => {
    stop();
    state.moment = Number(input.value);
  });
  byId("replay-play").addEventListener("click", () => {
    if (playing) return stop();
    if (state.moment === moments.length - 1) state.moment = 0;
    byId("replay-play").textContent = "Pause";
    playing = setInterval(() => {
      state.moment = Math.min(state.moment + 1, moments.length - 1);
      if (state.moment === moments.length - 1 || state.tab !== "replay") stop();
    }, 260);
  });

  const describe = (moment) => {
    if (moment === 0) return "before the first step";
    return moment < 1 ? `${Math.round(100 * moment)} % of the first epoch` : `after epoch ${Math.round(moment)}`;
  };
  state.panel({
    place: "tab-replay",
    needs: ["moment"],
    draw() {
      input.value = state.moment;
      const text = `${describe(moments[state.moment])}: held-out loss ${formatted(losses[state.moment], 1)} nats`;
      byId("replay-numbers").textContent = text;
      input.setAttribute("aria-valuetext", text);
    },
  });
}
