// Of pictures in files: which way up they are, and whether the browser lets a page read them.
"use strict";

// By EXIF's orientation, 1 to 8: where right and down of the file point to in what is shown.
const TURNS = [
  [1, 0, 0, 1], [1, 0, 0, 1], [-1, 0, 0, 1], [-1, 0, 0, -1], [1, 0, 0, -1],
  [0, 1, 1, 0], [0, 1, -1, 0], [0, -1, -1, 0], [0, -1, 1, 0],
];

// Return a context to draw a file's picture of [height x width] upright.
function turnedSheet(width, height, [a, b, c, d]) {
  const size = a ? [width, height] : [height, width];
  const context = sheet(...size);
  context.setTransform(a, b, c, d, a + c < 0 ? size[0] : 0, b + d < 0 ? size[1] : 0);
  return context;
}

// Return a WebP's orientation, and the file without it. Chromium turns JPEG, PNG and AVIF, but
// not WebP; where it is hidden, no browser does, and the page can.
async function orientationOf(file) {
  const whole = { file, orientation: 1 };
  const text = (bytes) => String.fromCharCode(...new Uint8Array(bytes));
  if (!/^RIFF.{4}WEBP/s.test(text(await file.slice(0, 12).arrayBuffer()))) return whole;
  const buffer = await file.arrayBuffer();
  const view = new DataView(buffer);
  for (let at = 12; at + 8 <= buffer.byteLength;) {
    const size = view.getUint32(at + 4, true);
    if (text(buffer.slice(at, at + 4)) === "EXIF") {
      const start = at + 8 + (text(buffer.slice(at + 8, at + 12)) === "Exif" ? 6 : 0);
      view.setUint32(at, 0);
      return { file: new Blob([buffer]), orientation: orientationIn(view, start) };
    }
    at += 8 + size + (size % 2);
  }
  return whole;
}

// Return the orientation that EXIF, from `start` on, tells; 1, upright, where it tells none.
function orientationIn(view, start) {
  try {
    const little = view.getUint16(start) === 0x4949;
    const first = start + view.getUint32(start + 4, little);
    for (let i = 0; i < view.getUint16(first, little); i++) {
      const entry = first + 2 + 12 * i;
      if (view.getUint16(entry, little) !== 0x0112) continue;
      const found = view.getUint16(entry + 8, little);
      return found >= 1 && found <= 8 ? found : 1;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // it ends too early
  }
  return 1;
}

// Say whether the page reads from a canvas what it has drawn: a browser that wards off
// fingerprinting returns noise, or white.
function returnsWhatIsDrawn() {
  const [side, dark, light] = [32, 64, 192];
  const context = sheet(side, side);
  for (const [grey, left] of [[dark, 0], [light, side / 2]]) {
    context.fillStyle = `rgb(${grey} ${grey} ${grey})`;
    context.fillRect(left, 0, side / 2, side);
  }
  try {
    const { data } = context.getImageData(0, 0, side, side);
    const away = data.reduce((sum, value, i) => sum + Math.abs(
      value - (i % 4 === 3 ? 255 : (i / 4) % side < side / 2 ? dark : light)), 0);
    return away / data.length < 4; // less hides no ink
  } catch {
    return false;
  }
}
