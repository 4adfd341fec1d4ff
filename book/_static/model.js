/* Two models of this course in plain JavaScript: the language model of chapters 04 to 07 and 12, and the digits of
   chapters 16 and 17. blueberry_lib/export_web.py writes their weights; there is no other code and no library.
   A matrix is {data, rows, columns}: a Float32Array, row by row. A vector is a Float32Array. */
const bytesOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

/** The tensors of an exported file by name. Matrices come as int8 and one float32 scale per row. */
function readTensors(file) {
  const floats = new Float32Array(bytesOf(file.floats).buffer), integers = new Int8Array(bytesOf(file.integers).buffer);
  let f = 0, i = 0;
  return Object.fromEntries(file.tensors.map(([name, [rows = 1, columns]]) => {
    const scales = floats.subarray(f, (f += rows));
    if (columns === undefined) return [name, scales];
    const whole = new Float32Array(integers.subarray(i, (i += rows * columns)));
    return [name, { data: whole.map((value, j) => value * scales[Math.floor(j / columns)]), rows, columns }];
  }));
}

/** matrix · x + bias. There are two sums, since a processor need not wait for one before it adds to the other. */
function multiply({ data, rows, columns }, x, bias) {
  const out = new Float32Array(rows);
  for (let r = 0, i = 0; r < rows; r++) {
    let even = bias ? bias[r] : 0, odd = 0, c = 0;
    for (; c + 1 < columns; c += 2, i += 2) even += data[i] * x[c], odd += data[i + 1] * x[c + 1];
    out[r] = even + odd + (c < columns ? data[i++] * x[c] : 0);
  }
  return out;
}

const add = (x, y, scale) => x.forEach((_, i) => (x[i] += scale ? scale[i] * y[i] : y[i]));

/** x / sqrt(mean(x²) + ε), times a gain (chapter 05). */
function rmsNorm(x, gain) {
  const scale = 1 / Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length + 1e-6);
  return x.map((value, i) => value * scale * (gain ? gain[i] : 1));
}

function softmax(x) {
  const largest = x.reduce((a, b) => Math.max(a, b)), out = x.map((value) => Math.exp(value - largest));
  const sum = out.reduce((a, b) => a + b);
  return out.map((value) => value / sum);
}

/** The weight of each key: softmax(q · k / √D) over D entries, of the query from `at`, of a key from `shared` on. */
const look = (query, keys, D, at, shared) => softmax(Float32Array.from(keys, (key) => {
  let score = 0;
  for (let d = 0; d < D; d++) score += query[at + d] * key[shared + d];
  return score / Math.sqrt(D);
}));
/** One head of attention (chapter 04): the sum of the values, each times the weight of its key. */
function attend(query, keys, values, D, at, shared, out) {
  const weights = look(query, keys, D, at, shared);
  values.forEach((value, t) => {
    for (let d = 0; d < D; d++) out[at + d] += weights[t] * value[shared + d];
  });
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x)), silu = (x) => x * sigmoid(x);
const gelu = (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/** Random numbers in [0, 1) that depend on the seed alone (mulberry32). */
const randomNumbers = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};
/** A draw of N(0, 1), from two uniform ones (Box and Muller). */
const gaussian = (random) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

