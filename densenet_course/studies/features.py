"""What the layers of a DenseNet hold: features at every depth, linear probes on them, and who weighs whose maps."""

import torch
import torch.nn.functional as F
from torch import nn


def maps_by_depth(model, images):
    """Compute all maps that exist at each depth, as whoever reads them next does: through its BN and ReLU.

    Args:
        model: a DenseNet of this package, or torchvision's.
        images: normalised (N, in_channels, H, W).

    Yields:
        (place, maps): "stem", "block 1, layer 1", …, "transition 1", … and maps (N, C, H', W'), none negative. Inside
        a block C grows by k at every layer. The last are those that the classifier pools.
    """
    place, maps = "stem", images
    for name, part in model.features.named_children():
        if name.startswith("denseblock"):
            for i, layer in enumerate(part.children(), start=1):
                yield place, layer.relu1(layer.norm1(maps))
                maps = torch.cat([maps, layer(maps)], dim=1)  # (N, C + k, H', W')
                place = f"block {name.removeprefix('denseblock')}, layer {i}"
        elif name.startswith("transition"):
            yield place, part.relu(part.norm(maps))
            maps = part(maps)  # (N, ⌊θ·C⌋, H'/2, W'/2)
            place = f"transition {name.removeprefix('transition')}"
        else:
            maps = part(maps)
    yield place, F.relu(maps)


@torch.no_grad()
def pooled_by_depth(model, images, *, grid=1, batch_size=500):
    """Average the maps at each depth over the cells of a grid, in evaluation mode; the model's mode is restored.

    Args:
        model: as for ``maps_by_depth``.
        images: normalised (N, in_channels, H, W).
        grid: cells a side; 1 averages each map to one number, as the network does before its classifier.
        batch_size: images computed together.

    Returns:
        A dict: place → (N, C · grid²) float32, the cells of a channel side by side.

    Raises:
        ValueError: the grid has no cell.
    """
    if grid < 1:
        raise ValueError(f"grid: expected at least 1 cell a side, got {grid}")
    was_training, found = model.training, {}
    model.eval()
    try:
        for batch in images.split(batch_size):
            for place, maps in maps_by_depth(model, batch):
                found.setdefault(place, []).append(F.adaptive_avg_pool2d(maps, grid).flatten(1))
    finally:
        model.train(was_training)
    return {place: torch.cat(batches) for place, batches in found.items()}


def linear_probe(features, labels, *, decay=1e-3, steps=100):
    """Fit one linear layer to frozen features: softmax regression by L-BFGS on standardised features.

    Args:
        features: (N, D).
        labels: int64 (N,), from 0.
        decay: L2 penalty on the weights of the standardised features.
        steps: of L-BFGS, at most.

    Returns:
        An ``nn.Linear`` (N, D) → (N, classes) for features as they come; the standardisation is folded in.

    Raises:
        ValueError: features and labels differ in number.
    """
    if len(features) != len(labels):
        raise ValueError(f"labels: expected one for each of {len(features)} rows of features, got {len(labels)}")
    deviation, mean = torch.std_mean(features, dim=0)
    scale = torch.where(deviation > 1e-4, 1 / deviation, 0)  # a channel that never fires tells nothing
    standard = (features - mean) * scale
    probe = nn.Linear(features.shape[1], int(labels.max()) + 1)
    nn.init.zeros_(probe.weight)
    nn.init.zeros_(probe.bias)
    optimizer = torch.optim.LBFGS(probe.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = F.cross_entropy(probe(standard), labels) + decay / 2 * probe.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)  # with gradients, even where the caller switched them off
    with torch.no_grad():
        probe.weight *= scale
        probe.bias -= probe.weight @ mean
    return probe.requires_grad_(False)


def accuracy(probe, features, labels):
    """Measure the share of images that a probe gets right."""
    return (probe(features).argmax(1) == labels).float().mean().item()


def best_places(runs, question, judged="test"):
    """Name the places where a probe reads a question best: that with the best mean, and those that equal it in a run.

    Args:
        runs: of one network, as ``benchmarks/probe.py`` writes them: question → judged part → place → accuracy.
        question: one of them.
        judged: the images that count.
    """
    scores = [run[question][judged] for run in runs]
    best = max(scores[0], key=lambda place: sum(score[place] for score in scores))
    return [place for place in scores[0] if not all(score[place] < score[best] for score in scores)]


def gradient_length(images):
    """Measure at each inner pixel how fast the brightness changes: the length of its gradient.

    Args:
        images: uint8 (N, 1, H, W) of 0…255.

    Returns:
        float32 (N, H − 2, W − 2), in brightness (0…1) per pixel.
    """
    images = images[:, 0].float() / 255  # (N, H, W)
    across = (images[:, 1:-1, 2:] - images[:, 1:-1, :-2]) / 2  # (N, H − 2, W − 2)
    down = (images[:, 2:, 1:-1] - images[:, :-2, 1:-1]) / 2
    return torch.hypot(across, down)


def edge_density(images):
    """Measure how much edge an image holds: the mean length of its brightness gradient, from pixels alone.

    Args:
        images: uint8 (N, 1, H, W) of 0…255.

    Returns:
        float32 (N,), in brightness (0…1) per pixel.
    """
    return gradient_length(images).mean(dim=(1, 2))


def quartile_of(values, reference):
    """Sort numbers into four classes whose borders are the quartiles of a reference: 0 the lowest, 3 the highest."""
    return torch.bucketize(values, torch.quantile(reference, torch.tensor([0.25, 0.5, 0.75])))


def links(model):
    """Find every link inside the dense blocks: the weights that one reader gives to the maps of one source.

    Readers are a block's layers, and the transition or the classifier behind it; sources are the block's input and its
    layers. Transposed, a block's rows and columns are those of the paper's picture.

    Args:
        model: a DenseNet of this package, or torchvision's.

    Yields:
        (block, reader, source, weights): a number from 1, two names, and a view (outputs, channels of the source, …)
        of the reader's convolution or of the classifier's matrix.
    """
    parts = list(model.features.named_children())
    blocks = [i for i, (name, _) in enumerate(parts) if name.startswith("denseblock")]
    for number, place in enumerate(blocks, start=1):
        layers = list(parts[place][1].children())
        after = parts[place + 1]
        last = ("classifier", model.classifier) if after[0] == "norm5" else (after[0], after[1].conv)
        readers = [(f"layer {i}", layer.conv1) for i, layer in enumerate(layers, start=1)]
        sizes = [layers[0].norm1.num_features] + [list(layer.children())[-1].out_channels for layer in layers]
        for count, (reader, module) in enumerate([*readers, last], start=1):
            sources = module.weight.detach().split(sizes[:count], dim=1)
            for i, weights in enumerate(sources):
                yield number, reader, f"layer {i}" if i else "input", weights


def reuse(model):
    """Average the absolute weight of every link.

    Returns:
        A list with a dict for each block: "readers" and "sources", lists of names, and "weights", a float32 tensor
        (readers, sources) with NaN where a source comes too late to be read.

    Source: Huang et al. 2017, section 5, "Feature Reuse" and figure 5.
    """
    blocks = {}
    for number, reader, source, weights in links(model):
        blocks.setdefault(number, {}).setdefault(reader, {})[source] = weights.abs().mean().item()
    found = []
    for rows in blocks.values():
        sources = list(rows[list(rows)[-1]])  # the last reader reads them all
        table = [[row.get(source, float("nan")) for source in sources] for row in rows.values()]
        found.append({"readers": list(rows), "sources": sources, "weights": torch.tensor(table)})
    return found
