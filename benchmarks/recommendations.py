"""What the course recommends, each line with the figures that it rests on: readme.py writes them into docs/."""

import statistics

from densenet_course.results import read
from densenet_course.studies.families import step_ratios

RULES = {}  # from a benchmark to the functions that read recommendations from its file


def rule(name, lesson):
    """Register a function: from a benchmark's results to pairs of what to do and what was measured."""
    return lambda make: RULES.setdefault(make, (name, lesson))


def recommendation_list(root):
    """List what to do, what was measured, and where: the file and the lesson that reads it."""
    lines = []
    for make, (name, lesson) in RULES.items():
        where = f"*`{name}.json`, [lesson {lesson[:2]}]({root}notebooks/{lesson}.ipynb)*"
        lines += [f"- **{advice}.** {reason}. {where}" for advice, reason in make(read(name))]
    return lines


def points(variant, other):
    """Say by how many percentage points one variant beats another: mean, smallest, largest over shared seeds."""
    gaps = [100 * (variant[seed] - other[seed]) for seed in variant if seed in other]
    mean, low, high = (f"{value:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0").replace("-", "−")
                       for value in (statistics.mean(gaps), min(gaps), max(gaps)))
    return f"{mean} points ({low} to {high}, {len(gaps)} seeds)"


def _seeds(number):
    return f"{number} seed{'s' if number > 1 else ''}"


@rule("ablation", "07_train_fashion_mnist")
def recipe(found):
    """Read from the ablation of the class recipe what to keep and what to leave out."""
    variants = {name: variant["accuracy"] for name, variant in found["variants"].items()}
    full = variants["full recipe"]
    yield ("Train with momentum",
           f"Here and in the next three lines: {found['epochs']} epochs on held-out images, against the full recipe. "
           f"Without momentum: {points(variants['without momentum'], full)}")
    yield ("Let the learning rate fall to zero",
           f"A constant rate: {points(variants['constant learning rate'], full)}; "
           f"a rate that falls in steps: {points(variants['step schedule'], full)}")
    yield ("In a short training, leave dropout and shifted crops out",
           f"Dropout 0.2: {points(variants['with dropout 0.2'], full)}; "
           f"shifted crops: {points(variants['with shift crop'], full)}")
    yield ("In a short training, expect little of weight decay, flips and label smoothing",
           f"Without weight decay: {points(variants['without weight decay'], full)}; "
           f"without flips: {points(variants['without flip'], full)}; "
           f"with label smoothing 0.1: {points(variants['with label smoothing 0.1'], full)}")


@rule("choices", "07_train_fashion_mnist")
def choices(found):
    """Read from the trials of other batch sizes and of Adam what to try first."""
    full, *others = (100 * variant["accuracy"]["0"] for variant in found["variants"].values())
    sizes, adam = others[:2], others[2:]
    rates = ", ".join(f"{value:.1f}" for value in adam)
    yield ("Enlarge the batch only with another learning rate to try; give Adam a rate of its own",
           f"{found['epochs']} epochs on held-out images, one seed each. SGD with a peak of 0.2: batches of 128 "
           f"{full:.1f} %, of 64 {sizes[0]:.1f} %, of 512 {sizes[1]:.1f} %. Adam with peaks of 0.001, 0.003 and 0.01: "
           f"{rates} %")


@rule("techniques", "07_train_fashion_mnist")
def techniques(found):
    """Read from the trials of newer techniques what a learner may add to the recipe."""
    variants = {name: variant["accuracy"] for name, variant in found["variants"].items()}
    full, both = variants["full recipe"], variants["Muon and mirror images"]
    yield ("For the last half point, take the optimizer Muon, and average the logits of an image and its mirror image",
           f"In {found['epochs']} epochs, Muon alone: {points(variants['Muon'], full)}; "
           f"mirror images alone: {points(variants['mirror images in the test'], full)}; both: {points(both, full)}")


