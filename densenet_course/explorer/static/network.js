// The class network's forward pass, about 8 million multiply-adds. Maps are {data, channels, size}: square, in a
// Float32Array, channel after channel and row after row, as PyTorch keeps one image of a batch.

// Read a run of half-precision floats: 1 bit sign, 5 bits exponent, 10 bits fraction.
function readHalves(view, start, count) {
  const numbers = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const bits = view.getUint16(start + 2 * i, true);
    const exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const size = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
    numbers[i] = bits >> 15 ? -size : size;
  }
  return numbers;
}

const newMaps = (channels, size) => ({ data: new Float32Array(channels * size * size), channels, size });
function concatenate(sources) {
  const maps = newMaps(sources.reduce((sum, source) => sum + source.channels, 0), sources[0].size);
  let place = 0;
  for (const { data } of sources) { maps.data.set(data, place); place += data.length; }
  return maps;
}

// BatchNorm in evaluation mode is a factor and a summand for each channel.
function batchNorm(scale, shift) {
  return (maps) => ({ ...maps, data: maps.data.map((value, i) => {
    const channel = Math.floor(i / maps.size ** 2);
    return value * scale[channel] + shift[channel];
  }) });
}

const relu = (maps) => ({ ...maps, data: maps.data.map((value) => Math.max(0, value)) });

// A 1×1 convolution: every new map is a weighted sum of all maps but those that are cut.
function pointwise(weight, channels, bias) {
  return (maps, isCut) => {
    const out = newMaps(channels, maps.size), pixels = maps.size ** 2;
    for (let made = 0; made < channels; made++) {
      const to = made * pixels;
      if (bias) out.data.fill(bias[made], to, to + pixels);
      for (let read = 0; read < maps.channels; read++) {
        if (isCut?.[read]) continue;
        const factor = weight[made * maps.channels + read], from = read * pixels;
        for (let i = 0; i < pixels; i++) out.data[to + i] += factor * maps.data[from + i];
      }
    }
    return out;
  };
}

// A 3×3 convolution with padding 1, over a copy of each map with a frame of zeros.
function convolution3(weight, channels, stride = 1) {
  return (maps) => {
    const out = newMaps(channels, Math.ceil(maps.size / stride)), wide = maps.size + 2;
    const framed = new Float32Array(wide * wide);
    for (let read = 0; read < maps.channels; read++) {
      for (let y = 0; y < maps.size; y++) {
        const row = (read * maps.size + y) * maps.size;
        framed.set(maps.data.subarray(row, row + maps.size), (y + 1) * wide + 1);
      }
      for (let made = 0; made < channels; made++) {
        const w = weight.subarray((made * maps.channels + read) * 9, (made * maps.channels + read) * 9 + 9);
        for (let y = 0, to = made * out.size ** 2; y < out.size; y++) {
          for (let x = 0; x < out.size; x++, to++) {
            const a = y * stride * wide + x * stride, b = a + wide, c = b + wide; // the window's three rows
            out.data[to] += w[0] * framed[a] + w[1] * framed[a + 1] + w[2] * framed[a + 2]
              + w[3] * framed[b] + w[4] * framed[b + 1] + w[5] * framed[b + 2]
              + w[6] * framed[c] + w[7] * framed[c + 1] + w[8] * framed[c + 2];
          }
        }
      }
    }
    return out;
  };
}

// Average over squares of window × window pixels; by default over the whole map. What fills no square is not read.
function averagePool(window) {
  return (maps) => {
    const step = window ?? maps.size, out = newMaps(maps.channels, Math.floor(maps.size / step));
    for (let row = 0; row < maps.channels * maps.size; row++) {
      const channel = Math.floor(row / maps.size), y = Math.floor((row % maps.size) / step);
      for (let x = 0; y < out.size && x < out.size * step; x++) {
        const to = (channel * out.size + y) * out.size + Math.floor(x / step);
        out.data[to] += maps.data[row * maps.size + x] / step ** 2;
      }
    }
    return out;
  };
}

