"""An answer that counts nothing itself: the bytes that a layer keeps are counted on a list of its operations."""

import torch

from densenet_course.checks.engine.answer import AnswerError, Unjudged
from densenet_course.checks.engine.expect import alike
from densenet_course.grading.committing import Played
from densenet_course.grading.sandbox import Ended
from densenet_course.grading.server import Infra
from densenet_course.grading.student import value_of

STAGE = "densenet_course.grading.steps"
LOOSE = 2e-3  # of the largest value; float32 sums in another order differ by some 1e-5
NOTHING = {"saved": 0, "alive": 0, "reaches": False}
WHAT = "the bytes that are kept"


class Counting(Played):
    """An ``Answer`` whose probe ``count_bytes`` is answered by the judge, see ``steps``.

    The list is written before the student's cell sees a number, and must then give the very outputs and gradients that
    the layer gives: who hands in another list than that of the layer is found out.
    """

    def ask(self, probe, **request):
        """See ``checks.engine.answer.Answer``."""
        if probe.__name__ != "count_bytes":
            return self.student.ask(probe, **request)
        return self._count(request["name"], request["layer"], request["images"], request["train"])

    def _count(self, name, layer, images, train):
        bare = {key: layer[key] for key in ("arguments", "momentum")}
        program = self.student.ask_by_name(f"{STAGE}:write", None, {
            "name": name, "layer": bare, "shape": tuple(images.shape), "train": train})
        if program == {}:
            return NOTHING
        upstream = torch.randn(len(images), layer["arguments"][1], *images.shape[2:],
                               generator=torch.Generator().manual_seed(self.student.order.seed % 2**63))
        done = self._step(name, layer, {"train": train, "images": [images], "upstream": [upstream]})
        reply = program if "refused" in program else self._play(program, layer, images, upstream)
        if "refused" in reply:
            raise AnswerError(WHAT, cause="the judge counts them on a list of the layer's operations, and could not "
                                          f"make one: {reply['refused']}")
        if not all(alike(value, reply[key], tolerance=LOOSE) for key, value in done.items()):
            raise AnswerError(WHAT, cause="the operations that were listed do something else than the layer.")
        of_images, *of_parameters = done["gradients"]
        reaches = any(value is not None and value.any().item() for value in of_parameters) or bool(
            of_images is not None and of_images.std() > 0)  # a gradient that passed by the layer is 1 everywhere
        return {"saved": reply["saved"], "alive": 0, "reaches": reaches}  # what else stays alive is of no use

    def _step(self, name, layer, step):
        """Let the student's own layer do a step, with the judge's numbers."""
        asked = {"name": name, "layer": layer, "steps": [step]}
        (reply,) = self.student.ask_by_name("densenet_course.checks.exercises.memory.probes:use", None, asked)
        if reply["raised"]:
            raise AnswerError(**reply["raised"])
        gradients = list(reply["gradients"].values())
        return {"output": reply["outputs"][0], "gradients": [reply["input_gradients"][0], *gradients]}

    def _play(self, program, layer, images, upstream):
        request = {"program": program, "layer": {key: layer[key] for key in ("arguments", "state")},
                   "images": images, "upstream": upstream}
        try:
            self.begin()
            return value_of(self.player.talk(self.limits.ask_seconds, do="ask", probe=f"{STAGE}:play",
                                             request=request, cpu_seconds=None))
        except Infra as error:
            self.student.infra = error
            raise Unjudged(str(error)) from None
        except Ended as error:  # a list made to break it, or one that is too much for it
            self.student.died = self.student.died or error.died
            return {"refused": str(error)}
