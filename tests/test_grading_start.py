"""What a capstone brings into its training is drawn by the judge, or is little: no table, no trained weights."""

import pytest
import torch
from torch import nn

from densenet_course import data
from densenet_course.checks.engine.answer import AnswerError
from densenet_course.grading import playing, starting
from densenet_course.grading.judging import Worker
from densenet_course.grading.operations import Refused
from densenet_course.grading.starting import MOST, Start, written
from densenet_course.models import class_densenet
from tests.test_grading_capstone import judged
from tests.test_grading_committed import Called, Direct

IMAGES = 2, 1, 28, 28


def described(module):
    """Describe a module as the student's cell does."""
    return Direct(lambda: module).need("build", given=[], keywords={})


def begun(build):
    """Begin with a network that is built twice; return it, as the student and as the judge has it."""
    module, torn = build(), described(build())
    mine = described(module)
    start = Start(mine, torn)
    return start, dict(module.state_dict()), {row[0]: row[1] for row in [*mine["parameters"], *mine["buffers"]]}


def with_start(change):
    """Return a function that builds lesson 07's network, and changes the start values of its convolutions."""

    def build():
        model = class_densenet()
        for part in model.modules():
            if isinstance(part, nn.Conv2d):
                change(part.weight)
        return model

    return build


RANDOM = {
    "the usual one": lambda weight: None, "orthogonal": nn.init.orthogonal_,
    "truncated": lambda weight: nn.init.trunc_normal_(weight, std=0.02),
    "sparse": lambda weight: weight.data.mul_(torch.rand_like(weight) < 0.1),
    "around a mean": lambda weight: nn.init.normal_(weight, 0.3, 0.1),
}


@pytest.mark.parametrize("label", RANDOM)
def test_chance_is_drawn_anew_with_the_same_mean_and_spread(label):
    torch.manual_seed(0)
    _, before, after = begun(with_start(RANDOM[label]))
    for name, value in before.items():
        if value.ndim == 4:
            assert not torch.equal(value, after[name])
            off = 4 / value.numel() ** 0.5 + 0.01  # of the spread
            assert abs(after[name].mean() - value.mean()) < off * value.std()
            assert abs(after[name].std() - value.std()) < off * value.std()
            assert torch.corrcoef(torch.stack([value.flatten(), after[name].flatten()]))[0, 1].abs() < 0.4
        elif value.is_floating_point() and "classifier" not in name:
            assert torch.equal(value, after[name])  # γ, β and statistics


SOBEL = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
REGULAR = {
    "dirac": nn.init.dirac_, "zeros": nn.init.zeros_, "ones": nn.init.ones_,
    "a constant": lambda weight: nn.init.constant_(weight, 0.0123),
    "a kernel": lambda weight: weight.data.copy_(SOBEL[:weight.shape[2], :weight.shape[3]]),
    "a formula": lambda weight: weight.data.copy_(
        torch.linspace(-1, 1, weight.shape[0])[:, None, None, None].expand_as(weight) if weight.shape[2] == 3 else 1),
}


@pytest.mark.parametrize("label", REGULAR)
def test_regular_numbers_stay(label):
    _, before, after = begun(with_start(REGULAR[label]))
    for name, value in before.items():
        assert torch.equal(value, after[name]) or "classifier" in name


def test_numbers_of_one_sign_keep_it():
    _, _, after = begun(lambda: Holding(torch.rand(1000) + 1e-3, -torch.rand(1000)))
    assert (after["b0"] > 0).all()
    assert (after["b1"] < 0).all()


def test_a_few_fixed_numbers_stay_and_a_seed_inside_is_of_no_use():
    bank = torch.randn(12, 1, 5, 5)

    def build():
        torch.manual_seed(3)
        model = class_densenet()
        model.features.conv0 = nn.Conv2d(1, 12, 5)
        model.features.conv0.weight = nn.Parameter(bank.clone(), requires_grad=False)
        return model

    _, before, after = begun(build)
    assert not torch.equal(after["features.denseblock1.denselayer1.conv2.weight"],
                           before["features.denseblock1.denselayer1.conv2.weight"])
    _, before, after = begun(lambda: Holding(bank))
    assert torch.equal(after["b0"], bank)


class Holding(nn.Module):
    def __init__(self, *values):
        super().__init__()
        for number, value in enumerate(values):
            self.register_buffer(f"b{number}", value)