/** Byte-level BPE (chapter 01): text ↔ ids. A vocabulary entry is a string whose character codes are bytes. */
class BytePairs {
  constructor(vocabulary) {
    this.vocabulary = vocabulary;
    this.ids = new Map(vocabulary.map((entry, id) => [entry, id]).filter(([entry]) => entry));
  }
  encode(text) {
    const words = text.match(/'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu) ?? [];
    return words.flatMap((word) => {
      const parts = Array.from(new TextEncoder().encode(word), (byte) => String.fromCharCode(byte));
      for (;;) { // merge the pair that was learned first, until no pair is in the vocabulary
        const ids = parts.slice(1).map((next, i) => this.ids.get(parts[i] + next) ?? Infinity), id = Math.min(...ids);
        if (id === Infinity) return parts.map((part) => this.ids.get(part));
        parts.splice(ids.indexOf(id), 2, this.vocabulary[id]);
      }
    });
  }
  /** The bytes of one id. A character may take several, so it takes a TextDecoder to put them together. */
  bytes(id) { return Uint8Array.from(this.vocabulary[id] ?? "", (character) => character.charCodeAt(0)); }
}

/** What both models have: a config, weights by name, and layers that are found by name. */
class Model {
  constructor(file) { [this.config, this.weights] = [file.config, readTensors(file)]; }
  linear(name, x) { return multiply(this.weights[`${name}.weight`], x, this.weights[`${name}.bias`]); }
  norm(name, x) { return rmsNorm(x, this.weights[`${name}.gain`]); }
}

/** The transformer of blueberry_lib/model, one token at a time, with its cache of keys and values (chapter 07). */
class TextModel extends Model {
  constructor(file) { super(file), (this.tokenizer = new BytePairs(file.vocabulary)), this.restart(); }
  restart() { // forget all tokens seen
    [this.cache, this.position] = [Array.from(Array(this.config.n_layers), () => ({ keys: [], values: [] })), 0];
    this.seen = { ids: [], keys: [] }; // what the copy head looks among
  }
  /** Norm each head, then turn each of its pairs (x[i], x[i + D/2]) by an angle that grows with the position (RoPE). */
  normAndTurn(x, gain) {
    const D = gain.length, out = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += D) {
      const head = rmsNorm(x.subarray(start, start + D), gain);
      for (let i = 0; i < D / 2; i++) {
        const angle = this.position * this.config.rope_base ** ((-2 * i) / D);
        const cos = Math.cos(angle), sin = Math.sin(angle), a = head[i], b = head[i + D / 2];
        [out[start + i], out[start + i + D / 2]] = [a * cos - b * sin, b * cos + a * sin];
      }
    }
    return out;
  }
  attention(layer, x, firstValues) {
    const { d_model, n_heads, n_kv_heads, key_offset } = this.config, D = d_model / n_heads;
    const name = `blocks.${layer}.attention.`, share = this.weights[`${name}value_share`]?.[0] ?? 1;
    const turned = (part) => this.normAndTurn(this.linear(name + part, x), this.weights[`${name}${part}_norm.gain`]);
    const query = turned("query"), key = turned("key"), own = this.linear(`${name}value`, x);
    const value = own.map((v, i) => (firstValues ? firstValues[i] + share * (v - firstValues[i]) : v));
    const cache = this.cache[layer], half = key.length / 2, kept = key.slice();
    if (key_offset && cache.last) key.set(cache.last.subarray(half), half); // half of the heads: the key before
    cache.last = kept;
    cache.keys.push(key), cache.values.push(value);
    const out = new Float32Array(n_heads * D);
    for (let head = 0; head < n_heads; head++) { // query heads share keys and values in groups
      attend(query, cache.keys, cache.values, D, head * D, Math.floor((head * n_kv_heads) / n_heads) * D, out);
    }
    return [this.linear(`${name}output`, out), own];
  }
  feedForward(name, x) { // SwiGLU has a gate, the squared ReLU has none
    const up = this.linear(name + "up", x), gate = this.weights[name + "gate.weight"] && this.linear(name + "gate", x);
    return this.linear(name + "down", up.map((u, i) => (gate ? u * silu(gate[i]) : Math.max(u, 0) ** 2)));
  }
  /** The copy head (chapter 12): a share of the prediction is what came next after earlier states like the present. */
  mixed(logits, x, token) {
    const { ids, keys } = this.seen, part = (name) => this.norm(`copy.${name}_norm`, this.linear(`copy.${name}`, x));
    const query = part("query"), before = [new Float32Array(query.length), ...keys]; // of the state before each token
    const copied = look(query, before, query.length, 0, 0), gate = this.weights["copy.gate"];
    const share = sigmoid(x.reduce((sum, value, i) => sum + value * gate[i], this.weights["copy.gate_bias"][0]));
    const probabilities = softmax(logits).map((p) => (1 - share) * p);
    ids.push(token), keys.push(part("key"));
    copied.forEach((p, t) => (probabilities[ids[t]] += share * p));
    return probabilities.map((p) => Math.log(Math.max(p, 2 ** -126)));
  }
  /** Take in one more token; returns the logits of the next, one for each entry of the vocabulary. */
  step(token) {
    const { d_model, n_layers, embedding, soft_cap, copy_head } = this.config, table = this.weights["embedding.weight"];
    let x = table.data.slice(token * d_model, (token + 1) * d_model), firstValues;
    x = embedding === "normed" ? rmsNorm(x) : x.map((value) => value * (embedding === "scaled" ? d_model ** 0.5 : 1));
    for (let layer = 0; layer < n_layers; layer++) {
      const name = `blocks.${layer}.`;
      const [attended, values] = this.attention(layer, this.norm(`${name}attention_norm`, x), firstValues);
      firstValues ??= values;
      add(x, attended);
      add(x, this.feedForward(`${name}feed_forward.`, this.norm(`${name}feed_forward_norm`, x)));
    }
    this.position += 1;
    const logits = multiply(this.weights["head.weight"] ?? table, (x = this.norm("norm", x)));
    if (soft_cap) logits.forEach((value, i) => (logits[i] = soft_cap * Math.tanh(value / soft_cap)));
    return copy_head ? this.mixed(logits, x, token) : logits;
  }
  /** Continue a prompt: yields one id after another, until the end-of-text token (0) or the end of the context. */
  *write(prompt, { temperature = 1, topP = 0.95, count = 200, seed = 0 } = {}) {
    this.restart();
    let random = randomNumbers(seed), logits;
    for (const id of [0, ...this.tokenizer.encode(prompt)]) logits = this.step(id);
    for (let n = 0, id; n < count && this.position < this.config.context_length; n++, logits = this.step(id)) {
      if ((id = draw(logits, temperature, topP, random)) === 0) return;
      yield id;
    }
  }
}

