// The LSTM, by hand: the same weights and the same arithmetic as PyTorch's nn.LSTM.
"use strict";

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

MODELS.lstm = LSTM;
