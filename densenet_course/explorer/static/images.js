// The image that goes in: one of twenty, or what is drawn upon it.

class Images {
  // changed: called with the pixels (0…255) and the true class, null for a drawing.
  constructor(network, id, changed) {
    Object.assign(this, { network, changed, size: network.imageSize, pen: [14, 14] });
    this.canvas = h("canvas", { width: this.size, height: this.size, tabindex: 0, role: "application",
      "aria-label": "The image; draw on it. Arrow keys move the pen, the space bar draws.",
      onpointerdown: (event) => { this.canvas.setPointerCapture(event.pointerId); this.follow(event); },
      onpointermove: (event) => { if (event.buttons) this.follow(event); },
      onkeydown: (event) => this.press(event), onblur: () => this.show() });
    const rows = [["right", network.images.filter(({ label, said }) => label === said)],
      ["wrong", network.images.filter(({ label, said }) => label !== said)]];
    this.caption = h("p", { class: "dnx-caption" });
    this.element = h("fieldset", { class: "dnx-images" }, h("legend", {}, "What goes in"),
      h("div", { class: "dnx-image" }, this.canvas, h("div", {}, this.caption,
        button("Draw your own", () => this.clear()))),
      rows.map(([name, images]) => h("div", { class: "dnx-thumbs" }, h("span", {}, name),
        images.map((image) => this.thumb(image, id)))));
  }

  thumb(image, id) {
    const [label, said] = [image.label, image.said].map((place) => this.network.classes[place]);
    const picture = h("canvas", { width: this.size, height: this.size });
    this.paint(picture, image.pixels);
    image.input = h("input", { type: "radio", name: `${id}-image`, onchange: () => this.choose(image),
      "aria-label": label === said ? label : `${label}; the network says ${said}` });
    return h("label", { title: label === said ? label : `${label}, taken for ${said}` }, image.input, picture);
  }

  paint(canvas, pixels) {
    const context = canvas.getContext("2d"), image = context.createImageData(this.size, this.size);
    pixels.forEach((value, i) => image.data.set([value, value, value, 255], 4 * i));
    context.putImageData(image, 0, 0);
  }

  choose(image) {
    image.input.checked = true;
    this.pixels = Uint8Array.from(image.pixels);
    this.caption.textContent = `A test image, labelled ${this.network.classes[image.label]}. You may draw on it.`;
    this.show();
    this.changed(this.pixels, image.label);
  }

  clear() { this.pixels.fill(0); this.drawn(); this.canvas.focus(); }
  drawn() {
    for (const { input } of this.network.images) input.checked = false;
    this.caption.textContent = "Your drawing. Fill the frame, as the garments do.";
    this.show();
    this.changed(this.pixels, null);
  }

  follow(event) {
    const box = this.canvas.getBoundingClientRect();
    this.pen = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]
      .map((share) => Math.min(this.size - 1, Math.max(0, Math.floor(share * this.size))));
    this.draw();
  }

  press(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] };
    const step = keyStep(event, steps);
    if (!step) return;
    this.pen = this.pen.map((place, i) => Math.min(this.size - 1, Math.max(0, place + step[i])));
    if (event.key === " ") this.draw();
    else this.show(true);
  }

  // A soft brush: the pixel itself white, its neighbours lighter than before.
  draw() {
    for (let dy = -1; dy <= 1; dy++) {
      for (let dx = -1; dx <= 1; dx++) {
        const [x, y] = [this.pen[0] + dx, this.pen[1] + dy], light = 255 - 90 * (Math.abs(dx) + Math.abs(dy));
        if (x < 0 || y < 0 || x >= this.size || y >= this.size) continue;
        this.pixels[y * this.size + x] = Math.max(light, this.pixels[y * this.size + x]);
      }
    }
    this.drawn();
  }

  show(withPen = false) {
    this.paint(this.canvas, this.pixels);
    const context = Object.assign(this.canvas.getContext("2d"), { fillStyle: "#D55E00" });
    if (withPen) context.fillRect(...this.pen, 1, 1);
  }
}
