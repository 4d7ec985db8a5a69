// The paper: strokes drawn by mouse, finger, pen or keys, or a picture laid upon it.
"use strict";

const SIDE = 280; // of the paper, in its own units
const PEN = 22;
const MARGIN = 40; // around the paper, so that no stroke touches the edge of what is read
const ZOOM = 0.5; // pixels to a unit, where all of the paper is read
const DETAIL = 5; // pixels to a dot of the image, where the strokes alone are read
const BOX = 20; // dots along the longer side of what is drawn, as in MNIST
const LINE = 2.5; // dots across a line: the median of MNIST's train images
const LEAST = 10; // units: what is shorter is a dot of a trembling hand, and not scaled up more
const STEP = 10; // of an arrow key

class Paper {
  // `changed(done)` is called when there is something else on the paper; done: no stroke
  // is being drawn.
  constructor(canvas, changed) {
    Object.assign(this, { canvas, changed, strokes: [], picture: null, cursor: null });
    this.pointer = null; // the id of the one that draws
    this.penDown = false; // of the keys
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.go(event));
    canvas.addEventListener("pointerup", (event) => this.lift(event));
    for (const kind of ["pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(kind, (event) => event.pointerId === this.pointer && this.stop());
    }
    addEventListener("blur", () => this.stop());
    canvas.addEventListener("keydown", (event) => this.press(event));
    canvas.addEventListener("blur", () => this.leave());
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  get empty() {
    return this.strokes.length === 0 && !this.picture;
  }

  // Lay a picture (anything that can be drawn on a canvas) on the paper, over the strokes.
  show(picture) {
    this.release();
    this.picture = picture;
    this.draw();
  }

  // Lift the pen, whoever holds it: what it still does is no part of a stroke.
  release() {
    this.pointer = null;
    this.penDown = false;
  }

  // End the stroke that is being drawn, if there is one.
  stop() {
    if (this.pointer === null && !this.penDown) return;
    this.release();
    this.changed(true);
  }

  undo() {
    this.release();
    if (this.picture) this.picture = null;
    else this.strokes.pop();
    this.draw();
    this.changed(true);
  }

  clear() {
    this.release();
    this.strokes = [];
    this.picture = null;
    this.draw();
    this.changed(true);
  }

  start(point) {
    if (this.picture) this.strokes = []; // a new drawing
    this.picture = null;
    this.strokes.push([point]);
  }

  begin(event) {
    const held = this.pointer !== null && this.pointer !== event.pointerId
      && this.canvas.hasPointerCapture(this.pointer);
    if (held || event.button !== 0) return;
    this.stop(); // one that is lost, or the keys'
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.cursor = null;
    this.start(this.place(event));
    this.draw();
    this.changed(false);
  }

  go(event) {
    if (event.pointerId !== this.pointer) return;
    if (!(event.buttons & 1)) { // it was lifted where no event told
      this.stop();
      return;
    }
    const events = event.getCoalescedEvents?.() ?? [];
    const stroke = this.strokes.at(-1);
    for (const part of events.length ? events : [event]) stroke.push(this.place(part));
    this.draw();
    this.changed(false);
  }

  lift(event) {
    if (event.pointerId === this.pointer) this.stop();
  }

  // Return where an event is, in units of the paper.
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const within = (value) => clip(value, -MARGIN / 2, SIDE + MARGIN / 2);
    return {
      x: within(((event.clientX - box.left) / box.width) * SIDE),
      y: within(((event.clientY - box.top) / box.height) * SIDE),
    };
  }

