// From a picture to an image like MNIST's. The specification, its numbers and their reasons
// stand in data/picture.py of the library; the steps here have the same names and order.
"use strict";

const LONGEST = 1000;
const CELLS = 32;
const AROUND = 5;
const MIN_CONTRAST = 0.15;
const MIN_STANDING_OUT = 4.5;
const DOUBTFUL = 6;
const MIN_LINE = 2.0;
const LEVEL = 0.85;

const clip = (value, low, high) => Math.min(Math.max(value, low), high);

// A grid of numbers, row after row.
class Grid {
  constructor(height, width, values = new Float64Array(height * width)) {
    Object.assign(this, { height, width, values });
  }

  map(change) {
    return new Grid(this.height, this.width, this.values.map(change));
  }
}

// Return `picture` (an ImageData) as the model reads it: greys of [height x width]; null where
// it finds no ink.
function imageOf(pixels, { picture, height, width }) {
  return picture === "scale" ? scaled(greyIn(pixels), height, width) : prepare(pixels, height, width);
}

// Return `picture` (an ImageData) as greys 0 to 255 of [height x width], light on dark; null
// where there is no ink in it.
function prepare(picture, height = 28, width = 28) {
  const darkness = darknessOf(greyOf(picture));
  const found = inkOf(darkness);
  if (!found) return null;
  const kept = belonging(found.where);
  const around = dilated(kept);
  const { level, base } = found;
  const values = darkness.map((value, i) =>
    around.values[i] * clip((value - base) / (level - base), 0, 1));
  return placed(values, kept, height, width);
}

function greyOf(picture) {
  return averaged(greyIn(picture), Math.ceil(Math.max(picture.height, picture.width) / LONGEST));
}

function greyIn({ data, height, width }) {
  const grey = new Grid(height, width);
  for (let i = 0, at = 0; i < grey.values.length; i++, at += 4) {
    const value = (data[at] * 299 + data[at + 1] * 587 + data[at + 2] * 114) / 1000;
    const alpha = data[at + 3] / 255;
    grey.values[i] = value * alpha + 255 * (1 - alpha);
  }
  return grey;
}

// Scale all of a picture as Pillow's BILINEAR does: by triangles, as wide as a pixel of the
// image is in the picture, to either side of its middle.
function scaled(grey, height, width) {
  const [down, across] = [triangles(height, grey.height), triangles(width, grey.width)];
  return Uint8ClampedArray.from({ length: height * width }, (_, i) => {
    let sum = 0;
    for (const [row, share] of down[Math.floor(i / width)]) {
      for (const [column, part] of across[i % width]) {
        sum += share * part * grey.values[row * grey.width + column];
      }
    }
    return sum + 0.5;
  });
}

// Return, for each of n pixels, which of `length` it is made of and with what shares.
function triangles(n, length) {
  const reach = Math.max(1, length / n);
  return Array.from({ length: n }, (_, i) => {
    const middle = ((i + 0.5) * length) / n;
    const pairs = [];
    for (let at = Math.max(0, Math.floor(middle - reach)); at < Math.min(length, middle + reach); at++) {
      const share = 1 - Math.abs(at + 0.5 - middle) / reach;
      if (share > 0) pairs.push([at, share]);
    }
    const whole = pairs.reduce((sum, [, share]) => sum + share, 0);
    return pairs.map(([at, share]) => [at, share / whole]);
  });
}

// Average blocks of k x k; at the right and lower edge, what is left of them.
function averaged(grid, k) {
  if (k === 1) return grid;
  const out = new Grid(Math.ceil(grid.height / k), Math.ceil(grid.width / k));
  for (let row = 0, at = 0; row < grid.height; row++) {
    const start = Math.floor(row / k) * out.width;
    for (let column = 0; column < grid.width; column++, at++) {
      out.values[start + Math.floor(column / k)] += grid.values[at];
    }
  }
  const size = (i, length) => Math.min(k, length - i * k);
  return out.map((sum, i) => {
    const row = Math.floor(i / out.width);
    return sum / (size(row, grid.height) * size(i % out.width, grid.width));
  });
}

function darknessOf(grey) {
  const k = Math.ceil(Math.max(grey.height, grey.width) / CELLS);
  let cells = averaged(grey, k);
  const usual = spreadOut(aroundEach(cells, AROUND, median), k, grey);
  let cubes = 0;
  for (let i = 0; i < grey.values.length; i++) cubes += (grey.values[i] - usual.values[i]) ** 3;
  if (cubes > 0) {
    grey = grey.map((value) => 255 - value);
    cells = cells.map((value) => 255 - value);
  }
  const closed = aroundEach(aroundEach(cells, AROUND, highest), AROUND, lowest);
  const paper = spreadOut(aroundEach(closed, 1, mean), k, grey);
  return grey.map((value, i) =>
    clip((paper.values[i] - value) / Math.max(paper.values[i], 1), 0, 1));
}

function median(values) {
  values.sort();
  const half = values.length / 2;
  return (values[Math.ceil(half) - 1] + values[Math.floor(half)]) / 2;
}

