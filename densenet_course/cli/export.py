"""The command ``densenet-course export``: its options, and what it prints; no torch until it runs."""

from pathlib import Path

from densenet_course.cli.train import NETWORKS

SIZES = {1: 28, 3: 224}  # channels → height and width of what ``train`` shows the network, in pixels


def add_options(parser):
    """Add the command's options to an ``argparse`` parser, and what runs it."""
    parser.add_argument("--network", choices=tuple(NETWORKS), default="class",
                        help="which DenseNet (default: class)")
    parser.add_argument("--weights", default="DEFAULT", metavar="FILE",
                        help="a checkpoint of train, a saved state_dict or a URL (default: the package's for class, "
                             "torchvision's for the others)")
    parser.add_argument("--image-size", type=int,
                        help="height and width of the images, in pixels (default: 28 for grey images, 224 for colour)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write or replace (default: NETWORK.onnx)")
    parser.set_defaults(run=run)


def run(options):
    """Export; return the exit status."""
    from densenet_course.export import BATCHES, TOLERANCE, export_onnx, onnx_path, refuse_missing_packages
    from densenet_course.training.checkpoint import try_folder

    refuse_missing_packages()
    out = onnx_path(options.out or f"{options.network}.onnx")
    model = trained(NETWORKS[options.network], options.weights)
    channels = model.config.in_channels
    size = SIZES.get(channels, 224) if options.image_size is None else options.image_size
    try_folder(out.parent)
    share = export_onnx(model, out, channels, size, size)
    print(f"{out}: images (N, {channels}, {size}, {size}) → logits (N, {model.config.num_classes}), fp32, any N")
    print(f"checked with ONNX Runtime against PyTorch, batches of {', '.join(map(str, BATCHES))}: the largest "
          f"difference is {share:.1e} of the largest logit (at most {TOLERANCE:.0e})")
    return 0


def trained(factory, weights):
    """Build a network as large as some weights ask for, and load them."""
    from densenet_course import models
    from densenet_course.pretrained import saved_sizes

    return getattr(models, factory)(**saved_sizes(factory, weights), weights=weights)
