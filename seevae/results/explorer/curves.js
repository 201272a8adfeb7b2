// needs: drawing, packing
"use strict";
// The curves of a training: loss, reconstruction and KL against the steps.

const sumOf = ({ reconstruction, kl }) => reconstruction + kl;

/** Charts side by side, { title: value }, each of a number against the steps: held out as a line, trained as dashes. */
function drawCurves(canvas, curves, charts) {
  const drawn = emptied(canvas);
  if (!drawn) return;
  const [context, width, height] = drawn;
  const wide = width / Object.keys(charts).length;
  Object.entries(charts).forEach(([title, value], k) => {
    drawChart(context, { left: 1 + k * wide, top: 16, width: wide - 46, height: height - 34 }, title, curves, value);
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