const highest = (values) => Math.max(...values);
const lowest = (values) => Math.min(...values);
const mean = (values) => values.reduce((a, b) => a + b) / values.length;

// Return `what` of each cell and those up to `reach` away that exist.
function aroundEach(cells, reach, what) {
  const found = new Float64Array((2 * reach + 1) ** 2);
  return cells.map((_, i) => {
    const row = Math.floor(i / cells.width);
    const column = i % cells.width;
    let n = 0;
    const lastRow = Math.min(row + reach, cells.height - 1);
    const lastColumn = Math.min(column + reach, cells.width - 1);
    for (let y = Math.max(row - reach, 0); y <= lastRow; y++) {
      for (let x = Math.max(column - reach, 0); x <= lastColumn; x++) {
        found[n++] = cells.values[y * cells.width + x];
      }
    }
    return what(found.subarray(0, n));
  });
}

// Interpolate between the centres of cells of k x k pixels, over the size of `like`.
function spreadOut(cells, k, like) {
  const line = (length, n) => Array.from({ length }, (_, i) => {
    const at = clip((i + 0.5) / k - 0.5, 0, n - 1);
    const low = Math.min(Math.floor(at), Math.max(0, n - 2));
    return { low, high: Math.min(low + 1, n - 1), share: at - low };
  });
  const columns = line(like.width, cells.width);
  const rows = line(like.height, cells.height);
  const out = new Grid(like.height, like.width);
  let at = 0;
  for (const { low, high, share } of rows) {
    const mixed = Array.from({ length: cells.width }, (_, x) =>
      cells.values[low * cells.width + x] * (1 - share)
        + cells.values[high * cells.width + x] * share);
    for (const column of columns) {
      out.values[at++] = mixed[column.low] * (1 - column.share)
        + mixed[column.high] * column.share;
    }
  }
  return out;
}

// Tell ink from paper: where it is (1, or 0), the mean darkness of both, and by how many
// standard deviations they differ; null where there is none.
function inkOf(darkness) {
  const bins = Uint8Array.from(darkness.values, (value) => Math.min(Math.floor(value * 256), 255));
  const counts = new Float64Array(256);
  for (const bin of bins) counts[bin]++;
  const threshold = otsu(counts);
  if (threshold < 0) return null;
  let ink = inkAbove(darkness, bins, threshold);
  if (ink.standsOut < DOUBTFUL) {
    const higher = otsu(counts.fill(0, 0, threshold + 1));
    const again = higher < 0 ? ink : inkAbove(darkness, bins, higher);
    if (again.standsOut > ink.standsOut) ink = again;
  }
  return ink.level - ink.base < MIN_CONTRAST || ink.standsOut < MIN_STANDING_OUT ? null : ink;
}

function inkAbove({ height, width, values }, bins, threshold) {
  const where = new Grid(height, width, Float64Array.from(bins, (bin) => (bin > threshold ? 1 : 0)));
  const n = [0, 0];
  const means = [0, 0];
  for (let i = 0; i < values.length; i++) {
    n[where.values[i]]++;
    means[where.values[i]] += values[i];
  }
  const [base, level] = [means[0] / n[0], means[1] / n[1]];
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    squares += (values[i] - (where.values[i] ? level : base)) ** 2;
  }
  const spread = Math.max(Math.sqrt(squares / values.length), 1e-9);
  return { where, level, base, standsOut: (level - base) / spread };
}

// Return the level that best parts `counts` in two; -1 for a single level.
function otsu(counts) {
  const n = counts.reduce((a, b) => a + b);
  const total = counts.reduce((sum, count, i) => sum + count * i, 0);
  let threshold = -1;
  let most = -1;
  for (let i = 0, below = 0, sum = 0; i < 255; i++) {
    below += counts[i];
    sum += counts[i] * i;
    const above = n - below;
    if (below === 0 || above === 0) continue;
    const between = below * above * (sum / below - (total - sum) / above) ** 2;
    if (between > most) [most, threshold] = [between, i];
  }
  return threshold;
}

// Return `ink` without specks and without what comes in from outside the picture.
function belonging(ink) {
  const { height, width } = ink;
  const { labels, size, onRim } = connected(ink);
  const inner = size.reduce((most, n, i) => (onRim[i] ? most : Math.max(most, n)), 0);
  const foreign = size.map((n, i) => {
    const share = onRim[i] >= Math.min(height, width) / 4 ? 0.02 : 0.2;
    return onRim[i] > 0 && inner >= n * share;
  });
  const largest = size.reduce((most, n, i) => (foreign[i] ? most : Math.max(most, n)), 0);
  const keep = size.map((n, i) => !foreign[i] && n >= 0.03 * largest);
  return ink.map((_, i) => (labels[i] >= 0 && keep[labels[i]] ? 1 : 0));
}

