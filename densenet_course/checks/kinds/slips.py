"""What goes wrong in every BN → ReLU → convolution: modules with a mistake, and mistakes of a solution's text."""

import torch
import torch.nn.functional as F
from torch import nn

from densenet_course.checks.engine.mistakes import Mistake, mistakes_at

RUNNING = "BatchNorm uses the running statistics in train mode too; expected the batch's."
BATCH = "BatchNorm uses the batch's statistics in eval mode too; expected the running ones."
ONE_IMAGE = "one image alone loses its batch axis. Is there a squeeze()? Return (N, C, H, W) for N = 1 too."
ONE_ROW = "one image alone loses its batch axis. Is there a squeeze()? Return (N, classes) for N = 1 too."
SWAPPED = "the two numbers of channels of the convolution are swapped."
TRANSPOSED = "this is a transposed convolution (nn.ConvTranspose2d); write nn.Conv2d."
DILATED = "the kernel's pixels lie apart (dilation=2); leave dilation at 1."
SHORTCUT = "the input is added where the shapes agree, as in a residual block. Return the new maps alone."
JOINED = "the input is joined to the new maps. Return only the new maps; the block joins."
CONV, NORM, RELU, MODULE = "nn.Conv2d(", "nn.BatchNorm2d(", "nn.ReLU()", "nn.Sequential("  # as solutions write them
ACTIVATIONS = (
    ("nn.ReLU6()", "ReLU6, which cuts off at 6"), ("nn.LeakyReLU()", "a leaky ReLU"),
    ("nn.LeakyReLU(0.1)", "a leaky ReLU"), ("nn.LeakyReLU(0.2)", "a leaky ReLU"),
    ("nn.LeakyReLU(0.3)", "a leaky ReLU"), ("Absolute()", "the absolute value (abs)"), ("nn.GELU()", "GELU"),
    ("nn.SiLU()", "SiLU"), ("nn.ELU()", "ELU"), ("nn.Sigmoid()", "a sigmoid"), ("nn.Tanh()", "tanh"),
    ("nn.Softplus()", "softplus"), ("nn.SELU()", "SELU"), ("nn.Mish()", "Mish"), ("nn.Hardswish()", "a hard swish"),
)

BATCHNORM = (  # options of nn.BatchNorm2d, and what to say of them
    ("eps=1e-3", "BatchNorm's eps is 1e-3 (Keras's default); expected PyTorch's, 1e-5."),
    ("eps=1e-4", "BatchNorm's eps is 1e-4; expected PyTorch's, 1e-5."),
    ("eps=1e-6", "BatchNorm's eps is 1e-6; expected PyTorch's, 1e-5."),
    ("momentum=0.01", "BatchNorm's momentum is 0.01 (Keras's 0.99 the other way round); expected PyTorch's, 0.1."),
    ("momentum=0.99", "BatchNorm's momentum is 0.99, as Keras counts it; expected PyTorch's, 0.1."),
    ("momentum=0.9", "BatchNorm's momentum is 0.9; expected PyTorch's, 0.1."),
    ("momentum=None", "BatchNorm's running statistics are a mean over all batches (momentum=None); expected PyTorch's "
                      "momentum, 0.1."),
    ("track_running_stats=False", "BatchNorm uses the batch's statistics in eval mode too; expected the running ones."),
)
SMALL = ("eps=1e-4", "eps=1e-6")  # these show only where contrasts are small


class Absolute(nn.Module):
    """The absolute value, as a part."""

    def forward(self, maps):
        """Return it."""
        return maps.abs()


class Stuck(nn.BatchNorm2d):
    """BatchNorm in eval mode always."""

    def train(self, mode=True):
        """Stay in eval mode."""
        return super().train(False)


class BatchOnly(nn.BatchNorm2d):
    """BatchNorm that keeps its running statistics, and never uses them."""

    def forward(self, maps):
        """Normalise by the batch."""
        return F.batch_norm(maps, None, None, self.weight, self.bias, True)


