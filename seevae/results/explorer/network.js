// needs: posterior, drawing, state, loss
"use strict";
// The two halves of the network as shapes, each hidden unit a small square that is as dark as the unit is active.

function networkPanel(state) {
  for (const which of ["encoder", "decoder"]) new Half(state, which);
}

class Half {
  constructor(state, which) {
    this.state = state;
    this.which = which;
    this.canvas = byId(which);
    this.chosen = null; // the place of the unit that is looked at
    this.order = [];
    this.layout = { size: 1, across: 1, x: 0, y: 0 };
    this.canvas.addEventListener("pointermove", ({ offsetX, offsetY }) => {
      const { size, across, x, y } = this.layout;
      const [column, row] = [Math.floor((offsetX - x) / size), Math.floor((offsetY - y) / size)];
      this.choose(column >= 0 && column < across && row >= 0 ? row * across + column : null);
    });
    for (const away of ["pointerleave", "blur"]) this.canvas.addEventListener(away, () => this.choose(null));
    onKeys(this.canvas, onArrows((right, down) => {
      const units = Math.max(1, this.order.length);
      this.choose(((this.chosen ?? 0) + right + down * this.layout.across + units) % units);
    }));
    const input = which === "encoder" ? "image" : "z";
    state.panel({ place: `${which}-panel`, needs: [input, "model", "unit", "theme", "size"], draw: (topics) => this.draw(topics) });
  }

  choose(place) {
    if (place !== null && !(place < this.order.length)) place = null;
    if (place === this.chosen) return;
    this.chosen = place;
    this.state.changed("unit");
  }

  /** The units in the order of their direction in the plane: what they say about z, or what they listen to. */
  sort() {
    const { z_mean, decoder_h } = this.state.model.layers;
    const units = this.state.model.hiddenDim;
    const latents = this.state.model.latentDim;
    const part = (j, k) => (this.which === "encoder" ? z_mean.kernel[j * latents + k] : decoder_h.kernel[k * units + j]);
    const angle = Float64Array.from({ length: units }, (_, j) => (latents > 1 ? Math.atan2(part(j, 1), part(j, 0)) : part(j, 0)));
    this.order = Array.from(angle.keys()).sort((a, b) => angle[a] - angle[b]);
  }

  get values() {
    const { model, image, z } = this.state;
    return this.which === "encoder" ? dense(image.x, model.layers.encoder_h).map(relu) : model.decoderHidden(z);
  }

  draw(topics) {
    if (!this.order.length || topics.has("model")) this.sort();
    const drawn = emptied(this.canvas);
    if (!drawn) return;
    const [context, width, height] = drawn;
    const sides = this.which === "encoder" ? [0.5, 0.36] : [0.36, 0.5];
    context.fillStyle = themeColour("shape");
    context.strokeStyle = themeColour("grid");
    context.beginPath();
    const [left, right] = [0.5, width - 0.5];
    for (const [x, side] of [[left, -sides[0]], [right, -sides[1]], [right, sides[1]], [left, sides[0]]]) {
      context.lineTo(x, height * (0.5 + side));
    }
    context.closePath();
    context.fill();
    context.stroke();

    const { values, order } = this;
    const across = Math.max(1, Math.floor(Math.sqrt(order.length * Math.max(0.2, Math.min(1, (width - 12) / (0.6 * height))))));
    const room = Math.min((width - 10) / across, (0.66 * height) / Math.ceil(order.length / across));
    const size = room > 3 ? Math.floor(room) : Math.max(1, Math.floor(4 * room) / 4);
    const [x, y] = [(width - across * size) / 2, (height - Math.ceil(order.length / across) * size) / 2];
    this.layout = { size, across, x, y };
    const top = Math.max(1e-6, maximum(values));
    context.fillStyle = themeColour("ink");
    const side = size > 3 ? size - 1 : 0.75 * size;
    order.forEach((unit, place) => {
      context.globalAlpha = 0.07 + 0.93 * Math.sqrt(values[unit] / top);
      context.fillRect(x + (place % across) * size, y + Math.floor(place / across) * size, side, side);
    });
    context.globalAlpha = 1;
    if (width > 60) {
      context.font = "11px system-ui, sans-serif";
      context.fillStyle = themeColour("quiet");
      context.textAlign = "center";
      context.fillText(`${order.length} units`, width / 2, height * 0.84 - 2);
    }
    this.look(values);
  }

  /** The unit that is looked at, large: the weights by which it sees, or with which it paints. */
  look(values) {
    const { chosen, layout: { size, across, x, y } } = this;
    const box = byId("unit");
    if (chosen === null) {
      if (box.dataset.half === this.which) box.hidden = true;
      return;
    }
    const context = penOf(this.canvas);
    context.lineWidth = 2;
    context.strokeStyle = themeColour("ink");
    context.strokeRect(x + (chosen % across) * size - 1.5, y + Math.floor(chosen / across) * size - 1.5, size + 2, size + 2);
    const { layers, hiddenDim } = this.state.model;
    const unit = this.order[chosen];
    const sees = this.which === "encoder";
    const weights = Float32Array.from({ length: PIXELS }, (_, i) => (sees ? layers.encoder_h.kernel[i * hiddenDim + unit] : layers.decoder_output.kernel[unit * PIXELS + i]));
    const most = weights.reduce((top, weight) => Math.max(top, Math.abs(weight)), 1e-9);
    drawDigit(box.firstChild, weights.map((weight) => 0.5 + weight / most / 2));
    const text = `unit ${unit + 1}: ${sees ? "what it looks for" : "what it paints"}; now ${formatted(values[unit])}`;
    box.lastChild.textContent = text;
    if (document.activeElement === this.canvas) speak("network", () => text);
    [box.hidden, box.dataset.half] = [false, this.which];
    const [own, stage] = [this.canvas, byId("stage")].map((place) => place.getBoundingClientRect());
    box.style.left = `${Math.max(0, Math.min(stage.width - 114, own.left - stage.left + own.width / 2 - 56))}px`;
    box.style.top = `${own.bottom - stage.top + 2}px`;
  }
}