/** One id, drawn from the fewest entries that hold the probability topP; at temperature 0 the largest (chapter 07). */
function draw(logits, temperature, topP, random) {
  if (temperature === 0) return logits.reduce((best, value, id) => (value > logits[best] ? id : best), 0);
  const probabilities = softmax(logits.map((value) => value / temperature));
  const order = Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a]);
  let total = 0, kept = 0;
  while (kept < order.length && total < topP) total += probabilities[order[kept++]];
  let point = random() * total;
  return order.find((id) => (point -= probabilities[id]) < 0) ?? order[0];
}

/** LayerNorm without weights, then a shift and a scale that time and label chose (chapter 17). */
function modulate(x, shift, scale) {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  return rmsNorm(x.map((value) => value - mean)).map((value, i) => shift[i] + value * (1 + scale[i]));
}

/** Cosines, then sines, of a position at frequencies from 1 down to nearly 1/10,000. */
function waves(position, frequencies) {
  const angles = Array.from({ length: frequencies }, (_, i) => position * Math.exp((-Math.log(1e4) * i) / frequencies));
  return Float32Array.of(...angles.map(Math.cos), ...angles.map(Math.sin));
}

/** The DiT2D of blueberry_lib/images: the velocity from noise to a picture. Pixels are from −1 to 1, row by row. */
class DigitModel extends Model {
  velocity(image, time, label) {
    const { image_size: size, patch_size: patch, d_model, n_layers, n_heads, time_frequencies } = this.config;
    const side = size / patch, D = d_model / n_heads, width = patch * patch;
    const row = (token) => Math.floor(token / side), corner = (token) => (row(token) * size + (token % side)) * patch;
    const pixel = (token, i) => corner(token) + Math.floor(i / patch) * size + (i % patch);
    const h = Array.from({ length: side * side }, (_, token) => { // one token for each patch, with its row and column
      const x = this.linear("patches", Float32Array.from({ length: width }, (_, i) => image[pixel(token, i)]));
      add(x, Float32Array.of(...waves(row(token), d_model / 4), ...waves(token % side, d_model / 4)));
      return x;
    });
    const condition = this.linear("time.2", this.linear("time.0", waves(1000 * time, time_frequencies)).map(silu));
    add(condition, this.weights["labels.weight"].data.subarray(label * d_model, (label + 1) * d_model));
    const chosen = condition.map(silu);
    const chunks = (name) => {
      const all = this.linear(`${name}modulation`, chosen);
      return Array.from({ length: all.length / d_model }, (_, i) => all.subarray(i * d_model, (i + 1) * d_model));
    };
    for (let layer = 0; layer < n_layers; layer++) {
      const name = `blocks.${layer}.`, [shift1, scale1, gate1, shift2, scale2, gate2] = chunks(name);
      const normed = h.map((x) => modulate(x, shift1, scale1));
      const [queries, keys, values] = ["query", "key", "value"].map((part) =>
        normed.map((x) => this.linear(`${name}attention.${part}`, x)));
      h.forEach((x, t) => { // every token attends to all
        const out = new Float32Array(d_model);
        for (let head = 0; head < d_model; head += D) attend(queries[t], keys, values, D, head, head, out);
        add(x, this.linear(`${name}attention.output`, out), gate1);
      });
      for (const x of h) {
        const inner = this.linear(`${name}feed_forward.0`, modulate(x, shift2, scale2)).map(gelu);
        add(x, this.linear(`${name}feed_forward.2`, inner), gate2);
      }
    }
    const [shift, scale] = chunks(""), out = new Float32Array(size * size);
    h.forEach((x, t) => this.linear("head", modulate(x, shift, scale)).forEach((v, i) => (out[pixel(t, i)] = v)));
    return out;
  }
  /** From noise (t = 0) to a digit (t = 1) along the velocity, by the midpoint rule: yields each picture on the way. */
  *draw(label, { steps = 20, seed = 0 } = {}) {
    const random = randomNumbers(seed), h = 1 / steps;
    let x = Float32Array.from({ length: this.config.image_size ** 2 }, () => gaussian(random));
    yield x;
    for (let n = 0; n < steps; n++) {
      const here = this.velocity(x, n * h, label), halfway = x.map((value, i) => value + (h / 2) * here[i]);
      const middle = this.velocity(halfway, (n + 0.5) * h, label);
      yield (x = x.map((value, i) => value + h * middle[i]));
    }
  }
}
