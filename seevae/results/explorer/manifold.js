// needs: model, drawing
"use strict";
// Decoded digits in their places on the plane: what a view shows under, or in place of, the dots.

/** How far from 0 the codes go, with a margin; at least as far as the prior's circles. */
function reachOf(codes) {
  return 1.04 * (codes?.z ?? []).reduce((most, value) => Math.max(most, Math.abs(value)), 3.3);
}

/** Decoded digits as tiles under a view, a few milliseconds of them a frame, each about so many pixels wide. */
class Manifold {
  constructor(width = 34) {
    this.width = width;
    this.tiles = new Map();
  }

  /** Of another model, or in other colours, all tiles are decoded anew: none of the old ones is shown among them. */
  forget() {
    this.tiles.clear();
  }

  /** Draw the tiles that there are; returns whether some are still missing. */
  draw(context, view, model, learning) {
    const wide = learning ? view.width / 8 : this.width; // while it learns few and large ones, all at once
    const step = 2 ** Math.round(Math.log2(wide / view.scale));
    const until = learning ? Infinity : performance.now() + 12;
    const [low, high] = [view.toCode([0, view.height]), view.toCode([view.width, 0])];
    const size = step * view.scale;
    let missing = false;
    if (this.tiles.size > 4000) this.forget();
    context.imageSmoothingEnabled = true;
    context.globalAlpha = 0.6;
    for (let row = Math.floor(low[1] / step); row * step < high[1]; row++) {
      for (let column = Math.floor(low[0] / step); column * step < high[0]; column++) {
        const key = `${step} ${row} ${column}`;
        let tile = this.tiles.get(key);
        if (!tile && performance.now() < until) {
          tile = digitCanvas();
          drawDigit(tile, model.decode([(column + 0.5) * step, (row + 0.5) * step]));
          this.tiles.set(key, tile);
        }
        if (tile) context.drawImage(tile, view.screenX(column * step), view.screenY((row + 1) * step), size, size);
        else missing = true;
      }
    }
    context.globalAlpha = 1;
    return missing;
  }
}
