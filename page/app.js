// What happens when: the paper, pictures and test images feed the reading.
"use strict";

const MOST_PIXELS = 64e6;
const LARGEST = 4000; // pixels at which the browser hands over a picture
const NEAR = 0.001; // less is not worth telling as a second choice
const PAUSE = 450; // ms from the lifted pen to the scan: another stroke may follow

const $ = (id) => document.getElementById(id);
const text = $("data").textContent;

class App {
  constructor(data) {
    const { classes, height, width } = data;
    Object.assign(this, { data, classes, label: null, frame: 0, waiting: 0, pointsRead: -1 });
    this.turn = 0; // of the reading: one that is begun later ends it
    const Computed = MODELS[data.model.name];
    this.model = Computed && data.weights && new Computed(data.model, data.weights);
    [this.thing, this.step] = data.sequences ? ["sequence", "step"] : ["image", "row"];
    this.reading = new Reading(classes, height, width, this.step);
    this.paper = new Paper($("paper"), (done) => this.drawn(done));
    this.describe();
    this.showThumbs("examples", data.examples);
    this.showThumbs("mistakes", data.mistakes);
    this.listen();
    const first = data.examples[3 % data.examples.length] ?? data.mistakes[0];
    if (first) this.pick(first);
    else this.drawn(true);
  }

