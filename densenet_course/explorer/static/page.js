// Elements, numbers as text, and maps as pictures.

// Make an element: h("button", {class: "a", onclick: f}, "text", child). false and null leave an attribute out.
function h(tag, attributes = {}, ...children) {
  const drawn = ["svg", "path", "circle", "text", "line"].includes(tag);
  const element = drawn ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  if (/^(button|canvas|input|summary)$/.test(tag)) element.dataset.lmSuppressShortcuts = true; // notebooks take arrows
  element.append(...children.flat(Infinity));
  return element;
}

const grouped = (number) => Math.round(number).toLocaleString("en-US");
const percent = (share) => `${(100 * share).toFixed(share > 0.0995 && share < 0.9995 ? 0 : 1)} %`;
const signed = (number, digits = 2) => `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(digits)}`;

// Look a pressed key up. One that is found is ours: the page must not scroll, nor the notebook go to another cell.
function keyStep(event, steps) {
  if (event.key in steps) { event.preventDefault(); event.stopPropagation(); }
  return steps[event.key];
}

const button = (text, action, attributes = {}) => h("button", { type: "button", onclick: action, ...attributes }, text);

function table(caption, heads, rows, className = "") {
  return h("table", { class: className }, h("caption", {}, caption),
    h("thead", {}, h("tr", {}, heads.map((head) => (head ? h("th", { scope: "col" }, head) : h("td"))))),
    h("tbody", {}, rows.map(([first, ...cells]) =>
      h("tr", {}, h("th", { scope: "row" }, first), cells.map((cell) => h("td", {}, cell))))));
}

const POSITIVE = [30, 130, 205], NEGATIVE = [230, 159, 0], NOTHING = [128, 128, 128, 30]; // on white and on black
const TILE = 42, GAP = 3; // pixels of the canvas; the style sheet shows fewer

// The largest absolute value of every map; against it the map's colours are measured. Single pixels share one range.
function rangesOf({ data, channels, size }) {
  const largest = (numbers) => numbers.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  return Array.from({ length: channels }, (_, channel) =>
    largest(size === 1 ? data : data.subarray(channel * size ** 2, (channel + 1) * size ** 2)));
}

// Draw maps as tiles, row by row: blue above zero, orange below, pale at zero. A single one may be named.
function drawMaps(canvas, { data, channels, size }, ranges, columns, only = null) {
  const shown = only === null ? [...Array(channels).keys()] : [only];
  const step = TILE + GAP;
  canvas.width = columns * step - GAP;
  canvas.height = Math.ceil(shown.length / columns) * step - GAP;
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  shown.forEach((channel, tile) => {
    const left = (tile % columns) * step, top = Math.floor(tile / columns) * step;
    for (let y = 0; y < TILE; y++) {
      for (let x = 0; x < TILE; x++) {
        const place = (channel * size + Math.floor(y * size / TILE)) * size + Math.floor(x * size / TILE);
        const share = data[place] / (ranges[channel] || 1), strength = Math.min(1, Math.abs(share));
        const colour = strength < 0.12 ? NOTHING : [...(share > 0 ? POSITIVE : NEGATIVE), 255 * strength];
        image.data.set(colour, 4 * ((top + y) * canvas.width + left + x));
      }
    }
  });
  context.putImageData(image, 0, 0);
}
