// The LSTM, by hand: the same weights and the same arithmetic as PyTorch's nn.LSTM.
"use strict";

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

class LSTM {
  constructor({ hdim, ydim, n_layer }, encoded) {
    this.hdim = hdim;
    this.ydim = ydim;
    const weights = decodeWeights(encoded);
    this.layers = Array.from({ length: n_layer }, (_, k) => ({
      input: weights[`rnn.weight_ih_l${k}`],
      hidden: weights[`rnn.weight_hh_l${k}`],
      // nn.LSTM has two biases; they are only ever added.
      bias: weights[`rnn.bias_ih_l${k}`].map((b, i) => b + weights[`rnn.bias_hh_l${k}`][i]),
    }));
    this.head = { weight: weights["lin.weight"], bias: weights["lin.bias"] };
  }

  // Return the logits after each row: `rows` are arrays of greys in [0, 1].
  read(rows) {
    const zeros = () => new Float32Array(this.hdim);
    const states = this.layers.map(() => ({ h: zeros(), c: zeros() }));
    return rows.map((row) => {
      let x = row;
      this.layers.forEach((layer, k) => {
        this.step(layer, states[k], x);
        x = states[k].h;
      });
      const logits = Float32Array.from(this.head.bias);
      addProduct(logits, this.head.weight, x);
      return logits;
    });
  }

  // One step of one layer. PyTorch's order of the gates: input, forget, cell, output.
  step({ input, hidden, bias }, { h, c }, x) {
    const gates = Float32Array.from(bias);
    addProduct(gates, input, x);
    addProduct(gates, hidden, h);
    const d = this.hdim;
    for (let i = 0; i < d; i++) {
      const remembered = sigmoid(gates[d + i]) * c[i];
      c[i] = remembered + sigmoid(gates[i]) * Math.tanh(gates[2 * d + i]);
      h[i] = sigmoid(gates[3 * d + i]) * Math.tanh(c[i]);
    }
  }
}

// Turn logits into probabilities.
function softmax(logits) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (value) => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}
