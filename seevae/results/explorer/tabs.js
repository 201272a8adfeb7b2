// needs: state, drawing
"use strict";
// The tabs: each lays something on the one plane, and has a strip below it.

function tabsPanel(state) {
  const panels = allOf(".tab").filter((panel) => !panel.hidden);
  const names = panels.map(({ id }) => id.replace("tab-", ""));
  const buttons = panels.map((panel, i) => {
    const button = element("button", { id: `show-${names[i]}`, role: "tab" }, worded(panel.title));
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", panel.id);
    button.addEventListener("click", () => (state.tab = names[i]));
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", button.id);
    panel.removeAttribute("title");
    return button;
  });
  byId("tabs").append(...buttons);
  if (!names.includes(state.tab)) state.tab = names[0];
  state.tabs = names;
  state.panel({
    place: "more",
    needs: ["tab"],
    draw() {
      panels.forEach((panel, i) => {
        panel.hidden = names[i] !== state.tab;
        buttons[i].setAttribute("aria-selected", String(names[i] === state.tab));
        buttons[i].ariaPressed = null;
        buttons[i].tabIndex = names[i] === state.tab ? 0 : -1;
      });
      byId("stage").classList.toggle("be", state.tab === "game");
    },
  });
  byId("tabs").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = buttons.at((names.indexOf(state.tab) + step) % buttons.length);
    next.click();
    next.focus();
  });
}