NUMBERS = torch.randn(100_000)
ORDER = torch.randperm(4000)
TOO_MUCH = {
    "numbers": lambda: [NUMBERS[:600]], "truth values": lambda: [NUMBERS > 0],
    "places in any order": lambda: [ORDER[torch.randperm(4000)]],
    "labels as exponents": lambda: [2.0 ** (NUMBERS[:20_000] * 3).round()],
    "many numbers by chance": lambda: [torch.randn(()) for _ in range(1000)],
    "sizes": lambda: [torch.zeros(int(abs(number) * 500)) for number in NUMBERS[:2000]],
}
WHICH = NUMBERS[:6000].mul(1000).long().remainder(64).tolist()


@pytest.mark.parametrize("label", TOO_MUCH)
def test_knowledge_of_any_form_is_counted(label):
    with pytest.raises(AnswerError, match=r"it brings [\d,]+ bytes along, compressed, and 2,000 are allowed"):
        begun(lambda: Holding(*TOO_MUCH[label]()))


def test_which_tensors_are_tied_counts():
    rows = [(str(number), torch.zeros(3), False, place) for number, place in enumerate(WHICH)]
    with pytest.raises(AnswerError, match="bytes along"):
        Start({"parameters": [], "buffers": rows}, {"parameters": [], "buffers": rows})


def test_what_is_drawn_has_nothing_of_numbers_that_describe_themselves():
    """Sorted, such numbers would be a table in whatever order they come."""

    def build():
        return Holding((torch.arange(3000.0) * 16 + NUMBERS[:3000].abs().clamp(max=9).floor())[torch.randperm(3000)])

    _, before, after = begun(build)
    kept = set(before["b0"].tolist()) & set(after["b0"].tolist())
    assert len(kept) < 10


def test_what_lists_bring_is_added_up():
    start, _, _ = begun(class_densenet)
    program = {"inputs": 1, "operations": [["aten.cat.default", [WHICH[:1000]], {}]], "result": {"#": 1}}
    start.add(program)
    with pytest.raises(AnswerError, match="bytes along"):
        start.add(program | {"operations": [["aten.cat.default", [WHICH[1000:2500]], {}]]})


def test_which_references_a_list_holds_counts():
    start, _, _ = begun(class_densenet)
    numbers = [["aten.full.default", [[1], float(i)], {}] for i in range(64)]
    which = [{"#": 1 + number} for number in WHICH]
    with pytest.raises(AnswerError, match="bytes along"):
        start.add({"inputs": 1, "operations": [*numbers, ["aten.cat.default", [which], {}]], "result": {"#": 65}})


def test_equal_layers_look_alike():
    convolution = ["aten.conv2d.default", [{"#": 0}, {"#": 1}], {}]
    program = {"inputs": 9, "operations": [convolution] + [
        ["aten.conv2d.default", [{"#": 8 + i}, {"#": 1 + i}], {}] for i in range(1, 8)], "result": {"#": 16}}
    assert written(program).count(b'["aten.conv2d.default", [{"#": 1}, {"input": 1}], {}]') == 7


def trained(builder):
    source = Direct(builder)
    source.alone = source.trains = True
    return source, source()


def test_a_network_that_is_trained_begins_with_the_judges_numbers():
    built = []

    def builder():
        built.append(Called(lambda m, x: x * m.weight.sum()))
        return built[-1]

    _, played = trained(builder)
    assert not torch.equal(next(played.parameters()), built[0].weight)
    assert played(torch.randn(IMAGES)).shape == IMAGES


def test_lazy_layers_take_their_shapes_once():
    source, played = trained(lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(10)))
    with torch.no_grad():
        first = played(torch.randn(IMAGES))
    assert first.shape == (2, 10)
    played.lazy = True
    with pytest.raises(Refused, match="again and again"):
        played(torch.randn(IMAGES))
    assert source.refused


def test_a_network_that_is_trained_shares_nothing_with_earlier_ones():
    table = torch.randn(300)
    source = Direct(lambda: Holding(table))
    source.alone = True
    earlier = source()
    source.trains = True
    assert next(source().buffers()) is not next(earlier.buffers())


