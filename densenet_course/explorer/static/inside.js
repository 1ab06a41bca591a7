// The first view: one image on its way through the class network, and what a cut or a muted layer does to it.

const nameOf = (part) => (part.kind === "layer" ? `layer ${part.name}` : part.name);

class Inside {
  constructor(network, id) {
    Object.assign(this, { network, cuts: new Set(), muted: new Set(), chosen: 6, pointed: null, columns: 16 });
    this.images = new Images(network, id, (pixels, truth) => this.take(pixels, truth));
    this.probabilities = h("section", { class: "dnx-probabilities" });
    this.details = h("section", { class: "dnx-details" });
    this.status = h("p", { class: "dnx-status", role: "status" });
    this.told = h("p", { class: "dnx-told", "aria-hidden": "true" });
    this.summary = h("div");
    this.rows = this.makeRows(id);
    this.element = h("div", {}, h("div", { class: "dnx-top" }, this.images.element, this.probabilities),
      h("div", { class: "dnx-tools dnx-sticky" }, button("Plain chain", () => this.makeChain()),
        button("Put all back", () => this.restore()), this.status),
      this.rows, this.told, this.details,
      h("details", { class: "dnx-same" }, h("summary", {}, "The same as a table"), this.summary));
    new ResizeObserver(() => requestAnimationFrame(() => this.fit())).observe(this.rows);
    this.images.choose(network.images[0]);
  }

  get active() { return this.pointed ?? this.chosen; }
  makeRows(id) {
    const point = (place) => { this.pointed = place; this.drawLinks(); };
    this.arcs = h("svg", { class: "dnx-arcs", "aria-hidden": "true" });
    this.network.parts.forEach((part, place) => {
      part.canvas = h("canvas");
      part.note = h("span", { class: "dnx-note", "aria-hidden": "true" });
      part.control = h("span", { class: "dnx-control" });
      part.input = h("input", { type: "radio", name: `${id}-part`, onchange: () => this.choose(place),
        "aria-label": this.factsOf(part) });
      part.row = h("div", { class: `dnx-row dnx-${part.kind}` }, h("label", {
        onpointerenter: () => point(place), onpointerleave: () => point(null) },
      part.input, h("span", { class: "dnx-name" }, part.name), part.canvas), part.note, part.control);
    });
    return h("div", { class: "dnx-rows", role: "group", "aria-label": "Parts of the network" },
      this.arcs, this.network.parts.map(({ row }) => row));
  }

  factsOf(part) {
    const reads = part.kind === "stem" ? "the image" : `${part.reads} maps`;
    const makes = part.kind === "head" ? "10 scores" : `${part.channels} maps of ${part.size}×${part.size} pixels`;
    return `${nameOf(part)} reads ${reads}, makes ${makes}; ${grouped(part.parameters)} parameters, `
      + `${grouped(part.multiply_adds)} multiply-adds`;
  }

  // The links that lead into a part.
  linksOf(reader) {
    const { sources, strengths } = this.network.parts[reader];
    return sources.map((source, i) => ({ source, part: this.network.parts[source], strength: strengths[i],
      key: linkKey(reader, source), isCut: this.cuts.has(linkKey(reader, source)) }));
  }

  take(pixels, truth) {
    this.truth = truth;
    this.intact = this.network.forward(pixels);
    this.ranges = this.intact.map(({ stages }) => stages.map(({ maps }) => rangesOf(maps)));
    this.update();
  }

  choose(place) {
    this.chosen = place;
    this.network.parts[place].input.checked = true;
    this.drawLinks();
    this.drawControls();
    this.drawDetails();
  }

  // Of every reader's sources leave the last only: the maps of the layer before.
  makeChain() {
    for (const { reader, source } of this.network.links) {
      if (source !== this.network.parts[reader].sources.at(-1)) this.cuts.add(linkKey(reader, source));
    }
    this.update();
  }

  restore() { this.cuts.clear(); this.muted.clear(); this.update(); }
  fit() { this.columns = this.rows.clientWidth < 480 ? 8 : 16; this.update(); }

  update() {
    this.now = this.network.forward(this.images.pixels, this, this.intact);
    this.network.parts.forEach((part, place) => {
      drawMaps(part.canvas, this.now[place].out, this.ranges[place].at(-1), this.columns);
      part.row.classList.toggle("dnx-muted", this.muted.has(place));
    });
    this.drawProbabilities();
    this.choose(this.chosen);
    this.summary.replaceChildren(table("All parts; a number behind a source is the size of the weights on it",
      ["part", "reads", "makes", "parameters", "multiply-adds", "sources"],
      this.network.parts.map((part, place) => [part.name + (this.muted.has(place) ? " (muted)" : ""),
        part.kind === "stem" ? "image" : part.reads, `${part.channels} × ${part.size}×${part.size}`,
        grouped(part.parameters), grouped(part.multiply_adds), this.linksOf(place).map((link) =>
          `${link.part.name} ${link.isCut ? "cut" : link.strength.toFixed(2)}`).join(", ") || "image"])));
  }

