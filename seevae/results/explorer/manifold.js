// needs: model, drawing
"use strict";
// Decoded digits in their places on the plane: what a view shows under, or in place of, the dots.

/** How far from 0 the codes go, with a margin; at least as far as the prior's circles. */
function reachOf({ z }) {
  return 1.04 * z.reduce((most, value) => Math.max(most, Math.abs(value)), 3.3);
}

/** Decoded digits as tiles under a view, a few milliseconds of them a frame, each about so many pixels wide. */
class Manifold {
  constructor(model, width = 34) {
    this.model = model;
    this.width = width;
    this.version = 0; // of the model
    this.tiles = new Map();
  }

  forget() {
    this.tiles.clear();
  }

  /** The model has changed: decode all tiles anew, but show the old ones until then. */
  renew() {
    this.version++;
  }

  /** Draw the tiles that there are; returns whether some are still missing. */
  draw(context, view) {
    const step = 2 ** Math.round(Math.log2(this.width / view.scale));
    const until = performance.now() + 6;
    const [low, high] = [view.toCode([0, view.height]), view.toCode([view.width, 0])];
    const size = step * view.scale;
    let missing = false;
    if (this.tiles.size > 4000) this.forget();
    context.imageSmoothingEnabled = true;
    for (let row = Math.floor(low[1] / step); row * step < high[1]; row++) {
      for (let column = Math.floor(low[0] / step); column * step < high[0]; column++) {
        const key = `${step} ${row} ${column}`;
        let tile = this.tiles.get(key);
        if (tile?.version !== this.version && performance.now() < until) {
          tile ??= { canvas: digitCanvas() };
          drawDigit(tile.canvas, this.model.decode([(column + 0.5) * step, (row + 0.5) * step]));
          tile.version = this.version;
          this.tiles.set(key, tile);
        }
        if (tile) context.drawImage(tile.canvas, view.screenX(column * step), view.screenY((row + 1) * step), size, size);
        if (tile?.version !== this.version) missing = true;
      }
    }
    return missing;
  }
}
