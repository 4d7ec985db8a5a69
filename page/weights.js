// What every model that the page computes is made of: weights, products, probabilities.
"use strict";

// By the name of the model: its class. What is not here is shown as it read before.
const MODELS = {};

// Decode base64 into bytes.
function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

// Read a 16-bit float: a sign, 5 bits of exponent, 10 of mantissa.
function float16(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

// Return the weights by name, each a Float32Array, row after row.
function decodeWeights({ type, tensors, base64 }) {
  const view = new DataView(bytesOf(base64).buffer);
  const size = type === "float16" ? 2 : 4;
  const read = type === "float16"
    ? (at) => float16(view.getUint16(at, true))
    : (at) => view.getFloat32(at, true);
  const weights = {};
  let at = 0;
  for (const [name, shape] of tensors) {
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < values.length; i++, at += size) values[i] = read(at);
    weights[name] = values;
  }
  return weights;
}

// out[row] += matrix[row] . vector
function addProduct(out, matrix, vector) {
  const width = vector.length;
  for (let row = 0, at = 0; row < out.length; row++) {
    let sum = 0;
    for (let column = 0; column < width; column++) sum += matrix[at++] * vector[column];
    out[row] += sum;
  }
}

const sigmoid = (value) => 1 / (1 + Math.exp(-value));

// Turn logits into probabilities.
function softmax(logits) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (value) => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}
