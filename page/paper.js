// The paper: strokes drawn by mouse, finger, pen or keys, or a picture laid upon it.
"use strict";

const SIDE = 280; // of the paper, in its own units
const PEN = 22;
const MARGIN = 40; // around the paper, so that no stroke touches the edge of what is read
const DETAIL = 0.5; // pixels to a unit, where the strokes are read: 5 to a dot
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
    canvas.addEventListener("pointercancel", (event) => this.lift(event));
    canvas.addEventListener("keydown", (event) => this.press(event));
    canvas.addEventListener("blur", () => this.leave());
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  get empty() {
    return this.strokes.length === 0 && !this.picture;
  }

  // Lay a picture (anything that can be drawn on a canvas) on the paper, over the strokes.
  show(picture) {
    this.picture = picture;
    this.draw();
  }

  undo() {
    if (this.picture) this.picture = null;
    else this.strokes.pop();
    this.draw();
    this.changed(true);
  }

  clear() {
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
    if (this.pointer !== null || event.button !== 0) return;
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.cursor = null;
    this.start(this.place(event));
    this.draw();
    this.changed(false);
  }

  go(event) {
    if (event.pointerId !== this.pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    const stroke = this.strokes.at(-1);
    for (const part of events.length ? events : [event]) stroke.push(this.place(part));
    this.draw();
    this.changed(false);
  }

  lift(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = null;
    this.changed(true);
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
    const undo = event.key === "Backspace"
      || (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey));
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (undo && !this.empty) this.undo();
    else if (event.key === "Delete") this.clear();
    else if (event.key === " ") this.toggle();
    else if (event.key in direction) this.steer(direction[event.key], event.shiftKey);
    else return;
    event.preventDefault();
  }

  // Put the pen of the keys down, or lift it.
  toggle() {
    this.cursor ??= { x: SIDE / 2, y: SIDE / 4 };
    this.penDown = !this.penDown;
    if (this.penDown) this.start(this.cursor);
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
    const drawn = this.penDown;
    this.penDown = false;
    this.cursor = null;
    this.draw();
    if (drawn) this.changed(true);
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

  // Return the strokes as a picture: dark on light, with a margin.
  pixels() {
    const side = (SIDE + 2 * MARGIN) * DETAIL;
    const context = sheet(side, side);
    context.scale(DETAIL, DETAIL);
    context.translate(MARGIN, MARGIN);
    drawStrokes(context, this.strokes, "black");
    return context.getImageData(0, 0, side, side);
  }
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
