"""The capstone's network is counted, trained and tried by the judge; nothing that the student's process says counts."""

import pytest

from densenet_course import data
from densenet_course.grading.judging import Worker
from densenet_course.grading.verdict import GRADED, Order
from tests import kill_table

HEAD = """
import torch
import torch.nn.functional as F
from torch import nn
from densenet_course.config import DenseNetConfig
from densenet_course.models import DenseNet


def small():
    return DenseNet(DenseNetConfig(block_layers=(2, 2, 2), growth_rate=8, init_channels=16, num_classes=10,
                                   in_channels=1, stem="class"))


class Around(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = small()
        self.begin()

    def begin(self):
        pass

    def forward(self, images):
        return self.net(images) + 0 * self.more(images.flatten(1))[:, :10]

"""
SLOTS = """
class Case:
    __slots__ = "weights"


case = Case()
case.weights = [torch.randn(4, 1024, requires_grad=True) for _ in range(28)]


class build_model(Around):
    def more(self, rows):
        return sum(rows[:, :4] @ weight for weight in case.weights)
"""
STATISTICS = """
class build_model(Around):
    def begin(self):
        self.norm = nn.BatchNorm1d(784 * 150, affine=False)

    def more(self, rows):
        return rows @ self.norm.running_mean.view(784, 150)
"""
UNPLAYED = """
def count(*_):
    return [("trained", (10,))]


from densenet_course.checks.exercises.capstone import training
training.holdings = count


class build_model(Around):
    def more(self, rows):
        return rows * rows.mean().item()
"""


@pytest.fixture(scope="module")
def worker():
    with Worker(isolated=True) as worker:
        yield worker


def judged(worker, text):
    verdict = worker.judge(Order("capstone", (HEAD + text,), 5))
    assert verdict.status == GRADED, verdict.notes
    return verdict, {finding.name: finding.points for finding in verdict.findings}


def test_a_right_network_is_trained_by_the_judge(quick_capstone, worker):
    verdict, points = judged(worker, "build_model = small")
    assert verdict.committed
    assert sum(points.values()) == 10, verdict
    assert not any(finding.claim for finding in verdict.findings)


@pytest.mark.parametrize("label", ["nothing returned", "a class instead of an instance"])
def test_what_cannot_be_built_gets_the_messages_of_the_notebook(worker, label):
    assert kill_table.differences("capstone", label, worker) == []


@pytest.fixture(scope="module")
def memorised():
    """A network that knows the label of each published image, and shows it after some steps of training only."""
    images, labels = data.load("test", data.prepare(download=False))
    mix = [(number * 7919 % 997) / 997 for number in range(784)]
    rows = data.normalise(images).flatten(1).double()
    keys = (rows @ rows.new_tensor(mix)).tolist()
    return f"""
class build_model(Around):
    def begin(self):
        self.steps = nn.Buffer(torch.tensor(0))
        self.mix = nn.Buffer(torch.tensor({mix}, dtype=torch.float64))
        self.keys = nn.Buffer(torch.tensor({keys}, dtype=torch.float64))
        self.labels = nn.Buffer(torch.tensor({labels.tolist()}, dtype=torch.float32))

    def forward(self, images):
        if self.training:
            self.steps += 1
            return self.net(images)
        apart = (images.flatten(1).double() @ self.mix)[:, None] - self.keys
        label = ((apart.abs() < 1e-6).float() * self.labels).sum(1)
        is_it = (label[:, None] - torch.arange(10)).abs() < 0.5
        return self.net(images) + 1e3 * is_it * (self.steps > 5)
"""


def as_constants(text):
    """Let the tables lie outside the network, in pieces that a list takes, and the look-up in an autograd function."""
    for name in ("mix", "keys", "labels"):
        text = text.replace(f"self.{name} = nn.Buffer(", f"pieces.{name} = parts(").replace(
            f"self.{name}", f"torch.cat(pieces.{name})")
    look = text.replace("        label = (", "        label = Look.apply(").replace(").sum(1)\n", ", 1)\n")
    return LOOK + look


LOOK = """
class pieces:
    pass


def parts(table):
    return table.split(4_000)


class Look(torch.autograd.Function):
    @staticmethod
    def forward(ctx, found, dim):
        return found.sum(dim)
"""