class Residual(nn.Sequential):
    """Parts whose input is added to their output, where the shapes agree."""

    def forward(self, maps):
        """Return the sum."""
        output = super().forward(maps)
        return output + maps if output.shape == maps.shape else output


class Squeezed(nn.Sequential):
    """Parts whose output loses its axes of length 1."""

    def forward(self, maps):
        """Return the output squeezed."""
        return super().forward(maps).squeeze()


class Joining(nn.Sequential):
    """Parts that return their input too, in front or behind."""

    in_front = True

    def forward(self, maps):
        """Return both joined."""
        pair = [maps, super().forward(maps)]
        return torch.cat(pair if self.in_front else pair[::-1], dim=1)


class JoiningBehind(Joining):
    """Parts that return their input too, behind their output."""

    in_front = False


NAMES = {kind.__name__: kind
         for kind in (Absolute, Stuck, BatchOnly, Residual, Squeezed, Joining, JoiningBehind)} | {"nn": nn}


def activations(values, parameters):
    """List the mistakes of another activation, in every place.

    Args:
        values, parameters: the findings that they cost; the second where the activation itself is trained.
    """
    rows = ((f"this is {what}; expected a plain ReLU.", expression) for expression, what in ACTIVATIONS)
    trained = "this is PReLU, whose slope is trained; expected a plain ReLU.", "nn.PReLU()"
    return [*mistakes_at(values, RELU, *rows), *mistakes_at(parameters, RELU, trained)]


def dilated(shape, values, padding):
    """List the mistakes of a dilated convolution, with its old padding and with one that fits it.

    Args:
        shape, values: the findings that they cost.
        padding: the convolution's argument.
    """
    return [*mistakes_at(shape, padding, (DILATED, f"{padding}, dilation=2")),
            *mistakes_at(values, padding, (DILATED, "padding=2, dilation=2"))]


def outputs(finding):
    """List the mistakes in what a Sequential returns, by its shape."""
    return mistakes_at(finding, MODULE, (ONE_IMAGE, "Squeezed("), (JOINED, "Joining("), (JOINED, "JoiningBehind("))


def borders(finding, padding):
    """List the mistakes of a border that holds no zeros; ``padding`` is the convolution's argument."""
    return mistakes_at(finding, padding, *(
        (f"the border holds {what}; expected zeros.", f"{padding}, padding_mode='{mode}'")
        for mode, what in (("reflect", "mirrored pixels"), ("replicate", "repeated pixels"),
                           ("circular", "pixels of the other side"))))


def norms(values, training, *, small=True):
    """List the mistakes of another normalisation, in every place.

    Args:
        values, training: the findings that they cost, in eval mode and in train mode.
        small: whether a wrong eps shows that is smaller than 1e-3.
    """
    alone = "this normalises each image on its own"
    return [
        *mistakes_at(values, NORM, ("this is LayerNorm over the channels; expected BatchNorm.", "nn.GroupNorm(1, "),
                     (f"{alone} (InstanceNorm); expected BatchNorm.", "nn.InstanceNorm2d(affine=True, num_features=")),
        *mistakes_at(training, NORM, (f"{alone} in train mode (InstanceNorm); expected BatchNorm.",
                                      "nn.InstanceNorm2d(affine=True, track_running_stats=True, num_features="),
                     (RUNNING, "Stuck("), (BATCH, "BatchOnly("),
                     *((message, f"{NORM}{option}, num_features=") for option, message in BATCHNORM
                       if small or option not in SMALL)),
    ]


def batchnorm_mistakes(finding, norm, *others):
    """Make a mistake of each option of BATCHNORM.

    Args:
        finding: the finding that they cost.
        norm: the call in the solution's text, for instance "nn.BatchNorm2d(in_channels)".
        others: further calls that get the same option.
    """
    return [Mistake(finding, message, *(piece for call in (norm, *others)
                                        for piece in (call, f"{call[:-1]}, {option})")))
            for option, message in BATCHNORM]