  listen() {
    $("undo").addEventListener("click", () => this.paper.undo());
    $("clear").addEventListener("click", () => this.paper.clear());
    $("choose").addEventListener("click", () => $("file").click());
    $("camera").addEventListener("click", () => $("capture").click());
    for (const input of [$("file"), $("capture")]) {
      input.addEventListener("change", () => {
        if (input.files[0]) this.open(input.files[0]);
        input.value = ""; // so that the same file can be chosen again
      });
    }
    const holdsFile = (event) => this.model && [...event.dataTransfer.types].includes("Files");
    addEventListener("dragover", (event) => {
      if (!holdsFile(event)) return;
      event.preventDefault();
      $("drop").hidden = false;
    });
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) $("drop").hidden = true;
    });
    addEventListener("drop", (event) => {
      if (!holdsFile(event)) return;
      event.preventDefault();
      $("drop").hidden = true;
      if (event.dataTransfer.files[0]) this.open(event.dataTransfer.files[0]);
    });
    addEventListener("paste", (event) => {
      const file = [...(event.clipboardData?.files ?? [])][0];
      if (file) this.open(file);
    });
    for (const kind of ["click", "input"]) { // who steps is not overtaken
      document.querySelector(".player").addEventListener(kind, () => clearTimeout(this.waiting));
    }
    for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
      matchMedia(query).addEventListener("change", () => this.repaint());
    }
    this.watchResolution();
  }

  // Paint anew where a pixel has another size: the page is zoomed, or on another screen.
  watchResolution() {
    matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener("change", () => {
      this.repaint();
      this.watchResolution();
    }, { once: true });
  }

  repaint() {
    this.paper.draw();
    this.reading.paint();
  }

  // Begin a reading, and return its number. What was begun before has no say any more.
  begin() {
    this.paper.stop();
    clearTimeout(this.waiting);
    return ++this.turn;
  }

  // The strokes have changed; `done`: the pen is lifted.
  drawn(done) {
    this.turn++;
    this.label = null;
    this.mark(null);
    this.say("");
    clearTimeout(this.waiting);
    if (this.paper.picture) return;
    if (!done) { // while it is drawn: at most once a frame
      this.frame ||= requestAnimationFrame(() => this.readStrokes(false));
      return;
    }
    this.readStrokes(true);
  }

  readStrokes(done) {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    if (this.paper.picture) return;
    const points = this.paper.strokes.flat().length;
    if (points !== this.pointsRead || !points) {
      this.read(points ? this.paper.image(this.data) : null);
      this.pointsRead = points;
    }
    this.answer(done);
  }

  // Read greys 0 to 255 of [height x width], or nothing; `beliefs` are those of a model that
  // is not computed here, after the steps `at` where they are of a sequence.
  read(image, beliefs = [], at = null) {
    const { height, width } = this.data;
    this.pointsRead = -1; // of the strokes, unless it is they
    $("said").textContent = ""; // of what was read before
    const test = this.label !== null; // a test image; a photo leaves no room for words
    $("hint").hidden = !this.paper.empty && !test;
    $("hint").textContent = test ? "draw over it" : "Draw here";
    $("hint").classList.toggle("over", test);
    $("undo").disabled = $("clear").disabled = this.paper.empty;
    if (!image) {
      this.reading.reset();
      return;
    }
    if (!this.model) { // a test example, which it read before
      this.reading.show(image, beliefs, at);
      return;
    }
    const rows = Array.from({ length: height }, (_, i) =>
      Float32Array.from(image.subarray(i * width, (i + 1) * width), (grey) => grey / 255));
    this.reading.show(image, this.model.read(rows).map(softmax));
  }

  // Tell what is believed in the end; once the pen is lifted, aloud, and with the way there.
  answer(done) {
    const p = this.reading.beliefs.at(-1);
    $("glyph").textContent = "";
    $("words").replaceChildren();
    if (!p) {
      $("words").append(span("more", this.paper.empty
        ? `Draw a ${this.noun}, and it tells what it reads.` : ""));
      return;
    }
    const [first, second = 0] = p.map((_, i) => i).sort((a, b) => p[b] - p[a]);
    $("glyph").textContent = this.classes[first];
    $("glyph").classList.toggle("long", this.classes[first].length > 2);
    const right = this.label === null ? ""
      : this.label === first ? "The label agrees."
        : `The label says ${this.classes[this.label]}.`;
    const other = p[second] < NEAR ? "Nothing else comes near."
      : `or ${this.classes[second]}, ${percent(p[second])}`;
    $("words").append(span("sure", percent(p[first])), span("more", right || other));
    if (!done) return;
    $("said").textContent =
      `It reads ${this.classes[first]}, ${percent(p[first])}. ${right || other}`;
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.waiting = setTimeout(() => this.reading.play(), PAUSE);
    }
  }

  // Read a test image.
  pick(example) {
    const pixels = bytesOf(example.pixels);
    this.begin();
    const { sequences, picture, width } = this.data;
    if (sequences) $("size").textContent = `${counted(example.at.at(-1), "step")} of ${counted(width, "value")}`;
    else this.paper.show(canvasOf(pixels, this.data, picture !== "scale"));
    this.label = example.actual;
    this.say("");
    this.mark(example);
    this.read(pixels, example.beliefs, example.at);
    this.answer(true);
  }

  // Read a picture of a file.
  async open(file) {
    if (!this.model) return;
    const turn = this.begin();
    let found, bitmap;
    try {
      found = await orientationOf(file);
      bitmap = await createImageBitmap(found.file);
    } catch {
      bitmap = null;
    }
    if (turn !== this.turn) return; // too late
    if (!bitmap) {
      this.say(`${file.name}: not a picture that this browser can read. Try PNG or JPEG.`);
      return;
    }
    if (bitmap.width * bitmap.height > MOST_PIXELS) {
      this.say(`${file.name}: more than 64 megapixels. Scale it down, please.`);
      return;
    }
    this.readPicture(bitmap, TURNS[found.orientation]);
  }

  readPicture(bitmap, way) {
    const { width, height } = bitmap;
    const scale = Math.min(1, LARGEST / Math.max(width, height));
    const size = [width, height].map((n) => Math.max(1, Math.round(n * scale)));
    const context = turnedSheet(...size, way);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, ...size);
    const { canvas } = context;
    const honest = returnsWhatIsDrawn();
    const image = honest
      ? imageOf(context.getImageData(0, 0, canvas.width, canvas.height), this.data) : null;
    this.label = null;
    this.mark(null);
    this.paper.show(canvas);
    this.say(image ? "" : honest ? "Nothing in this picture stands out from its background."
      : "This browser hides pictures from pages (against fingerprinting). Allow it, or draw.");
    this.read(image);
    this.answer(true);
  }

  say(message) {
    $("notice").textContent = message;
    $("notice").hidden = !message;
  }

  // Mark the test image that is read.
  mark(example) {
    for (const button of document.querySelectorAll(".thumbs button")) {
      button.setAttribute("aria-pressed", button.example === example && example !== null);
    }
  }

  showThumbs(id, examples) {
    $(id).parentElement.hidden = examples.length === 0;
    $(id).append(...examples.map((example) => {
      const button = document.createElement("button");
      const [actual, predicted] = [example.actual, example.predicted].map((i) => this.classes[i]);
      const canvas = this.thumbOf(bytesOf(example.pixels));
      button.type = "button";
      button.example = example;
      const wrong = actual !== predicted;
      button.setAttribute("aria-label", wrong
        ? `Test ${this.thing} of ${actual}, read as ${predicted}`
        : `Test ${this.thing} of ${actual}`);
      button.append(canvas, span("", wrong ? `${actual}, read as ${predicted}` : actual));
      button.addEventListener("click", () => this.pick(example));
      return button;
    }));
    $("gallery").hidden = this.data.examples.length + this.data.mistakes.length === 0;
  }

  thumbOf(pixels) {
    if (!this.data.sequences) return canvasOf(pixels, this.data, false);
    const canvas = document.createElement("canvas");
    paintSequence(canvas, pixels, this.data.width, 120, 120);
    return canvas;
  }

  // Put test sequences where others draw, and say which line is which.
  describeSequences({ features }, width) {
    document.body.classList.add("sequences");
    document.querySelector(".paper").hidden = true;
    document.querySelector(".paper").before($("gallery"));
    $("gallery-title").textContent = "Test sequences";
    const few = width <= MOST_LINES;
    for (const place of document.querySelectorAll("[data-few]")) place.hidden = !few;
    for (const place of document.querySelectorAll("[data-many]")) place.hidden = few;
    $("key").append(...(few && features ? features : []).map((name, q) => {
      const part = span("", `${name} `);
      part.style.color = LINES[q];
      return part;
    }));
  }

  // Write what is known of the model into the text.
  describe() {
    const { data } = this;
    const { hdim, n_layer } = data.model;
    const number = (n) => n.toLocaleString("en");
    const digits = this.classes.every((name) => /^\d$/.test(name));
    this.noun = data.sequences ? "sequence" : digits ? "digit" : "picture";
    const live = Boolean(this.model);
    document.title = `${live ? `Draw a ${this.noun} and watch` : "Watch"} ${data.called} read it`;
    for (const place of document.querySelectorAll("[data-called]")) place.textContent = data.called;
    for (const place of document.querySelectorAll("[data-model]")) {
      place.hidden = (place.dataset.model === "lstm") !== (data.model.name === "lstm");
    }
    for (const place of document.querySelectorAll("[data-live]")) place.hidden = !live;
    for (const place of document.querySelectorAll("[data-played]")) place.hidden = live;
    document.body.classList.toggle("played", !live);
    $("paper").tabIndex = live ? 0 : -1;
    for (const place of document.querySelectorAll("[data-noun]")) place.textContent = this.noun;
    for (const place of document.querySelectorAll("[data-thing]")) place.textContent = this.thing;
    for (const place of document.querySelectorAll("[data-step]")) place.textContent = this.step;
    for (const place of document.querySelectorAll("[data-kind]")) {
      place.hidden = place.dataset.kind !== this.thing;
    }
    $("row").setAttribute("aria-label", `${this.step === "row" ? "Rows" : "Steps"} read`);
    $("back").setAttribute("aria-label", `One ${this.step} back`);
    $("on").setAttribute("aria-label", `One ${this.step} on`);
    for (const place of document.querySelectorAll("[data-digits]")) {
      place.hidden = !digits || Boolean(data.sequences);
    }
    if (data.sequences) this.describeSequences(data.sequences, data.width);
    for (const place of document.querySelectorAll("[data-picture]")) {
      place.hidden = !live || place.dataset.picture !== data.picture;
    }
    if (data.picture === "scale") { // what is drawn is read with its colours
      $("paper").parentElement.classList.add(data.dark ? "dark" : "light");
    }
    const size = `${data.height} × ${data.width}`;
    for (const place of document.querySelectorAll("[data-size]")) place.textContent = size;
    $("size").textContent = `${size} dots`;
    $("memory").textContent = `${number(2 * n_layer * hdim)} numbers`;
    $("n-test").textContent = number(data.n_test);
    $("accuracy").textContent = `${(100 * data.accuracy).toFixed(2)}%`;
    $("parameters").textContent = number(data.parameters);
    $("layers").textContent = n_layer === 1 ? "the one layer" : `each of the ${n_layer} layers`;
    $("hidden").textContent = `${number(hdim)} units`;
  }
}

const counted = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

// Return a canvas with greys 0 to 255: as they are, or as ink (255 covers all, 0 nothing).
function canvasOf(pixels, { height, width }, ink) {
  const context = sheet(width, height);
  const image = context.createImageData(width, height);
  pixels.forEach((grey, i) =>
    image.data.set(ink ? [0, 0, 0, grey] : [grey, grey, grey, 255], 4 * i));
  context.putImageData(image, 0, 0);
  return Object.assign(context.canvas, { ink });
}

if (text) {
  globalThis.app = new App(JSON.parse(text));
} else {
  $("notice").textContent = "This is the page's source. `dvc repro` makes models/page.html of it.";
  $("notice").hidden = false;
}
