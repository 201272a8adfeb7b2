// needs: drawing
"use strict";
// The state of the page in its address, after #, so that a link shows what somebody saw: #at=0.44,1.50&digit=7.3&beta=0
//
//   at      the place in the plane       digit   class and number of a picked digit (not a painting)
//   panel   the part of the page         beta, z-noise, input-noise   the switches of the training

const ADDRESS_PAUSE = 400; // milliseconds without a change, after which the address is written

/** What the address says, as { name: text }; an address such as #plane-panel names the panel alone. */
function readAddress(hash) {
  const text = hash.slice(1);
  if (!text.includes("=")) return text ? { panel: text } : {};
  return Object.fromEntries(new URLSearchParams(text));
}

/** Bring the page to what the address says, and the address to what the page shows from then on. */
function followAddress(app) {
  const { at, digit, panel, ...switches } = readAddress(location.hash);
  const place = at?.split(",").map(Number);
  if (place?.length === app.model.latentDim && place.every(Number.isFinite) && app.model.latentDim === 2) {
    app.pointer = place;
    byId("wander").checked = false;
    app.changed("pointer");
  }
  const [label, number] = (digit ?? "").split(".").map(Number);
  const pick = app.picks.filter((one) => one.label === label)[number];
  if (pick) app.pick(pick);
  const beta = Number(switches.beta);
  const set = {};
  if (switches.beta !== undefined && beta >= 0 && beta <= 4) set.beta = beta;
  if (["0", "1"].includes(switches["z-noise"])) set.sampleNoise = switches["z-noise"] === "1";
  if (["0", "1"].includes(switches["input-noise"])) set.inputNoise = switches["input-noise"] === "1";
  app.training?.set(set);
  const part = panel && document.getElementById(panel);
  if (part && !part.hidden) part.scrollIntoView();

  let shown = panel;
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) shown = target.id;
    later();
  }, { rootMargin: "-45% 0px -45% 0px" }); // the panel in the middle of the window
  for (const section of document.querySelectorAll("main > section")) seen.observe(section);

  let waiting = 0;
  const later = () => {
    clearTimeout(waiting);
    waiting = setTimeout(write, ADDRESS_PAUSE);
  };
  const write = () => {
    const parts = {};
    if (app.model.latentDim === 2 && !byId("wander").checked) parts.at = app.pointer.map((value) => value.toFixed(2)).join(",");
    if (app.shownPick) {
      const { label } = app.shownPick;
      parts.digit = `${label}.${app.picks.filter((one) => one.label === label).indexOf(app.shownPick)}`;
    }
    if (app.training) {
      const { beta, sampleNoise, inputNoise } = app.training.switches;
      Object.assign(parts, { beta, "z-noise": Number(sampleNoise), "input-noise": Number(inputNoise) });
    }
    if (shown) parts.panel = shown;
    const text = Object.entries(parts).map(([name, value]) => `${name}=${value}`).join("&");
    try {
      history.replaceState(null, "", `#${text}`);
    } catch {
      // in a frame without an address of its own, there is no link to make
    }
  };
  return { draw: (topics) => ["pointer", "digit", "training"].some((topic) => topics.has(topic)) && later() };
}