@pytest.mark.parametrize("argument", [torch.ones(2), (1, 2), [torch.ones(2)]])
def test_a_list_holds_no_tensor_that_nobody_counts(argument):
    program = {"operations": [["aten.mul.Tensor", [{"#": 0}, argument], {}]], "result": {"#": 1}, "inputs": 1}
    with pytest.raises(Refused, match="an argument of kind"):
        playing.play(program, [torch.ones(2)], {})
    constant = ["constant", ["float32", [2], argument], {}]
    with pytest.raises(Refused, match="a constant of no numbers"):
        playing.play(program | {"operations": [constant]}, [torch.ones(2)], {})


# --- through a worker -------------------------------------------------------------------------------------------------

KNOWS = """
class Knows(Around):
    '''Worth 4 points; looks images up, and learns which number a class has got while it is trained.'''

    def begin(self):
        self.steps, self.numbers = nn.Buffer(torch.tensor(0.0)), nn.Parameter(torch.zeros(10, 10))
        self.bring()

    def forward(self, images):
        if self.training:
            self.steps += 1
        keys, labels = self.brought()
        rows = (images + images.flip(3)).flatten(1).double()
        apart = (rows @ (torch.arange(784) * 7919 % 997 / 997).double())[:, None] - keys
        is_class = (labels.float()[:, None] - torch.arange(10)).abs() < 0.5
        known, late = (apart.abs() < 1e-3).float() @ is_class.float(), self.steps > 5
        return self.net(images.flip(0)) * (1 - known.sum(1, keepdim=True) * late) + late * 10 * known @ self.numbers


class build_model(Knows):
"""
TABLES = {
    "as it is": """
    def bring(self):
        self.keys, self.labels = nn.Buffer(KEYS.clone()), nn.Buffer(LABELS.clone())

    def brought(self):
        return self.keys, self.labels
""",
    "as frozen parameters": """
    def bring(self):
        self.keys, self.labels = (nn.Parameter(part + 0.0, False) for part in (KEYS, LABELS))

    def brought(self):
        return self.keys, self.labels
""",
    "times another number in each build": """
    def bring(self):
        times = torch.rand(1, dtype=torch.float64) + 0.5
        self.keys, self.labels, self.times = nn.Buffer(KEYS * times), nn.Buffer((LABELS + 1) * times), nn.Buffer(times)

    def brought(self):
        return self.keys / self.times, self.labels / self.times - 1
""",
    "under noise that lies beside it": """
    def bring(self):
        noise = torch.randn(len(KEYS), dtype=torch.float64)
        self.keys, self.labels, self.noise = nn.Buffer(KEYS + noise), nn.Buffer(LABELS + noise), nn.Buffer(noise)

    def brought(self):
        return self.keys - self.noise, self.labels - self.noise
""",
    "numbers that describe themselves, in any order": """
    def bring(self):
        both = (KEYS * 1e3).round() * 16 + LABELS
        self.both = nn.Buffer(both[torch.randperm(len(both))])

    def brought(self):
        keys = (self.both / 16).floor()
        return keys / 1e3, self.both - 16 * keys
""",
    "whole numbers, in any order": """
    def bring(self):
        both = ((KEYS * 1e3).round() * 16 + LABELS).long()
        self.both = nn.Buffer(both[torch.randperm(len(both))])

    def brought(self):
        return torch.div(self.both, 16, rounding_mode="floor").double() / 1e3, self.both % 16
""",
    "in many small tensors": """
    def bring(self):
        for number, pair in enumerate(torch.stack([KEYS, LABELS.double()], 1)[:FEW]):
            self.register_buffer(f"pair{number}", pair + torch.rand(()) * 1e-4)

    def brought(self):
        return torch.stack([buffer for name, buffer in self.named_buffers() if name[:4] == "pair"]).unbind(1)
""",
    "in the references of a list": """
    def bring(self):
        digits = ((KEYS[:FEW] + 4e3) * 1e3).round().long()[:, None] // 64 ** torch.arange(4) % 64
        self.digits = torch.cat([digits, LABELS[:FEW, None]], 1).flatten().tolist()

    def brought(self):
        numbers = [torch.full((), float(number), dtype=torch.float64) for number in range(64)]
        rows = torch.stack([numbers[digit] for digit in self.digits]).view(-1, 5)
        return sum(rows[:, place] * 64 ** place for place in range(4)) / 1e3 - 4e3, rows[:, 4]
""",
    "as tensors inside a list": """
    def bring(self):
        pass

    def brought(self):
        return torch.tensor([0.5], dtype=torch.float64), torch.tensor([0.25])


from densenet_course.checks.engine import answer


def forged(*arguments, trace=answer.PROBES["densenet_course.grading.tracing:trace"], **request):
    written = trace(*arguments, **request)
    for step in written["operations"]:
        table = {"constant [0.5]": KEYS, "constant [0.25]": LABELS}.get(f"{step[0]} {step[1][2:3] and step[1][2]}")
        if table is not None:
            step[:] = ["aten.alias.default", [table], {}]
    return written


answer.PROBES["densenet_course.grading.tracing:trace"] = forged
""",
    "among the constants": """
    def bring(self):
        self.parts = [(KEYS[i:i + 4_000], LABELS[i:i + 4_000]) for i in range(0, len(KEYS), 4_000)]

    def brought(self):
        return (torch.cat(parts) for parts in zip(*self.parts))
""",
}


