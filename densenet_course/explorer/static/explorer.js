// The whole: two views under two tabs. The parts before this file are joined with it into one module.
let explorers = 0;
function mount(element, bytes, { view = "network", step = 0 } = {}) {
  const id = `dnx-${++explorers}`, inside = new Inside(new Network(bytes), id), guide = new Guide(inside, step);
  const views = [["network", "Look inside", h("div", {}, guide.element, inside.element)],
    ["design", "Design", new Design(id).element]];
  const tabs = views.map(([name, text]) => h("button", { type: "button", role: "tab", id: `${id}-${name}`,
    "aria-controls": `${id}-${name}-view`, onclick: () => show(name), onkeydown: ({ key }) => {
      if (key === "ArrowLeft" || key === "ArrowRight") show(name === "network" ? "design" : "network", true);
    } }, text));
  const panels = views.map(([name, , content]) => h("div", { role: "tabpanel", id: `${id}-${name}-view`,
    "aria-labelledby": `${id}-${name}` }, content));
  function show(chosen, takeFocus = false) {
    views.forEach(([name], i) => {
      tabs[i].setAttribute("aria-selected", name === chosen);
      tabs[i].tabIndex = name === chosen ? 0 : -1;
      panels[i].hidden = name !== chosen;
      if (takeFocus && name === chosen) tabs[i].focus();
    });
  }
  element.replaceChildren(h("div", { class: "dnx" }, h("div", { role: "tablist", "aria-label": "Explorer" }, tabs),
    panels));
  show(view);
  return inside;
}

// What anywidget calls.
function render({ model, el }) {
  const bytes = model.get("network");
  mount(el, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    { view: model.get("view"), step: model.get("step") });
}

const steps = { batchNorm, relu, pointwise, convolution3, averagePool };
export default { render, mount, Network, countNetwork, steps };
