// Five short steps, each a question before its answer. An answer is computed from what the learner looks at.

const STEPS = [
  { title: "What is appended?", part: "2.1", image: 0,
    question: () => "Block 2 begins with the 32 maps of transition 1, and each layer makes 16. How many maps does 2.4 "
      + "read, and how many leave the block? What else in the block changes when you choose 2.4 and mute it?",
    answer: () => "2.4 reads 32 + 3 · 16 = 80 maps, and 32 + 4 · 16 = 96 leave. A layer only appends: with 2.4 muted, "
      + "no other map of the block changes, only what comes behind it." },
  { title: "Who reads whom?", part: "transition 2", image: 0,
    question: () => "The blocks have 2, 4 and 4 layers, and behind each stands one more reader: a transition or the "
      + "classifier. How many links are there?",
    answer: ({ network }) => {
      const all = network.parts.flatMap(({ strengths }) => strengths);
      return `(1 + 2 + 3) + 2 · (1 + 2 + 3 + 4 + 5) = ${network.links.length}. Point at a part: its sources light up. `
        + "The number at a source is the mean size of the reader's weights on its maps, divided by that over all it "
        + `reads: from ${Math.min(...all).toFixed(2)} to ${Math.max(...all).toFixed(2)} here. Nobody is ignored.`;
    } },
  { title: "What does a transition drop?", part: "transition 2", image: 0,
    question: () => "96 maps of 7×7 pixels go into transition 2. How many numbers come out? Which pixels never count?",
    answer: () => `48 maps of 3×3 pixels: ${48 * 9} of ${grouped(96 * 49)} numbers. The 1×1 convolution mixes 96 maps `
      + "into 48. The average takes squares of 2×2 pixels: the seventh row and column have no partner." },
  { title: "What does a cut cost?", part: "classifier", image: 6,
    question: ({ network }) => {
      const { sources, strengths } = network.parts.at(-1), name = (place) => network.parts[sources[place]].name;
      return `The classifier weighs ${name(strengths.indexOf(Math.max(...strengths)))} most and `
        + `${name(strengths.indexOf(Math.min(...strengths)))} least. Which of its five links costs this image's class `
        + "the most, when it is cut? Predict, then cut them one at a time.";
    },
    answer: ({ network, images, intact, truth }) => {
      const shown = truth ?? network.ranking(intact)[0], reader = network.parts.length - 1;
      const logits = (cuts) => network.logits(network.forward(images.pixels, { cuts: new Set(cuts) }, intact));
      const chance = (...cuts) => percent(softmax(logits(cuts))[shown]);
      const each = network.parts[reader].sources.map((source) =>
        `${network.parts[source].name} ${chance(linkKey(reader, source))}`);
      return `${network.classes[shown]} has ${chance()}. With one link cut: ${each.join(", ")}. A large weight is no `
        + "proof of an important link: other sources may carry the same.";
    } },
  { title: "Where do two classes part?", part: "classifier", image: 10,
    question: ({ network, intact }) => {
      const [first, second] = network.ranking(intact).map((place) => network.classes[place]);
      return `The network hesitates between ${first} and ${second}. The difference of their scores is a sum over the `
        + "five sources of the classifier. Which sources speak for which class?";
    },
    answer: (inside) => {
      const [first, second] = inside.network.ranking(inside.intact), { classes } = inside.network;
      const each = contributions(inside, first, second).map(([name, value]) => `${name} ${signed(value)}`);
      return `${classes[first]} minus ${classes[second]}: ${each.join(", ")}. Above zero speaks for ${classes[first]}. `
        + "Cut a link that decides, and see the bars move.";
    } },
];

// Split the difference of two scores into a part for each source of the classifier, which adds them up, and the biases.
function contributions({ network, images, intact }, first, second) {
  const reader = network.parts.length - 1, { sources } = network.parts[reader];
  const difference = (cut) => {
    const cuts = new Set(cut.map((source) => linkKey(reader, source)));
    const logits = network.logits(network.forward(images.pixels, { cuts }, intact));
    return logits[first] - logits[second];
  };
  const each = sources.map((source) => [network.parts[source].name, difference([]) - difference([source])]);
  return [...each, ["the biases", difference(sources)]];
}

class Guide {
  constructor(inside, start) {
    this.inside = inside;
    this.text = h("div", { class: "dnx-step" });
    this.buttons = STEPS.map(({ title }, place) =>
      button(place + 1, () => this.go(place), { "aria-label": `${place + 1}: ${title}` }));
    this.element = h("section", { class: "dnx-guide", "aria-label": "Five questions" },
      h("div", { class: "dnx-tools" }, h("span", {}, "Five questions"), this.buttons), this.text);
    if (start) this.go(start - 1);
  }

  go(place) {
    const { title, part, image, question, answer } = STEPS[place], { inside } = this;
    const shown = h("p", { role: "status" });
    inside.restore();
    inside.images.choose(inside.network.images[image]);
    inside.choose(inside.network.parts.findIndex(({ name }) => name === part));
    this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", i === place));
    this.text.replaceChildren(h("h3", {}, title), h("p", {}, question(inside)),
      button("Show the answer", () => shown.replaceChildren(answer(inside))), shown);
  }
}
