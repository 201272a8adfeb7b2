// needs: drawing, packing
"use strict";
// The curves of a training: loss, reconstruction and KL against the steps.

const sumOf = ({ reconstruction, kl }) => reconstruction + kl;

/** In the dock: the held-out loss alone. */
function drawCurve(canvas, curves) {
  const drawn = emptied(canvas);
  if (!drawn) return;
  const [context, width, height] = drawn;
  drawChart(context, { left: 1, top: 16, width: width - 46, height: height - 34 }, "held-out loss", curves, sumOf);
}

/** Three small charts, each of one number against the steps: the held-out one as a line, the trained one as another. */
function drawCurves(canvas, curves) {
  const drawn = emptied(canvas);
  if (!drawn) return;
  const [context, width, height] = drawn;
  const charts = [
    [width < 500 ? "sum of both" : "reconstruction + KL", sumOf],
    ["reconstruction", ({ reconstruction }) => reconstruction],
    ["KL", ({ kl }) => kl],
  ];
  charts.forEach(([title, value], k) => {
    const box = { left: 6 + (k * width) / 3, top: 20, width: width / 3 - 54, height: height - 44 };
    drawChart(context, box, title, curves, value);
  });
}

function drawChart(context, box, title, curves, value) {
  const points = (which) => curves.filter((point) => point[which]).map((point) => [point.steps, value(point[which])]);
  const lines = [["trained", "quiet", points("trained")], ["held", "ink", points("held")]];
  const recent = lines.flatMap(([, , line]) => line.slice(Math.min(3, line.length - 1)).map(([, y]) => y)); // not the start
  const finite = recent.filter(Number.isFinite);
  const [low, high] = finite.length ? [Math.min(...finite), Math.max(...finite, Math.min(...finite) + 1)] : [0, 1];
  if (box.width <= 0 || box.height <= 0) return;
  const last = Math.max(1, curves.at(-1)?.steps ?? 1);
  const x = (steps) => box.left + (box.width * steps) / last;
  const y = (level) => box.top + box.height * (1 - (Math.min(high, level) - low) / (high - low));
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "left";
  context.fillStyle = themeColour("ink");
  context.fillText(title, box.left, 12);
  context.fillStyle = themeColour("quiet");
  if (curves.length > 1) {
    context.fillText(formatted(high, 1), box.left + box.width + 4, box.top + 8);
    context.fillText(formatted(low, 1), box.left + box.width + 4, box.top + box.height);
    context.fillText(counted(last, "step"), box.left, box.top + box.height + 16);
  }
  context.strokeStyle = themeColour("grid");
  context.lineWidth = 1;
  context.strokeRect(box.left, box.top, box.width, box.height);
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.width, box.height);
  context.clip();
  for (const [which, colour, line] of lines) {
    context.strokeStyle = themeColour(colour);
    context.lineWidth = 2;
    context.setLineDash(which === "trained" ? [4, 3] : []);
    context.beginPath();
    line.forEach(([steps, level], i) => (i ? context.lineTo(x(steps), y(level)) : context.moveTo(x(steps), y(level))));
    context.stroke();
  }
  context.restore();
}
