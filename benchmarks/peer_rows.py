"""The rows of ``peers.py``, and how they are measured on a CPU and on a GPU."""

from dataclasses import dataclass, field, replace

from contenders import CASES, NETWORKS, TINY


@dataclass(frozen=True)
class Row:
    """One line of the table: what is computed, by which network, with how many images at once, in which format."""

    task: str
    case: str
    batch: int
    format: str

    def __str__(self):
        return f"{self.task}, {self.case}, batch {self.batch}, {self.format}"


@dataclass(frozen=True)
class Way:
    """How rows are measured, by kind of device.

    Args:
        device: "cpu" or "cuda".
        networks: who takes part, of ``NETWORKS``.
        folder: where finished rows are kept, under runs/.
        title: behind a row's name.
        exports: whether ONNX Runtime and OpenVINO take part.
        beside: whether other networks stand beside.
        compile: options of torch.compile, for training and inference.
        repeats: rounds of every row.
        least: seconds of a timing; a network that is sooner done runs several times.
        untimed: as in ``in_turns``.
        peaks: whether peak memory is measured.
        starts: how a fresh process starts; "forkserver": from one that has imported everything.
    """

    device: str = "cpu"
    networks: tuple = NETWORKS
    folder: str = "peers"
    title: str = ""
    exports: bool = True
    beside: bool = False
    compile: dict = field(default_factory=lambda: {"training": {}, "inference": {"options": {"freezing": True}}})
    repeats: int = 7
    least: float = 0.2
    untimed: bool = True
    peaks: bool = False
    starts: str = "spawn"

    def key(self, row):
        """Name a row as it is kept."""
        return f"{row}{self.title}"


ON_CPU = Way()
ON_GPU = Way("cuda", NETWORKS[:-1], "peers_gpu", exports=False, beside=True, least=0.05, untimed=False, peaks=True,
             starts="forkserver")
COMPILED = replace(ON_GPU, networks=("torchvision", "efficient", "native", "torch.compile"), title=", compiled",
                   folder="peers_gpu_compiled", beside=False,
                   compile={"training": {}, "inference": {"mode": "reduce-overhead"}})


def rehearsed(way):
    """Take a GPU's way on a CPU, in moments: every line is run."""
    quick = {"backend": "aot_eager"}  # as torch.compile, without a compiler
    return replace(way, device="cpu", least=0.0, compile={"training": quick, "inference": quick})


def rows(cases, batches, formats, *, on_gpu=False):
    """List the rows of some cases: training with the case's own batch, inference with each of ``batches``.

    On a GPU, where the time is short, training comes first.
    """
    found = []
    for name in cases:
        case = (CASES | TINY)[name]
        counts = [("training", case.on_gpu if on_gpu else case.batch), *(("inference", batch) for batch in batches)]
        found += [Row(task, name, batch, format_) for task, batch in counts for format_ in formats]
    return sorted(found, key=lambda row: row.task == "inference") if on_gpu else found
