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
      });
      bringForward(buttons[names.indexOf(state.tab)]);
      oneStop(byId("tabs"));
      byId("stage").classList.toggle("be", state.tab === "game");
    },
  });
  byId("tabs").addEventListener("focusin", ({ target }) => target.click()); // an arrow key opens the next one
}
