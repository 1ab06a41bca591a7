"""An answer that commits itself: where an exercise asks for modules, the player is asked in the student's place."""

from dataclasses import replace

from densenet_course.checks.engine.answer import AnswerError, Unjudged, texts, with_call
from densenet_course.grading import given
from densenet_course.grading.sandbox import Cell, Ended
from densenet_course.grading.server import Infra
from densenet_course.grading.student import begin, value_of

COMMITTED = {  # exercise → the learner's names that make modules
    "conv_block": ["conv_block"], "dense_block": ["DenseBlock"], "one_shot": ["OneShotBlock"],
    "transition": ["transition"],
    "bottleneck": ["BottleneckLayer"], "densenet": ["DenseNet"], "densenet121": ["densenet121"],
    "transfer": ["prepare_for_transfer"], "capstone": ["build_model"],
}
ALONE = ("capstone",)  # where nothing but lists is judged: the judge trains what they say
STAGE = "densenet_course.grading.tracing"
PLAYER_SECONDS = 1_800.0  # of those that are trained


class Played:
    """An ``Answer`` of which a part is played by the judge's own cell; a context manager.

    Args:
        student: a ``Student``.
        limits: ``sandbox.Limits``.
    """

    def __init__(self, student, limits):
        self.student, self.player = student, None
        self.seconds = PLAYER_SECONDS if student.exercise.name in ALONE else limits.exercise_seconds
        self.limits = replace(limits, resources=limits.resources | {"CPU": int(self.seconds)})

    def begin(self):
        """Start the player; where it runs already, nothing happens; tell whether it was started."""
        if self.player is not None:
            return False
        self.player = Cell(self.student.zygote, self.limits)
        begin(self.player, self.student.exercise, self.student.order.seed)
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.player is not None:
            self.player.close()


class Committing(Played):
    """An ``Answer`` whose modules are played.

    Attributes:
        refused: why something cannot be committed, or "": then the student must be asked, from the start.
    """

    def __init__(self, student, limits):
        super().__init__(student, limits)
        self.names, self.refused = COMMITTED[student.exercise.name], ""

    def ask(self, probe, **request):
        """See ``checks.engine.answer.Answer``."""
        if request.get("name") not in self.names or probe.__name__ in ("status", *given.JUDGES):
            return self.student.ask(probe, **request)
        if self.refused:
            raise Unjudged(self.refused)
        patience = request.pop("cpu_seconds", None)
        try:
            reply = self._perform(f"{probe.__module__}:{probe.__qualname__}", request, patience)
        except Infra as error:
            self.student.infra = error
            raise Unjudged(str(error)) from None
        except Ended as error:  # a list made to break it, or one that is too much for it
            self.student.died = self.student.died or error.died
            reply = {"refused": f"the list of operations could not be played: {error}"}
        if "refused" in reply:
            self.refused = str(reply["refused"])
            raise Unjudged(self.refused)
        try:
            return value_of(reply)
        except AnswerError as error:
            raise AnswerError(**with_call(error.fields, request)) from None

    def _perform(self, probe, request, patience):
        """Let the player perform a probe, and fetch what it needs from the student's cell, within some patience."""
        if self.begin():
            self.player.talk(self.seconds, do="hold", names=self.names,
                             alone=self.student.exercise.name in ALONE)
        reply = self.player.talk(self.seconds, do="perform", probe=probe, request=request)
        while "need" in reply:
            try:
                given_ = {"value": self.student.ask_by_name(f"{STAGE}:{reply['need']}", patience, reply["request"])}
            except AnswerError as error:
                given_ = {"error": texts(error)}
            reply = self.player.talk(self.seconds, do="give", **given_)
        return reply
