"""Exercise one_shot: a chain of conv blocks whose maps are joined only once, at the end."""

from densenet_course.checks.engine.explain import BLOCK
from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.dense_block import arguments, cases, connectivity, images
from densenet_course.checks.exercises.one_shot.mistakes import MISFIT, SOLUTION, notes
from densenet_course.checks.kinds.modules import ModuleCase

NAME = "OneShotBlock"
EXERCISE = Exercise("one_shot", names=[NAME], title="A block that joins once", lesson="12_relatives",
                    given=["densenet_course.layers.conv_block"])
CASE = ModuleCase(NAME, SOLUTION, arguments, images, notes=notes)


def who_reads_whom(answer, draw):
    """Each layer reads the one before it and no other: change one source, hold the others, see what moves."""
    found = connectivity.measure(answer, NAME, arguments(draw, 4), draw)
    rows = found["reads"][:-1]
    for i, row in enumerate(rows):
        if not row[i]:
            raise Wrong("connections", cause=f"layer {i + 1} does not read {_named(i)}. Each layer reads the maps of "
                                             "the one before, the first the input.")
        more = [j for j in range(i) if row[j]]
        if more:
            raise Wrong("connections", cause=f"layer {i + 1} reads {_named(more[0])} too. Each layer reads the maps "
                                             "of the one before, and nothing else.")
    if found["order"] != sorted(found["order"]):  # a lost input is told under "shape"
        raise Wrong("order in the output", cause=f"expected {connectivity.named(sorted(found['order']))}; "
                    f"got {connectivity.named(found['order'])}.")


def _named(source):
    return f"the maps of layer {source}" if source else "the input"


cases(CASE).register(EXERCISE, (*MISFIT, *BLOCK), who_reads_whom)
