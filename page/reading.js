// The reading: image or sequence under a scan line, belief after each row, bars, and a player.
"use strict";

const MS_PER_ROW = 70;
const MS_OF_STEPS = 4000; // at most, of a whole sequence
const MOST = 10; // classes that are shown; all of them, where there are at most 12

const percent = (p) => {
  if (p > 0.999 && p < 1) return "> 99.9%";
  return `${(100 * p).toFixed(1)}%`;
};

const best = (p) => p.reduce((top, value, i) => (value > p[top] ? i : top), 0);

class Reading {
  // `step`: what a row is called; `at`, of a sequence, has the numbers of those that are shown.
  constructor(classes, height, width, step) {
    Object.assign(this, { classes, height, width, step, image: null, beliefs: [], timer: 0 });
    this.at = null;
    this.element = Object.fromEntries(
      ["seen", "heat", "axis", "bars", "row", "play", "back", "on", "after"]
        .map((id) => [id, document.getElementById(id)]));
    const { row, play, back, on } = this.element;
    row.max = row.value = height;
    row.addEventListener("input", () => this.stop(Number(row.value)));
    play.addEventListener("click", () => (this.timer ? this.stop() : this.play()));
    back.addEventListener("click", () => this.stop(this.row - 1));
    on.addEventListener("click", () => this.stop(this.row + 1));
    new ResizeObserver(() => this.paint()).observe(this.element.heat);
    this.reset();
  }

  // Show nothing.
  reset() {
    this.show(null, []);
  }

  // Show `image` (greys 0 to 255) as read: `beliefs` has the probabilities after each row, or
  // after each of the steps `at`.
  show(image, beliefs, at = null) {
    this.stop();
    this.at = at;
    if (at) this.element.row.max = this.height = at.length;
    this.image = image;
    this.beliefs = beliefs;
    this.shown = this.choose();
    this.layOut();
    this.paint();
    this.element.row.disabled = this.element.play.disabled = !image;
    this.go(this.height);
  }

  // Return which classes are shown: all, or those that are believed most in the end.
  choose() {
    const all = this.classes.map((_, i) => i);
    if (all.length <= MOST + 2) return all;
    const last = this.beliefs.at(-1);
    return last ? all.sort((a, b) => last[b] - last[a]).slice(0, MOST) : all.slice(0, MOST);
  }

  // Make a bar and a label of the axis for each class that is shown.
  layOut() {
    const { bars, axis } = this.element;
    const key = this.shown.join();
    if (bars.dataset.key === key) return;
    bars.dataset.key = key;
    const long = this.shown.some((i) => this.classes[i].length > 2);
    bars.classList.toggle("long", long);
    axis.classList.toggle("long", long);
    bars.replaceChildren(...this.shown.map((i) => {
      const bar = document.createElement("li");
      bar.append(span("name", this.classes[i]), span("track"), span("share"));
      bar.children[0].title = this.classes[i];
      bar.children[1].append(span("fill"));
      return bar;
    }));
    axis.replaceChildren(...this.shown.map((i) => span("", this.classes[i])));
  }

  paint() {
    this.paintSeen();
    this.paintHeat();
  }

  paintSeen() {
    const { seen } = this.element;
    const { height, width } = this;
    if (this.at) {
      const side = Math.round(seen.clientWidth * devicePixelRatio);
      paintSequence(seen, this.image, width, side, side);
      return;
    }
    if (seen.width !== width || seen.height !== height) Object.assign(seen, { height, width });
    const image = this.image ?? new Uint8Array(height * width);
    seen.getContext("2d").drawImage(canvasOf(image, this, false), 0, 0);
  }

  paintHeat() {
    const { heat } = this.element;
    const width = Math.round(heat.clientWidth * devicePixelRatio);
    const height = Math.round(heat.clientHeight * devicePixelRatio);
    if (!width || !height) return;
    Object.assign(heat, { width, height });
    const context = heat.getContext("2d");
    context.fillStyle = getComputedStyle(heat).color;
    const across = width / this.shown.length;
    const down = height / this.height;
    this.beliefs.forEach((p, row) => this.shown.forEach((i, column) => {
      const [x, y] = [Math.round(column * across), Math.round(row * down)];
      context.globalAlpha = p[i];
      context.fillRect(x, y, Math.round((column + 1) * across) - x,
        Math.round((row + 1) * down) - y);
    }));
  }

  // Go to where `row` rows are read.
  go(row) {
    this.row = clip(row, 1, this.height);
    this.element.row.value = this.row;
    for (const plate of document.querySelectorAll(".plate")) {
      plate.style.setProperty("--read", this.row / this.height);
      plate.classList.toggle("idle", !this.image);
    }
    const p = this.beliefs[this.row - 1];
    const top = p ? best(p) : -1;
    this.shown.forEach((i, at) => {
      const bar = this.element.bars.children[at];
      bar.children[1].firstChild.style.width = `${p ? 100 * p[i] : 0}%`;
      bar.children[2].textContent = p ? percent(p[i]) : "";
      bar.classList.toggle("top", i === top);
    });
    const [read, all] = this.at
      ? [this.at[this.row - 1], this.at.at(-1)] : [this.row, this.height];
    const where = read === all
      ? `after all ${all} ${this.step}s` : `after ${this.step} ${read} of ${all}`;
    this.element.after.textContent = p ? where : "nothing read yet";
    const said = p ? `${where}: ${this.classes[top]}, ${percent(p[top])}` : "";
    this.element.row.setAttribute("aria-valuetext", said);
    this.element.back.disabled = !p || this.row === 1;
    this.element.on.disabled = !p || this.row === this.height;
  }

  // Read on by itself, from the first row where the end is reached.
  play() {
    if (!this.image) return;
    this.stop(this.row === this.height ? 1 : this.row);
    this.timer = setInterval(() => {
      this.go(this.row + 1);
      if (this.row === this.height) this.stop();
    }, this.at ? Math.min(MS_PER_ROW, MS_OF_STEPS / this.height) : MS_PER_ROW);
    this.setPlaying(true);
  }

  // Stop, at `row` if it is given.
  stop(row) {
    clearInterval(this.timer);
    this.timer = 0;
    this.setPlaying(false);
    if (row) this.go(row);
  }

  setPlaying(playing) {
    const { play } = this.element;
    play.classList.toggle("playing", playing);
    play.setAttribute("aria-label", playing ? "Pause" : "Play");
  }
}

function span(name, text = "") {
  const element = document.createElement("span");
  element.className = name;
  element.textContent = text;
  return element;
}
