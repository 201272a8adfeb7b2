"use strict";
const seen = JSON.parse(document.getElementById("seen").textContent);
if (seen) {
  const plane = document.getElementById("plane"), drawn = document.getElementById("drawn");
  const grid = document.getElementById("grid"), under = document.getElementById("under");
  const sliders = [1, 2].map((i) => document.getElementById(`z${i}`));
  const { limit, side, height, width, points, labels, colours } = seen;
  const paper = plane.getContext("2d"), size = plane.width;
  const place = (z) => [(z[0] / limit + 1) / 2 * size, (1 - z[1] / limit) / 2 * size];

  paper.textAlign = "center";
  paper.textBaseline = "middle";

  function draw() {
    const z = sliders.map((slider) => Number(slider.value));
    const [column, row] = z.map((value) => Math.round((value / limit + 1) / 2 * (side - 1)));
    drawn.getContext("2d").drawImage(grid, column * width, (side - 1 - row) * height, width, height, 0, 0, width, height);
    paper.clearRect(0, 0, size, size);
    if (under.checked) paper.drawImage(grid, 0, 0, size, size);
    paper.strokeStyle = "#767676";
    for (const radius of [1, 2, 3]) {
      paper.beginPath();
      paper.arc(size / 2, size / 2, radius / limit / 2 * size, 0, 7);
      paper.stroke();
    }
    const font = Math.max(24, 12 * size / plane.clientWidth);  // 12 pixels on a phone
    paper.font = `${font}px system-ui, sans-serif`;
    paper.fillStyle = "#4a4a4a";
    for (let tick = 1 - limit; tick < limit; tick += Math.ceil(limit / 6)) {
      const [x, y] = place([tick, tick]), text = String(tick).replace("-", "\u2212");
      paper.fillText(text, x, size - font / 2);
      paper.fillText(text, font, y);
    }
    paper.fillText("z1", size - font, size - 2 * font);
    paper.fillText("z2", 2.5 * font, font);
    points.forEach((point, i) => {
      paper.fillStyle = colours[labels[i]];
      const [x, y] = place(point);
      paper.fillRect(x - 4, y - 4, 8, 8);
    });
    const [x, y] = place(z);
    paper.strokeStyle = "#000";
    paper.lineWidth = 3;
    paper.strokeRect(x - 12, y - 12, 24, 24);
    paper.lineWidth = 1;
    z.forEach((value, i) => { document.getElementById(`at${i + 1}`).textContent = value.toFixed(2); });
  }

  for (const kind of ["pointermove", "pointerdown"]) plane.addEventListener(kind, (event) => {
    const box = plane.getBoundingClientRect();
    sliders[0].value = ((event.clientX - box.left) / box.width * 2 - 1) * limit;
    sliders[1].value = (1 - (event.clientY - box.top) / box.height * 2) * limit;
    draw();
  });
  [...sliders, under].forEach((control) => control.addEventListener("input", draw));
  grid.decode().then(draw);
}