function softmax(logits) {
  const top = Math.max(...logits), powers = Array.from(logits, (value) => Math.exp(value - top));
  return powers.map((value) => value / powers.reduce((a, b) => a + b));
}

const linkKey = (reader, source) => `${reader} reads ${source}`; // places in Network.parts

class Network {
  // bytes: what densenet_course.explorer.bundle packs.
  constructor(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), start = 4 + view.getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes.buffer, bytes.byteOffset + 4, start - 4)));
    Object.assign(this, header);
    this.weight = (name) => readHalves(view, start + header.tensors[name][0], header.tensors[name][1]);
    for (const part of this.parts) part.steps = this.stepsOf(part);
    for (const image of this.images) {
      image.pixels = new Uint8Array(bytes.buffer, bytes.byteOffset + start + image.start, this.imageSize ** 2);
    }
    this.links = this.parts.flatMap((part, reader) => part.sources.map((source) => ({ reader, source })));
  }

  norm(name) {
    const [gamma, beta, mean, variance] = ["weight", "bias", "running_mean", "running_var"]
      .map((part) => this.weight(`${name}.${part}`));
    const scale = gamma.map((value, i) => value / Math.sqrt(variance[i] + 1e-5));
    return batchNorm(scale, beta.map((value, i) => value - mean[i] * scale[i]));
  }

  // The steps inside a part as [name, function of the maps].
  stepsOf({ kind, prefix, channels }) {
    const { weight } = this;
    if (kind === "stem") return [["3×3 convolution, stride 2", convolution3(weight(`${prefix}.weight`), channels, 2)]];
    if (kind === "head") {
      const matrix = pointwise(weight("classifier.weight"), channels, weight("classifier.bias"));
      return [["BN", this.norm("features.norm5")], ["ReLU", relu], ["average", averagePool()], ["classifier", matrix]];
    }
    if (kind === "transition") {
      return [["BN", this.norm(`${prefix}norm`)], ["ReLU", relu],
        ["1×1 convolution", pointwise(weight(`${prefix}conv.weight`), channels)], ["2×2 average", averagePool(2)]];
    }
    const first = weight(`${prefix}conv1.weight`), waist = weight(`${prefix}norm2.weight`).length;
    return [["BN", this.norm(`${prefix}norm1`)], ["ReLU", relu], ["1×1 convolution", pointwise(first, waist)],
      ["BN", this.norm(`${prefix}norm2`)], ["ReLU", relu],
      ["3×3 convolution", convolution3(weight(`${prefix}conv2.weight`), channels)]];
  }

  // Compute all parts for an image of pixels 0…255. A cut link's weights count as 0; a muted part puts out zeros.
  // Of an earlier pass over the same image, what no change touches is taken over.
  forward(pixels, { cuts = new Set(), muted = new Set() } = {}, earlier = []) {
    const image = { data: Float32Array.from(pixels, (value) => (value / 255 - this.mean) / this.std),
      channels: 1, size: this.imageSize };
    const results = [];
    for (const [place, part] of this.parts.entries()) {
      const isCut = (source) => cuts.has(linkKey(place, source));
      const same = earlier[place] && !muted.has(place)
        && part.sources.every((source) => !isCut(source) && results[source] === earlier[source]);
      results.push(same ? earlier[place] : this.compute(part, image, results, isCut, muted.has(place)));
    }
    return results;
  }

  compute(part, image, results, isCut, isMuted) {
    let maps = part.sources.length ? concatenate(part.sources.map((source) => results[source].out)) : image;
    const mask = part.sources.flatMap((source) => Array(results[source].out.channels).fill(isCut(source)));
    const stages = part.steps.map(([name, step]) => ({ name, maps: (maps = step(maps, mask)) }));
    return { stages, out: isMuted ? newMaps(maps.channels, maps.size) : maps };
  }

  logits(results) { return results.at(-1).stages.at(-1).maps.data; }
  // The classes, the likeliest first.
  ranking(results) {
    const logits = this.logits(results);
    return [...logits.keys()].sort((a, b) => logits[b] - logits[a]);
  }
}