@rule("class_training", "07_train_fashion_mnist")
def precision(found):
    """Read how much time bfloat16 saves, and whether it costs accuracy."""
    runs = {name: (statistics.median(one["seconds"].values()), statistics.mean(one["accuracy"].values()))
            for name, one in found["precisions"].items()}
    (fast, half_accuracy), (slow, full_accuracy) = runs.values()
    seeds = [len(one["accuracy"]) for one in found["precisions"].values()]
    yield ("On a processor with bf16, compute in bf16",
           f"The class training takes {fast:.0f} s instead of {slow:.0f} s, both in channels-last. Test accuracy was "
           f"{100 * half_accuracy:.2f} % ({_seeds(seeds[0])}), and in fp32 {100 * full_accuracy:.2f} % "
           f"({_seeds(seeds[1])}), which is too few to tell them apart")


@rule("loader", "07_train_fashion_mnist")
def loader(found):
    """Read what a data set costs that is small enough to stay in memory."""
    plain, augmented = (found[case]["ratio"]["dataloader with workers"]["median"] for case in ("plain", "augmented"))
    yield ("If the data set fits into memory, keep it there as one tensor",
           f"Batches come {plain:.0f} times as fast as from a DataLoader with a worker for each core, {augmented:.0f} "
           "times with flips and shifts")


@rule("time_to_accuracy", "06_small_densenet")
def sooner(found):
    """Read where the time of d2l's recipe goes."""
    factors = {name: factor for name, factor in found["factors"].items() if factor > 1}
    largest = max(factors, key=factors.get)
    yield ("Before buying a faster machine, look at resolution, epochs, and layout and dtype",
           f"d2l's ten epochs take {found['times faster']:.0f} times as long as a recipe of the course's that "
           "ends no worse than the best of them; most of that time is extrapolated. The largest part is "
           f"{largest}, a factor of {factors[largest]:.1f}")


@rule("efficient", "09_memory_and_speed")
def efficient(found):
    """Read what the efficient block saves."""
    speeds = [one["native"]["median"] for kinds in found["training"].values()
              for one in kinds["against torchvision"].values()]
    yield ("When memory is short, take the efficient block",
           f"It keeps {100 / found['memory']['BC-100-12 times fewer']:.0f} % of the bytes that torchvision's keeps for "
           f"the backward pass (BC-100-12). Compiled, it trained {min(speeds):.1f} to {max(speeds):.1f} times as fast "
           "as torchvision's, depending on network, layout and number format")


@rule("probe", "10_what_the_layers_learn")
def layers(found):
    """Read which layer answers which question best."""
    def best(question):
        scores = [network[question]["test"] for network in found["networks"]["trained"]]
        means = {layer: statistics.mean(score[layer] for score in scores) for layer in scores[0]}
        layer = max(means, key=means.get)
        return layer, means[layer], means[last]

    last = list(found["networks"]["trained"][0]["classes"]["test"])[-1]
    layer, classes, last_classes = best("classes")
    early, edges, last_edges = best("edge density")
    yield ("Take features from the layer that suits the question: late for classes, early for texture",
           f"In the class network, whose last layer is {last}, a linear probe tells the class best after "
           f"{layer} ({100 * classes:.1f} % right; after the last layer {100 * last_classes:.1f} %). The quarter "
           f"of the data in which an image is by its amount of edge, it tells best after {early} ({100 * edges:.1f} % "
           f"right; after the last layer {100 * last_edges:.1f} %)")


@rule("densenet121_layers", "10_what_the_layers_learn")
def deep_layers(found):
    """Read from the probes of a DenseNet-121 what its last layer gives away."""
    def told(question):
        places = found["networks"]["pretrained"][question]
        best = max(places, key=places.get)
        return f"{100 * places[best]:.1f} % ({best}) against {100 * list(places.values())[-1]:.1f} %"

    yield ("Before you take DenseNet-121's last layer, probe some earlier ones",
           "A DenseNet-121 was trained for one epoch on seven classes. What linear probes read at the best layer, "
           f"against the last one: which of three other classes, {told('three tops')}; what is at a pixel, "
           f"{told('pixel classes')}; whether there is an edge, {told('edge pixels')}")


