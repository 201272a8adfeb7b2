// needs: training, state
"use strict";
// The state of the page in its address, after #, so that a link shows what somebody saw: #digit=7.3&at=0.44,1.50&tab=walk
//
//   digit   class and number of a picked digit (not a painting)    at   the place of z, where a hand put it
//   tab     the tab below the plane       from, to   the ends of a walk
//   beta, z-noise, input-noise, mistake   the switches of the training, where they are not the VAE's
//   train   1: it begins to train by itself, from new weights; keras: from Keras's

const ADDRESS_PAUSE = 400; // milliseconds without a change, after which the address is written
const ADDRESS_SWITCHES = { "z-noise": "sampleNoise", "input-noise": "inputNoise" };
const MISTAKE_SWITCHES = ["meanOverPixels", "oneNoise", "sigmaForVariance"];

/** Ten states to begin a lesson with: what one sees, and the address. */
const STATES = [
  ["A digit becomes a cloud, and comes back blurred", "digit=7.14&tab=words"],
  ["A digit that is reconstructed badly", "digit=2.23&tab=words"],
  ["New digits, from no digit at all", "tab=new"],
  ["A walk from a 0 to a 1: something in between", "tab=walk&from=1.60,-1.00&to=0.00,2.20"],
  ["Be the encoder: close the gap", "digit=4.20&tab=game"],
  ["The plane, from before the first step to the last", "tab=replay"],
  ["What two straight axes can do", "digit=3.10&tab=axes"],
  ["New weights, set to learn", "tab=faults&train=1"],
  ["A plain autoencoder leaves the prior", "tab=faults&beta=0&z-noise=0&train=keras"],
  ["The posterior collapses", "tab=faults&beta=100&train=1"],
];

/**
 * What the address says, as { name: text }: what is empty says nothing. An address such as #walk names the tab alone.
 * @returns {any}
 */
function readAddress(hash) {
  const text = hash.slice(1);
  if (!text.includes("=")) return text ? { tab: text } : {};
  return Object.fromEntries([...new URLSearchParams(text)].filter(([, value]) => value.trim() !== ""));
}

/** A place "0.44,1.50" in the address, or null where it is none. */
function placeFrom(text, latentDim) {
  const place = (text ?? "").split(",").map((value) => (value.trim() === "" ? NaN : Number(value)));
  return place.length === latentDim && place.every((value) => Math.abs(value) < 1000) ? place : null;
}

/** Bring the page to what an address says. */
function goTo(state, { digit, at, tab, from, to, train, mistake, ...switches }) {
  const { latentDim } = state.model;
  const [label, number] = (digit ?? "").split(".").map(Number);
  const pick = digit && state.data.picks.filter((one) => one.label === label)[number];
  if (pick) state.paper.lay(pick);
  const place = placeFrom(at, latentDim);
  if (place) [state.hand, state.wander] = [place, false];
  if (state.tabs.includes(tab)) state.tab = tab;
  const walk = [from, to].map((text) => placeFrom(text, latentDim));
  if (walk.every(Boolean)) state.walk = walk;
  if (!state.training) return;
  const set = {};
  const beta = Number(switches.beta);
  if (switches.beta !== undefined && beta >= 0 && beta <= LARGEST_BETA) set.beta = beta;
  for (const [name, key] of Object.entries(ADDRESS_SWITCHES)) if (["0", "1"].includes(switches[name])) set[key] = switches[name] === "1";
  if (MISTAKE_SWITCHES.includes(mistake)) set[mistake] = true;
  const again = train === "1" || train === "keras";
  if (!again && state.whose.at !== "page" && state.data === state.home) state.training.goBack();
  state.training.set({ ...VAE, ...set });
  if (again) state.training.learnAnew(train === "1");
}

/** The address of what the page shows now. */
function addressOf({ image, hand, tab, tabs, walk, data, switches }) {
  const code = (z) => z.map((value) => value.toFixed(2)).join(",");
  const parts = {};
  if (image.pick) {
    const { label } = image.pick;
    parts.digit = `${label}.${data.picks.filter((one) => one.label === label).indexOf(image.pick)}`;
  }
  if (hand) parts.at = code(hand);
  if (tab !== tabs[0]) parts.tab = tab;
  if (tab === "walk" && walk.length === 2) Object.assign(parts, { from: code(walk[0]), to: code(walk[1]) });
  if (switches.beta !== 1) parts.beta = switches.beta;
  for (const [name, key] of Object.entries(ADDRESS_SWITCHES)) if (!switches[key]) parts[name] = 0;
  const mistake = MISTAKE_SWITCHES.find((key) => switches[key]);
  if (mistake) parts.mistake = mistake;
  return `#${Object.entries(parts).map(([name, value]) => `${name}=${value}`).join("&")}`;
}

function addressPanel(state) {
  goTo(state, readAddress(location.hash));
  let [waiting, written] = [0, location.hash];
  const write = () => {
    written = addressOf(state);
    try {
      history.replaceState(null, "", written);
    } catch {
      // in a frame without an address of its own, there is no address to write
    }
  };
  const later = () => {
    clearTimeout(waiting);
    waiting = setTimeout(write, ADDRESS_PAUSE);
  };
  addEventListener("hashchange", () => location.hash !== written && goTo(state, readAddress(location.hash)));
  state.panel({ place: "more", needs: ["image", "hand", "tab", "walk", "switches"], draw: later });

  byId("copy-link").addEventListener("click", async () => {
    const link = byId("link");
    link.value = location.href.replace(/#.*$/, "") + addressOf(state);
    try {
      await navigator.clipboard.writeText(link.value);
      byId("copy-link").firstChild.nodeValue = "Copied";
      announce("The link is copied.");
      setTimeout(() => (byId("copy-link").firstChild.nodeValue = "Copy a link"), 1500);
    } catch { // not allowed here: it stands in a field, to be copied by hand
      link.hidden = false;
      link.focus();
      link.select();
    }
  });
  byId("link").addEventListener("blur", () => (byId("link").hidden = true));
  byId("states").append(...STATES.map(([name, address]) => element("li", {}, element("a", { href: `#${address}` }, worded(name)))));
}
