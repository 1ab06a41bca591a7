// The second view: four controls that redraw a DenseNet's channels and recount its cost, as lesson 05 does on paper.

const START = { layers: 16, growth: 12, theta: 0.5, bottleneck: true }; // the paper's DenseNet-BC with L = 100

// Count a network of three blocks for 32×32 colour images and ten classes, part by part.
function countNetwork({ layers, growth, theta, bottleneck }) {
  let channels = bottleneck && theta < 1 ? 2 * growth : 16, size = 32;
  const rows = [{ name: "stem", reads: 3, channels, size, parameters: 27 * channels }];
  rows[0].work = rows[0].parameters * size ** 2;
  for (let block = 1; block <= 3; block++) {
    if (block > 1) {
      const reads = channels, weights = Math.floor(theta * reads) * reads;
      channels = Math.floor(theta * reads);
      rows.push({ name: `transition ${block - 1}`, reads, channels, size: size / 2, parameters: 2 * reads + weights,
        work: weights * size ** 2 });
      size /= 2;
    }
    const row = { name: `block ${block}`, reads: channels, size, parameters: 0, work: 0 };
    for (let layer = 0; layer < layers; layer++, channels += growth) {
      const weights = bottleneck ? 4 * channels * growth + 36 * growth ** 2 : 9 * channels * growth;
      row.parameters += weights + 2 * channels + (bottleneck ? 8 * growth : 0); // two for each channel of a BatchNorm
      row.work += weights * size ** 2;
    }
    rows.push({ ...row, channels });
  }
  rows.push({ name: "head", reads: channels, channels: 10, size: 1, parameters: 12 * channels + 10,
    work: 10 * channels });
  const total = (key) => rows.reduce((sum, row) => sum + row[key], 0);
  const letters = (bottleneck ? "B" : "") + (theta < 1 ? "C" : "");
  return { rows, parameters: total("parameters"), work: total("work"), depth: 4 + 3 * layers * (bottleneck ? 2 : 1),
    name: `DenseNet${letters && "-"}${letters}` };
}

class Design {
  constructor(id) {
    this.choice = { ...START };
    this.output = h("div", { class: "dnx-output" });
    const slider = (key, text, min, max, step) => this.control(id, key, text, { type: "range", min, max, step });
    const box = this.control(id, "bottleneck", "bottleneck", { type: "checkbox" });
    this.element = h("div", { class: "dnx-design" }, h("div", { class: "dnx-controls" },
      slider("layers", "layers per block", 2, 32, 2), slider("growth", "growth rate k", 4, 48, 4),
      slider("theta", "compression θ", 0.2, 1, 0.1), box),
    this.output);
    this.draw();
  }

  control(id, key, text, attributes) {
    const input = h("input", { id: `${id}-${key}`, ...attributes, oninput: () => {
      this.choice[key] = attributes.type === "checkbox" ? input.checked : Number(input.value);
      this.draw();
    } });
    if (attributes.type === "checkbox") input.checked = START[key];
    else input.value = START[key];
    return [h("label", { for: input.id }, text), input, h("output", { for: input.id, "data-key": key })];
  }

  draw() {
    for (const output of this.element.querySelectorAll("output")) {
      const value = this.choice[output.dataset.key];
      output.textContent = { true: "on", false: "off" }[value] ?? value;
    }
    const [now, start] = [countNetwork(this.choice), countNetwork(START)], { growth, theta } = this.choice;
    const times = (key) => `${(now[key] / start[key]).toFixed(2)} × the start`;
    this.output.replaceChildren(
      h("p", { role: "status" }, h("b", {}, `${now.name}, L = ${now.depth}, k = ${growth}, θ = ${theta}`), h("br"),
        `${grouped(now.parameters)} parameters (${times("parameters")}), ${(now.work / 1e6).toFixed(1)} million `
        + `multiply-adds (${times("work")})`),
      this.ledger(now, start),
      table("Part by part, for a 32×32 image", ["part", "reads", "puts out", "size", "parameters", "multiply-adds"],
        now.rows.map(({ name, reads, channels, size, parameters, work }) =>
          [name, reads, channels, `${size}×${size}`, grouped(parameters), grouped(work)])));
  }

  // Channels along the depth, blue in blocks and green in transitions; the start stays behind, dotted.
  ledger(now, start) {
    const rows = (network) => network.rows.slice(0, -1), all = [...rows(now), ...rows(start)];
    const top = Math.max(...all.map(({ channels }) => channels)), width = 640, height = 220, base = 190;
    const place = (i) => 40 + i * (width - 80) / 5, level = (channels) => base - channels / top * (base - 30);
    const lines = (network, kind) => rows(network).slice(1).map((row, i) => h("line", { x1: place(i), x2: place(i + 1),
      y1: level(row.reads), y2: level(row.channels),
      class: `${kind} ${row.name.startsWith("block") ? "dnx-grows" : "dnx-shrinks"}` }));
    const said = rows(now).map(({ channels }) => channels).join(" → ");
    return h("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Channels: ${said}` },
      lines(start, "dnx-start"), lines(now, ""),
      rows(now).map(({ channels }, i) => h("text", { x: place(i), y: level(channels) - 10 }, grouped(channels))),
      rows(now).map(({ name }, i) => h("text", { x: place(i), y: base + 20 }, name.replace("transition", "trans."))));
  }
}
