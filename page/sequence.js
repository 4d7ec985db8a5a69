// A sequence on a canvas, time running down: of few values lines side by side, of more a heat
// map.
"use strict";

const MOST_LINES = 6;
const LINES = ["#3b78e7", "#e8710a", "#2b9348", "#9c5bd0", "#b58900", "#1098ad"];
const [MORE, LESS] = [[214, 69, 61], [59, 120, 231]];

// Paint bytes of [steps x width], 128 where a value is the mean, on [down x across] pixels.
function paintSequence(canvas, bytes, width, across, down) {
  const steps = bytes.length / width;
  const context = canvas.getContext("2d");
  if (width > MOST_LINES) {
    Object.assign(canvas, { width, height: steps });
    const image = context.createImageData(width, steps);
    bytes.forEach((byte, i) => image.data.set(
      [...(byte > 128 ? MORE : LESS), Math.min(255, 3 * Math.abs(byte - 128))], 4 * i));
    context.putImageData(image, 0, 0);
    return;
  }
  Object.assign(canvas, { width: across, height: down });
  context.lineWidth = Math.max(1, Math.min(across / 80, 2 * devicePixelRatio));
  context.lineJoin = "round";
  for (let q = 0; q < width; q++) {
    const place = (t) => ((q + bytes[t * width + q] / 256) * across) / width;
    context.strokeStyle = LINES[q];
    context.beginPath();
    for (let t = 0; t < steps; t++) {
      context.lineTo(place(t), ((t + 0.5) / steps) * down);
    }
    if (steps === 1) context.lineTo(place(0), down);
    context.stroke();
  }
}