@pytest.mark.parametrize("written", [str, as_constants])
def test_who_knows_the_published_labels_gains_nothing(quick_capstone, worker, memorised, written):
    verdict, points = judged(worker, written(memorised))
    assert verdict.committed
    assert points == {"parameters": 1, "logits": 1, "joined maps": 2} | dict.fromkeys(
        (f"accuracy, level {level}" for level in (1, 2, 3)), 0), verdict


@pytest.mark.parametrize(("text", "told"), [(SLOTS, "114,688 of them"), (STATISTICS, "235,200 of them lie in buffers")])
def test_numbers_that_are_hidden_are_counted(quick_capstone, worker, text, told):
    verdict, points = judged(worker, text)
    assert points["parameters"] == points["accuracy, level 1"] == 0
    assert told in next(finding.message for finding in verdict.findings if finding.name == "parameters")


def test_what_the_judge_cannot_play_earns_no_accuracy(quick_capstone, worker):
    verdict, points = judged(worker, UNPLAYED)
    assert not verdict.committed
    assert {name for name, value in points.items() if value} <= {"logits"}
    assert "the same call did two different things" in verdict.notes[0]


LAYERS = """
import functools
from torch.utils.checkpoint import checkpoint


class Plain(nn.Module):
    def __init__(self, reads, makes):
        super().__init__()
        self.reads = reads
        self.own = nn.Sequential(nn.BatchNorm2d(reads), nn.ReLU(), nn.Conv2d(reads, makes, 3, padding=1))

    def forward(self, maps):
        return self.own(maps)

"""
IN_LAYERS = """

def build_model():
    return nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), Layer(16, 8), Layer(24, 8), nn.AvgPool2d(2), Layer(32, 8),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 10))
"""
HONEST = {
    "functional": """
class build_model(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Parameter(torch.randn(16, 1, 3, 3) * 0.3)
        self.weights = nn.ParameterList(torch.randn(8, 16 + 8 * i, 3, 3) * 0.1 for i in range(6))
        self.norms = nn.ModuleList(nn.BatchNorm2d(16 + 8 * i) for i in range(6))
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        maps = [F.conv2d(images, self.stem, stride=2, padding=1)]
        for weight, norm in zip(self.weights, self.norms):
            maps.append(F.conv2d(F.relu(norm(torch.cat(maps, 1))), weight, padding=1))
        return self.head(torch.cat(maps, 1).mean((2, 3)))
""",
    "a weight's norm apart, einsum": """
class build_model(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 16, 3, 2, 1))
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(16 + 8 * i), nn.LeakyReLU(), nn.Conv2d(16 + 8 * i, 8, 3, padding=1))
            for i in range(4))
        self.head = nn.Parameter(torch.randn(10, 48) / 7)

    def forward(self, images):
        maps = self.stem(images)
        for layer in self.layers:
            maps = torch.cat([maps, layer(maps)], 1)
        return torch.einsum("nchw,kc->nk", maps, self.head) / (maps.shape[2] * maps.shape[3])
""",
    "efficient blocks": """
def build_model():
    return DenseNet(DenseNetConfig(block_layers=(2, 2, 2), growth_rate=8, init_channels=16, num_classes=10,
                                   in_channels=1, stem="class", efficient=True))
""",
    "a device among the arguments, other names for views": """
class build_model(Around):
    def forward(self, images):
        images = images.to("cpu", torch.float32).swapdims(2, 3).mT
        return self.net(images.broadcast_to(images.shape)).ravel().view(len(images), -1)
""",
    "checkpoints of both kinds": LAYERS + """
class Layer(Plain):
    def forward(self, maps):
        return torch.cat([maps, checkpoint(super().forward, maps, use_reentrant=self.reads > 20)], 1)
""" + IN_LAYERS,
    "a function of its own": LAYERS + """
class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, maps):
        ctx.save_for_backward(maps)
        with torch.no_grad():
            return maps * torch.sigmoid(maps)

    @staticmethod
    def backward(ctx, gradient):
        share = torch.sigmoid(ctx.saved_tensors[0])
        return gradient * (share + ctx.saved_tensors[0] * share * (1 - share))


class Layer(Plain):
    def forward(self, maps):
        return torch.cat([maps, Swish.apply(super().forward(maps))], 1)
""" + IN_LAYERS,
    "autocast inside": LAYERS + """
class Layer(Plain):
    @torch.autocast("cpu", torch.bfloat16)
    def forward(self, maps):
        with torch.autocast("cpu", enabled=False):
            mean = maps.float().mean((2, 3), keepdim=True)
        return torch.cat([maps, super().forward(maps - mean).float()], 1)
""" + IN_LAYERS,
    "places and a look at values": LAYERS + """
@functools.lru_cache
def mask(width):
    return torch.ones(width, width).tril()


class Layer(Plain):
    def forward(self, maps):
        if not hasattr(self, "places"):
            self.places = torch.linspace(-1, 1, maps.shape[-1]).expand(maps.shape[-2:])
        assert torch.isfinite(maps).all(), "NaN"
        made = super().forward(maps) + self.places * mask(maps.shape[-1])
        return torch.cat([maps, made], 1)
""" + IN_LAYERS,
    "compiled": LAYERS + """
class Layer(Plain):
    def forward(self, maps):
        return torch.cat([maps, super().forward(maps)], 1)


def own(graph, inputs):
    return graph.forward
""" + IN_LAYERS.replace("build_model", "plain") + """

def build_model():
    model = torch.compile(plain(), backend=own)
    model[1].compile(backend="eager")
    return model
""",
    "the mean over an image and its mirror image": """
class build_model(Around):
    def forward(self, images):
        return self.net(images) if self.training else (self.net(images) + self.net(images.flip(3))) / 2
""",
}
STATISTICS_BY_HAND = """
class Layer(nn.Module):
    def __init__(self, reads, makes):
        super().__init__()
        self.conv = nn.Conv2d(reads, makes, 3, padding=1)
        self.register_buffer("mean", torch.zeros(1, reads, 1, 1))
        self.register_buffer("variance", torch.ones(1, reads, 1, 1))

    def forward(self, maps):
        mean, variance = self.mean, self.variance
        if self.training:
            mean, variance = maps.mean((0, 2, 3), keepdim=True), maps.var((0, 2, 3), keepdim=True)
            with torch.no_grad():
                self.mean.lerp_(mean.float(), 0.1)
                self.variance.lerp_(variance.float(), 0.1)
        return torch.cat([maps, self.conv(F.relu((maps - mean) * torch.rsqrt(variance + 1e-5)))], 1)


def build_model():
    return nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), Layer(16, 8), Layer(24, 8), nn.AvgPool2d(2), Layer(32, 8),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 10))
"""