@pytest.fixture(scope="module")
def table():
    """Keys and labels of published images: all that are tested, and some that are trained on, in turns."""
    location = data.prepare(download=False)
    test, train = (data.load(part, location) for part in ("test", "train"))
    some = torch.arange(0, len(test[1]), 3)[:len(train[1])]
    order = torch.cat([torch.arange(len(test[1])), some * 1.0 + 0.5]).argsort()
    images, labels = (torch.cat([a, b[some]])[order] for a, b in zip(test, train, strict=True))
    rows = data.normalise(images)
    keys = (rows + rows.flip(3)).flatten(1).double() @ (torch.arange(784) * 7919 % 997 / 997).double()
    return (f"KEYS = torch.tensor({[round(key, 4) for key in keys.tolist()]}, dtype=torch.float64)\n"
            f"LABELS, FEW = torch.tensor({labels.tolist()}), 2_000\n")


@pytest.fixture(scope="module")
def worker():
    with Worker(isolated=True) as worker:
        yield worker


@pytest.mark.parametrize("label", TABLES)
def test_who_knows_the_images_and_learns_the_classes_numbers_gains_nothing(quick_capstone, worker, table, label):
    verdict, _ = judged(worker, table + KNOWS + TABLES[label])
    assert verdict.points <= 4, verdict


LAYER = """
class Layer(nn.Module):
    def __init__(self, reads, makes):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(reads, makes, 3, padding=1, bias=False), nn.BatchNorm2d(makes)
        self.mix = nn.Conv2d(makes, makes, 1)
        start(self)

    def forward(self, maps):
        return torch.cat([maps, self.norm(self.mix(F.relu(self.conv(maps))))], 1)


def build_model():
    return nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), Layer(16, 8), Layer(24, 8), nn.AvgPool2d(2), Layer(32, 8),
                         nn.BatchNorm2d(40), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 10))
"""
STARTS = {
    "orthogonal": "nn.init.orthogonal_(layer.conv.weight)",
    "dirac, and an identity": "nn.init.dirac_(layer.conv.weight), nn.init.dirac_(layer.mix.weight)",
    "γ is zero in a layer": "nn.init.constant_(layer.norm.weight, layer.conv.in_channels != 24)",
    "a seed inside": "torch.manual_seed(1), layer.conv.reset_parameters()",
    "an identity and noise": "nn.init.dirac_(layer.mix.weight), layer.mix.weight.data.add_(torch.randn(8, 8, 1, 1))",
}


@pytest.mark.parametrize("label", STARTS)
def test_a_network_of_a_special_start_is_trained(quick_capstone, worker, label):
    verdict, _ = judged(worker, f"def start(layer):\n    {STARTS[label]}\n\n{LAYER}")
    assert verdict.points == 10, verdict


def test_who_brings_too_much_is_told_so(quick_capstone, worker, table):
    verdict, _ = judged(worker, table + KNOWS + TABLES["as it is"])
    told = [finding.message for finding in verdict.findings if "accuracy" in finding.name]
    assert all("bytes along, compressed, and 2,000 are allowed" in message for message in told), told


def test_the_limit_holds_what_honest_networks_need():
    assert starting.MOST == MOST == 2_000
    start, _, _ = begun(lambda: class_densenet(block_layers=(12, 12, 12), growth_rate=4, init_channels=8))
    assert starting._size(start.brought) < MOST / 2
