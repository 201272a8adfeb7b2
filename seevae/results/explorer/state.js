// needs: drawing
"use strict";
// The one state of the page: whose weights, which step, which data, and what the reader chose. All panels draw it.

/**
 * values: { name: value }; derived: { name: { needs: [names], from(state) } }, values that follow from others: each is
 * computed when it is first asked for, and kept until one of those that it needs has changed.
 *
 *   state.name            the value; a name that the state does not have is an error
 *   state.name = value    changes it, and asks for a frame that draws what follows from it
 *   state.changed(name)   the same, for a value that was changed in place
 *   state.panel({ place, needs, draw })   draws a part of the page, the element with the id `place`, when what it needs changes
 * @returns {any}
 */
function makeState(values, derived) {
  const panels = [];
  const kept = new Map(); // the derived values that still hold
  let waiting = new Set(); // what has changed since the last frame
  const known = (name) => {
    if (!(name in values) && !(name in derived)) throw new Error(`The state has no "${String(name)}".`);
    return name;
  };
  const following = (name) => {
    const next = Object.keys(derived).filter((other) => derived[other].needs.includes(name));
    return next.flatMap((other) => [other, ...following(other)]);
  };
  const followers = {};
  for (const { needs } of Object.values(derived)) needs.forEach(known);
  for (const name of [...Object.keys(values), ...Object.keys(derived)]) followers[name] = following(name);

  const changed = (...names) => {
    for (const name of names.map(known)) {
      if (waiting.size === 0) requestAnimationFrame(draw);
      for (const one of [name, ...followers[name]]) {
        kept.delete(one);
        waiting.add(one);
      }
    }
  };
  const draw = () => {
    const topics = waiting;
    waiting = new Set();
    for (const panel of panels) {
      if (panel.needs.some((need) => topics.has(need))) attempt(panel.place, () => panel.draw(topics));
    }
  };
  const panel = ({ place, needs, draw: drawIt }) => {
    panels.push({ place, needs: needs.map(known), draw: drawIt });
    changed(needs[0]);
  };
  const state = new Proxy({ changed, panel }, {
    get(methods, name) {
      if (name in methods) return methods[name];
      if (typeof name === "symbol" || name in values) return values[name];
      known(name);
      if (!kept.has(name)) kept.set(name, derived[name].from(state));
      return kept.get(name);
    },
    set(_, name, value) {
      if (!(name in values)) throw new Error(`The state has no "${String(name)}" to change.`);
      if (values[name] === value) return true;
      values[name] = value;
      changed(name);
      return true;
    },
  });
  return state;
}

/** Do something for a part of the page. Where that fails the part says so, and the others play on. */
function attempt(place, act) {
  try {
    return act();
  } catch (error) {
    console.error(error);
    cannot(place, error.message);
  }
}

/** Say in a part of the page why it cannot be shown. */
function cannot(place, why) {
  const part = byId(place);
  const note = part.querySelector(":scope > .cannot") ?? element("p", { className: "cannot", role: "alert" });
  note.textContent = `This part cannot be shown: ${why}`;
  part.append(note);
}