@rule("transfer", "11_transfer_learning")
def transfer(found):
    """Read when to freeze and when to fine-tune."""
    new, old = found["pretraining"][0]["source"], found["runs"][0]["target"]

    def seeds(method, images):
        (run,) = [run for run in found["runs"] if run["method"] == method and run["per_class"] == images
                  and run["target"] == old and run["source"] in ([], new)]
        return {seed: one["target"] for seed, one in enumerate(run["test"])}

    few, many = found["per_class"]
    yield ("With few labelled images, fine-tune trained weights; before you use frozen features, try the raw pixels",
           f"{few} images of each of three classes. Fine-tuned, against training from scratch: "
           f"{points(seeds('fine-tuned', few), seeds('from scratch', few))}; against a linear classifier on pixels: "
           f"{points(seeds('fine-tuned', few), seeds('raw pixels', few))}. Frozen features against the raw pixels: "
           f"{points(seeds('frozen', few), seeds('raw pixels', few))}")
    yield ("With more labelled images, fine-tune the whole network, or train longer from scratch",
           f"{many} images of each class, against {found['steps']} steps from scratch. Frozen: "
           f"{points(seeds('frozen', many), seeds('from scratch', many))}; fine-tuned, as many steps: "
           f"{points(seeds('fine-tuned', many), seeds('from scratch', many))}; from scratch with four times the steps: "
           f"{points(seeds('from scratch, longer', many), seeds('from scratch', many))}")


@rule("relatives", "12_relatives")
def relatives(found):
    """Read where DenseNet-BC leads a ResNet of its size, and what it pays."""
    dense, residual = ([one for one in found["networks"] if one["family"] == family][-1]
                       for family in ("DenseNet-BC", "ResNet"))
    ratios = step_ratios(found, "DenseNet-BC", against="ResNet")
    yield ("Take DenseNet where parameters are scarce, ResNet where time or memory is",
           f"DenseNet-BC with {dense['parameters']:,} parameters against a ResNet with {residual['parameters']:,}: "
           f"{points(dense['accuracy'], residual['accuracy'])}, but "
           f"{dense['multiply_adds'] / residual['multiply_adds']:.1f} times the multiply-adds, "
           f"{dense['saved_bytes'] / residual['saved_bytes']:.1f} times the bytes and "
           f"{statistics.median(ratios):.1f} times the time for a step ({min(ratios):.1f} to {max(ratios):.1f}, "
           f"{len(ratios)} rounds)")


@rule("design_space", "14_capstone")
def design(found):
    """Read what compression costs and saves."""
    by_design = {(one["growth_rate"], tuple(one["block_layers"]), one["compression"]): one
                 for one in found["networks"]}
    pairs = [(one, by_design[k, layers, 1.0]) for (k, layers, theta), one in by_design.items() if theta == 0.5]
    gaps = [100 * (statistics.mean(a["accuracy"].values()) - statistics.mean(b["accuracy"].values())) for a, b in pairs]
    saved = statistics.mean(1 - a["parameters"] / b["parameters"] for a, b in pairs)
    yield ("Compress at the transitions when parameters count",
           f"Halving the channels at each transition (θ = 0.5) saves {100 * saved:.0f} % of the parameters: "
           f"{statistics.mean(gaps):+.1f} points ({min(gaps):+.1f} to {max(gaps):+.1f}, {len(pairs)} pairs of designs)"
           .replace("-", "−"))


@rule("descendants", "12_relatives")
def descendants(found):
    """Read from one training of each descendant's layer what a small network gains from it."""
    networks = {network["name"]: network for part in ("networks", "plain") for network in found[part]}
    chosen = (networks[name] for name in ("bottleneck", "SE", "two-way", "shuffled groups", "plain 35,000"))
    told = ", ".join(f"{one['name']} {100 * one['accuracy']['0']:.1f} % ({one['parameters']:,} parameters)"
                     for one in chosen)
    yield ("Before you take a newer layer, measure it on your own task",
           f"{found['train_images']:,} images, once, one seed each: {told}")