  press(event) {
    const drawing = this.pointer !== null || this.penDown;
    const undo = event.key === "Backspace" || (event.key === "Escape" && drawing)
      || (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey));
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (undo && !this.empty) this.undo();
    else if (event.key === "Delete") this.clear();
    else if (event.key === " ") event.repeat || this.toggle();
    else if (event.key in direction) this.steer(direction[event.key], event.shiftKey);
    else return;
    event.preventDefault();
  }

  // Put the pen of the keys down, or lift it.
  toggle() {
    this.cursor ??= { x: SIDE / 2, y: SIDE / 4 };
    const down = !this.penDown;
    this.release();
    this.penDown = down;
    if (down) this.start(this.cursor);
    this.draw();
    this.changed(!this.penDown);
  }

  steer([x, y], little) {
    const from = this.cursor ?? { x: SIDE / 2, y: SIDE / 4 };
    const step = little ? STEP / 5 : STEP;
    this.cursor = { x: clip(from.x + x * step, 0, SIDE), y: clip(from.y + y * step, 0, SIDE) };
    if (this.penDown) {
      this.strokes.at(-1).push(this.cursor);
      this.changed(false);
    }
    this.draw();
  }

  leave() {
    this.cursor = null;
    if (this.penDown) this.stop();
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const side = Math.round(canvas.clientWidth * devicePixelRatio);
    if (!side) return;
    if (canvas.width !== side) canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    context.setTransform(side / SIDE, 0, 0, side / SIDE, 0, 0);
    context.clearRect(0, 0, SIDE, SIDE);
    const style = getComputedStyle(canvas);
    if (this.picture) {
      const { width, height } = this.picture;
      const scale = SIDE / Math.max(width, height);
      context.imageSmoothingEnabled = scale * (side / SIDE) < 4; // a test image: its pixels
      const [w, h] = [width * scale, height * scale];
      context.drawImage(this.picture, (SIDE - w) / 2, (SIDE - h) / 2, w, h);
      if (this.picture.ink) { // its shape, in the pen's colour
        context.globalCompositeOperation = "source-in";
        context.fillStyle = style.color;
        context.fillRect(0, 0, SIDE, SIDE);
        context.globalCompositeOperation = "source-over";
      }
    } else {
      drawStrokes(context, this.strokes, style.color);
    }
    if (this.cursor) {
      context.beginPath();
      context.arc(this.cursor.x, this.cursor.y, PEN / 2, 0, 2 * Math.PI);
      context.lineWidth = 2;
      context.strokeStyle = style.outlineColor;
      context.stroke();
    }
  }

  // Return the strokes as the model reads them: greys 0 to 255 of [height x width]. No canvas
  // draws them: a browser that wards off fingerprinting would return noise.
  image({ picture, height, width, dark }) {
    const points = this.strokes.flat();
    if (picture === "scale") { // all of the paper, in the colours of the data
      const side = (SIDE + 2 * MARGIN) * ZOOM;
      const strokes = moved(this.strokes, -MARGIN, -MARGIN, ZOOM);
      const ink = inked(strokes, PEN * ZOOM, side, side);
      return scaled(ink.map((share) => 255 * (dark ? share : 1 - share)), height, width);
    }
    // However large it is drawn, lines are as wide as MNIST's.
    const [left, right, top, bottom] = [...ends(points, "x"), ...ends(points, "y")];
    const zoom = ((BOX - LINE) * DETAIL) / Math.max(right - left, bottom - top, LEAST);
    const rim = (LINE * DETAIL) / 2 + 1;
    const size = [bottom - top, right - left].map((n) => Math.ceil(n * zoom + 2 * rim));
    const strokes = moved(this.strokes, left - rim / zoom, top - rim / zoom, zoom);
    const ink = inked(strokes, LINE * DETAIL, ...size);
    return placed(ink, ink.map(Math.floor), height, width); // the box around whole pixels
  }
}

const ends = (points, axis) => points.reduce(([low, high], point) =>
  [Math.min(low, point[axis]), Math.max(high, point[axis])], [Infinity, -Infinity]);

// Return strokes with (left, top) at the origin, scaled.
const moved = (strokes, left, top, zoom) => strokes.map((points) =>
  points.map(({ x, y }) => ({ x: (x - left) * zoom, y: (y - top) * zoom })));

// Return the share of each pixel that a round pen covers along the strokes.
function inked(strokes, pen, height, width) {
  const grid = new Grid(height, width);
  const range = (a, b, length) => [Math.max(0, Math.floor(Math.min(a, b) - pen / 2 - 1)),
    Math.min(length, Math.ceil(Math.max(a, b) + pen / 2 + 1))];
  for (const points of strokes) {
    let from = points[0];
    for (const to of curve(points)) {
      const [dx, dy] = [to.x - from.x, to.y - from.y];
      const squared = dx * dx + dy * dy || 1; // of a dot
      const [top, bottom] = range(from.y, to.y, height);
      const [left, right] = range(from.x, to.x, width);
      for (let row = top; row < bottom; row++) {
        for (let column = left; column < right; column++) {
          const [x, y] = [column + 0.5 - from.x, row + 0.5 - from.y];
          const along = clip((x * dx + y * dy) / squared, 0, 1);
          const away = Math.sqrt((x - along * dx) ** 2 + (y - along * dy) ** 2);
          const at = row * width + column;
          grid.values[at] = Math.max(grid.values[at], clip((pen + 1) / 2 - away, 0, 1));
        }
      }
      from = to;
    }
  }
  return grid;
}

// Return points along the line that drawStrokes draws, some two pixels apart.
function curve(points) {
  const line = [];
  let from = points[0];
  for (let i = 1; i < points.length - 1; i++) {
    const [bend, next] = [points[i], points[i + 1]];
    const to = { x: (bend.x + next.x) / 2, y: (bend.y + next.y) / 2 };
    const n = Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / 2) || 1;
    for (let k = 1; k <= n; k++) {
      const [t, s] = [k / n, 1 - k / n];
      const on = (axis) => s * s * from[axis] + 2 * s * t * bend[axis] + t * t * to[axis];
      line.push({ x: on("x"), y: on("y") });
    }
    from = to;
  }
  return [...line, points.at(-1)];
}

// Return the context of a white canvas that is not shown.
function sheet(width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  return context;
}

// Draw each stroke as a smooth line: through the middles of its points, bent at them.
function drawStrokes(context, strokes, colour) {
  Object.assign(context, {
    strokeStyle: colour, lineWidth: PEN, lineCap: "round", lineJoin: "round",
  });
  for (const points of strokes) {
    context.beginPath();
    context.moveTo(points[0].x, points[0].y);
    for (let i = 1; i < points.length - 1; i++) {
      const { x, y } = points[i];
      context.quadraticCurveTo(x, y, (x + points[i + 1].x) / 2, (y + points[i + 1].y) / 2);
    }
    const last = points.at(-1);
    context.lineTo(last.x, last.y); // a dot, where there is one point
    context.stroke();
  }
}