// Label ink that touches, corners included; count the pixels of each, and those on the rim.
function connected({ height, width, values }) {
  const labels = new Int32Array(values.length).fill(-1);
  const todo = new Int32Array(values.length);
  const size = [];
  const onRim = [];
  for (let start = 0; start < values.length; start++) {
    if (!values[start] || labels[start] >= 0) continue;
    const label = size.length;
    size.push(0);
    onRim.push(0);
    labels[start] = label;
    todo[0] = start;
    for (let n = 1; n > 0;) {
      const at = todo[--n];
      const row = Math.floor(at / width);
      const column = at % width;
      size[label]++;
      if (row === 0 || column === 0 || row === height - 1 || column === width - 1) {
        onRim[label]++;
      }
      for (let y = Math.max(row - 1, 0); y <= Math.min(row + 1, height - 1); y++) {
        for (let x = Math.max(column - 1, 0); x <= Math.min(column + 1, width - 1); x++) {
          const next = y * width + x;
          if (values[next] && labels[next] < 0) {
            labels[next] = label;
            todo[n++] = next;
          }
        }
      }
    }
  }
  return { labels, size, onRim };
}

// Return 1 where there is a 1 within a pixel, corners included.
function dilated({ height, width, values }) {
  const out = new Grid(height, width);
  values.forEach((value, at) => {
    if (!value) return;
    const row = Math.floor(at / width);
    const column = at % width;
    for (let y = Math.max(row - 1, 0); y <= Math.min(row + 1, height - 1); y++) {
      for (let x = Math.max(column - 1, 0); x <= Math.min(column + 1, width - 1); x++) {
        out.values[y * width + x] = 1;
      }
    }
  });
  return out;
}

// Scale `values` into the image, centre of mass at its centre.
function placed(values, kept, height, width) {
  const [rows, columns] = sums(kept).map((line) => [
    line.findIndex((n) => n > 0), line.findLastIndex((n) => n > 0) + 1,
  ]);
  const size = [rows[1] - rows[0], columns[1] - columns[0]];
  const room = [height * (5 / 7), width * (5 / 7)];
  const fit = (less) => Math.max(size[0] / (room[0] - less), size[1] / (room[1] - less));
  const spread = 1 + clip(MIN_LINE - lineWidth(kept) / fit(0), 0, MIN_LINE - 1);
  const scale = fit(spread - 1); // pixels of the picture in one of the image
  const margin = (spread - 1) / 2;

  const [down, across] = sums(values).map((profile, axis) => {
    const mass = profile.reduce((a, b) => a + b, 0);
    const centre = profile.reduce((sum, m, i) => sum + m * (i + 0.5), 0) / mass;
    const n = [height, width][axis];
    const first = [rows, columns][axis][0];
    // Where the box begins, in pixels of the image.
    const begin = clip(Math.floor(n / 2) + 0.5 - (centre - first) / scale,
      margin, Math.max(margin, n - margin - size[axis] / scale));
    return areas(n, begin, first, scale, spread, profile.length);
  });
  const out = new Float64Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let i = 0; i < down[y].shares.length; i++) {
      const start = (down[y].first + i) * values.width;
      for (let x = 0; x < width; x++) {
        const { first, shares } = across[x];
        let sum = 0;
        for (let j = 0; j < shares.length; j++) {
          sum += shares[j] * values.values[start + first + j];
        }
        out[y * width + x] += down[y].shares[i] * sum;
      }
    }
  }
  const level = out.reduce((sum, v) => sum + v * v, 0) / out.reduce((sum, v) => sum + v, 0);
  const gain = Math.max(1, LEVEL / level);
  return Uint8Array.from(out, (v) => Math.floor(Math.min(v * gain, 1) * 255 + 0.5));
}

// Return the sums over each row, and over each column.
function sums({ height, width, values }) {
  const rows = new Array(height).fill(0);
  const columns = new Array(width).fill(0);
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at++) {
      rows[row] += values[at];
      columns[column] += values[at];
    }
  }
  return [rows, columns];
}

// Return, for each of `count` pixels, which of `length` it is the mean of, and their shares.
function areas(count, begin, first, scale, spread, length) {
  return Array.from({ length: count }, (_, i) => {
    const middle = first + (i + 0.5 - begin) * scale;
    const low = middle - (spread * scale) / 2;
    const high = middle + (spread * scale) / 2;
    const start = clip(Math.floor(low), 0, length);
    const n = Math.max(0, clip(Math.ceil(high), 0, length) - start);
    const shares = Float64Array.from({ length: n }, (_, j) =>
      (Math.min(high, start + j + 1) - Math.max(low, start + j)) / (spread * scale));
    return { first: start, shares };
  });
}

// Return the mean width of the lines: their area by half of their outline.
function lineWidth({ height, width, values }) {
  let outline = 0;
  let area = 0;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (!values[at]) continue;
      area++;
      outline += (y === 0 || !values[at - width]) + (y === height - 1 || !values[at + width])
        + (x === 0 || !values[at - 1]) + (x === width - 1 || !values[at + 1]);
    }
  }
  return area / (outline * Math.PI / 8);
}
