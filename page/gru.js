// The GRU, by hand: the same weights and the same arithmetic as PyTorch's nn.GRU.
"use strict";

class GRU {
  constructor({ hdim, n_layer }, encoded) {
    this.hdim = hdim;
    const weights = decodeWeights(encoded);
    this.layers = Array.from({ length: n_layer }, (_, k) => ({
      input: weights[`rnn.${k}.weight_ih_l0`],
      hidden: weights[`rnn.${k}.weight_hh_l0`],
      inputBias: weights[`rnn.${k}.bias_ih_l0`],
      hiddenBias: weights[`rnn.${k}.bias_hh_l0`],
    }));
    this.head = { weight: weights["lin.weight"], bias: weights["lin.bias"] };
  }

  // Return the logits after each row: `rows` are arrays of greys in [0, 1].
  read(rows) {
    const states = this.layers.map(() => new Float32Array(this.hdim));
    return rows.map((row) => {
      let x = row;
      this.layers.forEach((layer, k) => {
        this.step(layer, states[k], x);
        x = states[k];
      });
      const logits = Float32Array.from(this.head.bias);
      addProduct(logits, this.head.weight, x);
      return logits;
    });
  }

  // One step of one layer. PyTorch's order of the gates: reset, update, new.
  step({ input, hidden, inputBias, hiddenBias }, h, x) {
    const ofInput = Float32Array.from(inputBias);
    const ofState = Float32Array.from(hiddenBias);
    addProduct(ofInput, input, x);
    addProduct(ofState, hidden, h);
    const d = this.hdim;
    for (let i = 0; i < d; i++) {
      const reset = sigmoid(ofInput[i] + ofState[i]);
      const update = sigmoid(ofInput[d + i] + ofState[d + i]);
      const fresh = Math.tanh(ofInput[2 * d + i] + reset * ofState[2 * d + i]);
      h[i] = fresh + update * (h[i] - fresh);
    }
  }
}

MODELS.gru = GRU;