  drawLinks() {
    const { parts, links } = this.network, width = this.arcs.clientWidth;
    const heights = parts.map(({ row }) => row.offsetTop + row.offsetHeight / 2);
    const lit = new Map(this.linksOf(this.active).map((link) => [link.source, link]));
    const arcs = links.map(({ reader, source }) => {
      const from = heights[source], to = heights[reader];
      const bow = width - Math.min(width * 1.25, 6 + 0.5 * (to - from));
      const isLit = reader === this.active, isCut = this.cuts.has(linkKey(reader, source));
      return h("path", { d: `M${width} ${from}C${bow} ${from} ${bow} ${to} ${width} ${to}`,
        class: `${isLit ? "dnx-lit" : ""} ${isCut ? "dnx-cut" : ""}`,
        "stroke-width": isLit ? 4 * lit.get(source).strength - 2 : 1 });
    });
    this.arcs.replaceChildren(...arcs.sort((a, b) => a.classList.length - b.classList.length)); // plain ones below
    parts.forEach((part, place) => {
      const link = lit.get(place);
      part.row.classList.toggle("dnx-active", place === this.active);
      part.row.classList.toggle("dnx-source", Boolean(link));
      part.note.textContent = link ? `× ${link.strength.toFixed(2)}` : part.kind === "head" ? "10 scores"
        : `${part.channels} of ${part.size}×${part.size}`;
    });
    this.told.textContent = `${this.factsOf(parts[this.active])}.`;
  }

  // The chosen part can be muted, and the links from its sources can be cut: a check box in each of their rows.
  drawControls() {
    const { parts } = this.network, part = parts[this.chosen], focused = document.activeElement?.dataset.key;
    const control = (word, label, set, key) => {
      const box = h("input", { type: "checkbox", "aria-label": label, "data-key": key, onchange: () => {
        set[box.checked ? "add" : "delete"](key);
        this.update();
      } });
      box.checked = set.has(key);
      return h("label", {}, box, word);
    };
    for (const { control: old } of parts) old.replaceChildren();
    for (const { part: source, key } of this.linksOf(this.chosen)) {
      source.control.append(control("cut", `cut the link from ${nameOf(source)} to ${nameOf(part)}`, this.cuts, key));
    }
    if (part.kind !== "head") part.control.append(control("mute", `mute ${nameOf(part)}`, this.muted, this.chosen));
    this.rows.querySelector(`[data-key="${focused}"]`)?.focus();
  }

  drawProbabilities() {
    const [before, after] = [this.intact, this.now].map((results) => softmax(this.network.logits(results)));
    const isChanged = this.cuts.size + this.muted.size > 0, winner = after.indexOf(Math.max(...after));
    const heads = ["class", "probability", isChanged ? "before" : ""];
    this.probabilities.replaceChildren(table("What the network says", heads,
      after.map((share, place) => [
        h("span", { class: place === winner ? "dnx-winner" : "" },
          this.network.classes[place] + (place === this.truth ? " ✓" : "")),
        h("span", { class: Math.abs(share - before[place]) > 0.005 ? "dnx-bar dnx-was" : "dnx-bar",
          style: `--share: ${share}; --before: ${before[place]}` }, percent(share)),
        isChanged ? percent(before[place]) : ""])));
    const state = [this.cuts.size && `${this.cuts.size} of ${this.network.links.length} links cut`,
      this.muted.size && `${this.muted.size} muted`].filter(Boolean).join(", ");
    this.status.textContent = `${this.network.classes[winner]} ${percent(after[winner])}`
      + (state ? `, before ${percent(before[winner])}; ${state}` : "");
  }

  drawDetails() {
    const { stages } = this.now[this.chosen];
    this.zoom = h("div", { class: "dnx-zoom" }, h("canvas"),
      h("p", {}, "Point at a map to see it larger. Blue is above zero, orange below."));
    this.details.replaceChildren(h("h3", {}, `Inside: ${nameOf(this.network.parts[this.chosen])}`), this.zoom,
      h("div", { class: "dnx-stages" }, stages.map((stage, i) => h("div", {},
        h("p", {}, h("b", {}, stage.name), ` ${stage.maps.channels} maps`),
        this.stageCanvas(stage, this.ranges[this.chosen][i])))));
  }

  // The maps of one step; the pointer or the arrow keys choose one to be seen larger.
  stageCanvas({ name, maps }, ranges) {
    const canvas = h("canvas", { tabindex: 0, role: "slider", "aria-label": `maps after ${name}`, "aria-valuemin": 1,
      "aria-valuemax": maps.channels, "aria-valuenow": 1 });
    const show = (place) => {
      const pixels = maps.data.subarray(place * maps.size ** 2, (place + 1) * maps.size ** 2);
      const text = `${name}, map ${place + 1} of ${maps.channels}: ${signed(Math.min(...pixels))} to `
        + `${signed(Math.max(...pixels))}`;
      drawMaps(this.zoom.firstChild, maps, ranges, 1, place);
      this.zoom.lastChild.textContent = text;
      Object.assign(canvas, { ariaValueNow: place + 1, ariaValueText: text });
    };
    canvas.addEventListener("pointermove", (event) => {
      const scale = canvas.width / canvas.clientWidth / (TILE + GAP);
      const place = Math.floor(event.offsetY * scale) * 16 + Math.floor(event.offsetX * scale);
      if (place < maps.channels) show(place);
    });
    canvas.addEventListener("keydown", (event) => {
      const step = keyStep(event, { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 16, ArrowUp: -16 });
      const next = Number(canvas.getAttribute("aria-valuenow")) + step;
      if (next > 0 && next <= maps.channels) show(next - 1);
    });
    drawMaps(canvas, maps, ranges, 16);
    return canvas;
  }
}
