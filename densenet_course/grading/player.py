"""The player's side of a commitment: modules that a student's cell describes, built and played by the judge."""

import sys
from types import ModuleType

import torch

from densenet_course.grading import wire
from densenet_course.grading.committed import Committed, Prepared
from densenet_course.grading.operations import Refused
from densenet_course.grading.starting import Start

TRAINED = (":train_and_predict",)  # probes that train what they build
# Probes that build anew each time; a list has no memory, and they load their weights, so one module does for all.
ONE_FOR_ALL = "dense_block.connectivity:respond", "densenet121.probe:play"
FOLDED = "densenet_course.grading.tracing:trace"  # one text, which the judge passes on unread; all others hold tensors
REPLACED = "holdings", "mend_biases", "hand_over", "switch"  # of the probes', by the functions here of these names


class Source:
    """What the student's cell is asked for, through the judge.

    Args:
        channel: to the judge.
        name: which of the learner's names.
        alone: whether lists are all that is judged, see ``tracing.trace``.
    """

    def __init__(self, channel, name, alone=False):
        self.channel, self.name, self.alone = channel, name, alone
        self.places, self.programs, self.refused = {}, {}, ""
        self.built, self.reuse, self.trains = {}, False, False

    def __call__(self, *arguments, **keywords):
        """Build a module as the learner's class or function would, or return the last one like it."""
        key = repr((arguments, keywords))
        if not self.reuse or key not in self.built:
            request = {"given": list(arguments), "keywords": keywords}
            described = self.need("build", **request)
            instance = _Instance(self, key)
            if self.trains:
                instance = _Trained(self, key)
                instance.begin(described, self.need("build", **request))
            self.built[key] = Committed(described, instance)
        self.built[key].left_out = frozenset()
        return self.built[key]

    def prepare(self, **request):
        """Let the learner's function prepare a network; lists are for this one only."""
        described = self.need("prepare", **request)
        return Prepared(described, _Instance(self, ("prepared", described["number"])))

    def need(self, what, **request):
        """Ask the student's cell, through the judge."""
        from densenet_course.checks.engine.answer import AnswerError

        self.channel.send(need=what, request={"name": self.name, **request})
        given = self.channel.receive()
        if "error" in given:
            raise AnswerError(**given["error"])
        return wire.unfold(given["value"]) if FOLDED.endswith(f":{what}") else given["value"]


class _Instance:
    """Of one module: its programs are those of all modules that were built from the same arguments."""

    def __init__(self, source, key):
        self.source, self.key, self.places = source, key, source.places

    def shared(self, place, make):
        """Return the tensor of a place in the student's process; the same one for the same place."""
        if place is None:
            return make()
        if place not in self.places:
            self.places[place] = make()
        return self.places[place]

    def settle(self, number, shape):
        """Have a module's lazy parts take their shapes."""
        return self.source.need("settle", number=number, shape=shape)

    def mend(self, number):
        """Have linear layers without a bias get one; the module is another one then."""
        self.source.built.pop(self.key, None)
        self.key = self.key, "mended"
        return self.source.need("mend", number=number)

    def switch(self, number, train):
        """Have a module put into train or eval mode; return what it says then."""
        return self.source.need("switch", number=number, train=train)

    def refuse(self, error):
        """Keep why a list cannot be had or played, so that the judge goes back to asking; return the error."""
        self.source.refused = self.source.refused or str(error)
        return error

    def program(self, number, shape, mode):
        """Return the list of operations for a shape and a mode, see ``Committed.mode``."""
        key = self.key, shape, mode
        if key not in self.source.programs:
            try:
                program = self.source.need("trace", number=number, shape=shape, alone=self.source.alone,
                                           train=mode if type(mode) is bool else None)
            except wire.Malformed as error:
                raise self.refuse(Refused(f"no list of operations: {error}")) from None
            if "refused" in program:
                raise self.refuse(Refused(str(program["refused"])))
            self.source.programs[key] = program
        return self.source.programs[key]


class _Trained(_Instance):
    """Of a network that is to be trained: its start values are the judge's, and it brings little along."""

    def __init__(self, source, key):
        super().__init__(source, key)
        self.places, self.other, self.start = {}, None, None  # nothing is shared with networks of before

    def begin(self, described, other):
        """Draw start values, or wait for the shapes of lazy parts."""
        if described["lazy"]:
            self.other = other["number"]
        else:
            self.start = Start(described, other)

    def settle(self, number, shape):
        """See ``_Instance``; this happens once."""
        if self.start is not None:
            raise self.refuse(Refused("its layers take their shapes again and again"))
        described, other = (_Instance.settle(self, which, shape) for which in (number, self.other))
        self.start = Start(described, other)
        return described

    def program(self, number, shape, train):
        """See ``_Instance``."""
        program = super().program(number, shape, train)
        self.start.add(program)
        return program


def prepare(channel, names, alone):
    """Make the objects that probes find beside them: a ``Source`` for each name."""
    for module in _below(sys.modules["densenet_course.checks"]):  # to look at all that is loaded would copy much memory
        for replaced in REPLACED:
            if callable(getattr(module, replaced, None)):
                setattr(module, replaced, globals()[replaced])
    return {name: Source(channel, name, alone) for name in names}


def _below(package):
    """List the loaded modules below a package."""
    found = [part for part in vars(package).values() if isinstance(part, ModuleType)
             and part.__name__.startswith(f"{package.__name__}.")]
    return found + [part for module in found for part in _below(module)]


def holdings(model):
    """List the numbers that a committed network for images (N, 1, 28, 28) holds, see ``Committed.holdings``."""
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 1, 28, 28))
    except (RuntimeError, ValueError):  # what is wrong with the call is told elsewhere; here only the numbers count
        pass
    finally:
        model.train(training)
    return model.holdings()


def mend_biases(module):
    """Mend the biases of a committed network, see ``Committed.mend_biases``."""
    module.mend_biases()


def hand_over(objects, name, **request):
    """Return what stands for a network that the learner's function has prepared."""
    return objects[name].prepare(**request)


def switch(prepared, train):
    """Put a prepared network into train or eval mode; return what it says then."""
    return prepared.train(train).told