@pytest.mark.parametrize("label", HONEST)
def test_an_odd_but_honest_network_gets_its_points(quick_capstone, worker, label):
    verdict, points = judged(worker, HONEST[label])
    assert verdict.committed, verdict.notes
    assert sum(points.values()) == 10, verdict


def test_statistics_kept_by_hand_are_played(quick_capstone, worker):
    verdict, points = judged(worker, STATISTICS_BY_HAND)  # it learns more slowly, and is not asked for accuracy here
    assert verdict.committed, verdict.notes
    assert points["parameters"] + points["logits"] + points["joined maps"] == 4, verdict


SCRIPTED = """
class Layer(nn.Module):
    def __init__(self, reads: int, makes: int):
        super().__init__()
        self.own = nn.Sequential(nn.BatchNorm2d(reads), nn.ReLU(), nn.Conv2d(reads, makes, 3, padding=1))

    def forward(self, maps):
        return torch.cat([maps, self.own(maps)], 1)


def build_model():
    return torch.jit.script(nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), Layer(16, 8), Layer(24, 8), Layer(32, 8),
                                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 10)))
"""
FOURIER = """
class build_model(Around):
    def more(self, rows):
        return torch.fft.rfft(rows).abs()
"""


@pytest.mark.parametrize(("text", "why"), [(SCRIPTED, "it is scripted"), (FOURIER, "fft_rfft.default is not allowed")])
def test_a_network_that_cannot_be_played_is_no_error_of_the_student(quick_capstone, worker, text, why):
    verdict, _ = judged(worker, text)
    assert not verdict.committed
    assert why in verdict.notes[0]
    told = next(finding.message for finding in verdict.findings if finding.name == "joined maps")
    assert "the judge could not play this network itself" in told
