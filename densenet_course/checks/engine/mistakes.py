"""Name an answer's mistakes by making them: the judge's solution is a text, and a known mistake is an edit of it.

How an exercise is written with it
----------------------------------
1. The solution as a learner would write it, and a list of mistakes. Each names the *finding* that it costs, says what
   is wrong and what to do, and gives pieces of the text with what stands there instead::

       SOURCE = '''
       def train_one_epoch(model, batches, optimizer):
           model.train()
           ...
       '''
       MISTAKES = [
           Mistake("train mode", "call model.train() first.", "    model.train()\n", ""),
           ...
       ]
       SOLUTION = Solution(SOURCE, MISTAKES, F=F)

2. Each finding asks the same of answer and solution. ``view`` picks from a reply what this finding looks at, by labels
   that begin the message::

       @EXERCISE.finding("update", points=2, of="train_one_epoch")
       def update(answer, draw):
           SOLUTION.hold(answer, draw, train, case(draw), view=lambda reply: {"weights": reply["weights"]})

   Nothing is returned: ``judge`` asks for the verdict when all findings have been looked for.

What happens
------------
- While the solution does what the answer does, no mistake is tried. At the first difference all mistakes of this
  finding and of later ones are tried, one more than before (a finding that was passed is never excused later).
- Every set of mistakes with which the solution does all that the answer has done so far is kept, and the next finding
  compares with those: a mistake costs its own finding, and no other.
- Where no single mistake explains a difference, two and three at once are tried, if it says so (``several=True``).
- What no set explains is told as "expected …, got …", costs its finding, and puts the sets found so far in doubt:
  a finding that differed then fails whatever they say, and is given their cause only where all of them agree.
- Of several sets that explain all, the first in the list's order is told: put the likeliest first, and the general
  ones (NaN, "never moves") last. Requests must tell mistakes apart: draw sizes that differ, and scales at which the
  mistake shows. ``tests/test_mistakes.py`` plays every mistake as an answer and wants its own message.
- What an answer raises is compared too, by PyTorch's words: a mistake that makes the solution raise is named.
- A message begins in lower case where it goes on after "what: "; after numbers its first letter is raised.

Keep out: what is not a matter of comparison (something kept between calls, a changed argument). Look for that in a
finding of its own kind, by raising ``Wrong``.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, islice

from densenet_course.checks.engine.answer import AnswerError, perform
from densenet_course.checks.engine.expect import TOLERANCE, alike, told
from densenet_course.checks.engine.wrong import Complaint, Wrong

KEPT = "the same call gave two different things. Is something kept between calls, or left to chance?"
MOST = 30  # sets of mistakes that are kept
MOST_BASES, MOST_GROUPS = 3, 800  # sets to which several mistakes are added at once, and how many such are tried


class Mistake:
    """A known mistake.

    Args:
        finding: the finding that it costs.
        message: what is wrong and what to do, in whole sentences.
        edits: pieces of the solution's text in turn with what stands there instead.
    """

    def __init__(self, finding, message, *edits):
        self.finding, self.message = finding, message
        self.edits = tuple(zip(edits[::2], edits[1::2], strict=True))

    def __repr__(self):
        return f"{self.finding}: {self.message}"


class Solution:
    """The judge's solution, right or with some of the known mistakes.

    Args:
        source: its text; it defines what the learner defines.
        mistakes: the known ones, the likeliest first.
        names: what the text may use.
    """

    def __init__(self, source, mistakes, **names):
        self.source, self.mistakes, self.names = source, tuple(mistakes), names

    def objects(self, chosen=()):
        """Return what the text defines, by name, with some mistakes made; None where they exclude each other."""
        text = self.source
        for old, new in (edit for mistake in chosen for edit in mistake.edits):
            if old not in text:
                return None
            text = text.replace(old, new)
        code = _compiled(text)
        if code is None:
            return None
        names = dict(self.names)
        exec(code, names)
        return {name: value for name, value in names.items() if name not in self.names and name != "__builtins__"}

    def hold(self, answer, draw, probe, *requests, view=None, told=told, tolerance=TOLERANCE, several=False):
        """Hold an answer against the solution in what the present finding looks at.

        Args:
            answer: an ``Answer``.
            draw: the check's ``Draw``.
            probe: what is asked.
            requests: the probe's arguments, a dict for each time it is asked.
            view: (reply) → {label: plain value}, what is compared; by default the whole reply.
            told: (expected, got) → ``Wrong``, how a difference between two views is told.
            tolerance: largest difference of numbers, in parts of the largest expected one.
            several: whether two or three new mistakes at once may explain a difference; only where it is no mere
                coincidence that they do, and where a reply costs little.

        Raises:
            Wrong: the answer differs, and no known mistake explains it.
            AnswerError: the answer raised, and no known mistake does the same.
        """
        inquiry = draw.inquiries.setdefault(self, Inquiry(self, draw.findings))
        comparison = Comparison(answer, probe, requests, view or (lambda reply: reply), told, tolerance, several)
        inquiry.hold(draw.finding, comparison)


@lru_cache(maxsize=2000)
def _compiled(text):
    try:
        return compile(text, "<solution>", "exec")
    except SyntaxError:  # two edits of one line, such as the same argument twice
        return None


class Comparison:
    """What an answer did on some requests, to be compared with what a solution does.

    Args:
        answer, probe, requests, view, told, tolerance, several: see ``Solution.hold``.
    """

    def __init__(self, answer, probe, requests, view, told, tolerance, several):
        self.answer, self.probe, self.requests = answer, probe, requests
        self.view, self.told, self.tolerance, self.several = view, told, tolerance, several
        self.got = self.ask()

    def ask(self):
        """Ask the answer; what it raises counts as a reply, other complaints pass through."""
        return [self._ask(request) for request in self.requests]

    def _ask(self, request):
        try:
            return self.view(self.answer.ask(self.probe, **request))
        except AnswerError as error:
            if not error.raised:
                raise
            return error

    def fits(self, objects):
        """Tell whether a solution, given by its objects, does what the answer did."""
        return all(self.same(self._reply(objects, request), got)
                   for request, got in zip(self.requests, self.got, strict=True))

    def _reply(self, objects, request):
        reply = perform(objects, self.probe, request)
        if "error" in reply:
            return AnswerError(**reply["error"])
        try:
            return self.view(reply["value"])
        except Complaint as complaint:  # with this mistake there is nothing to compare
            return complaint

    def same(self, expected, got):
        """Tell whether two replies are the same up to rounding."""
        if isinstance(expected, AnswerError) or isinstance(got, AnswerError):
            return type(expected) is type(got) and expected.raised == got.raised
        return alike(expected, got, tolerance=self.tolerance)

    def differ(self, objects, others):
        """Tell whether two solutions, given by their objects, do something else."""
        return not all(self.same(self._reply(objects, request), self._reply(others, request))
                       for request in self.requests)

    def complaint(self, objects):
        """Return in what the answer differs from a solution; None where it does not."""
        for request, got in zip(self.requests, self.got, strict=True):
            expected = self._reply(objects, request)
            if not self.same(expected, got):
                return got if isinstance(got, AnswerError) else self.told(expected, got)
        return None

    def is_repeatable(self):
        """Ask once more, and tell whether the same came."""
        return all(map(self.same, self.got, self.ask()))


@dataclass
class Inquiry:
    """What is known so far of the mistakes in one answer.

    Args:
        solution: the ``Solution`` that it is held against.
        findings: the names of all findings in their order.
    """

    solution: Solution
    findings: list
    sets: list = field(default_factory=lambda: [()])
    differences: dict = field(default_factory=dict)
    doubtful: bool = False
    past: list = field(default_factory=list)

    def hold(self, finding, comparison):
        """Look for the sets of mistakes that explain a comparison too; see ``Solution.hold``."""
        fitting = [chosen for chosen in self.sets if self._fits(chosen, comparison)]
        if fitting and fitting[0] == ():
            self.past.append(comparison)
            return
        difference = comparison.complaint(self.solution.objects())
        if difference:
            self.differences.setdefault(finding, difference)
        fitting = fitting or self._extended(finding, comparison)
        if fitting:
            self.sets = fitting[:MOST]
            self.past.append(comparison)
            self._expect_no_error(comparison)
        elif not comparison.is_repeatable():
            raise Wrong(difference.what if difference else "", cause=KEPT)
        else:
            self.doubtful = True
            if difference:
                raise difference

    def _expect_no_error(self, comparison):
        """Refuse what raised, also where it is known why: there is nothing else to look at."""
        error = next((got for got in comparison.got if isinstance(got, AnswerError)), None)
        if error:
            raise error.but(cause=" ".join(mistake.message for mistake in self.sets[0]))

    def _fits(self, chosen, comparison):
        objects = self.solution.objects(chosen)
        return objects is not None and comparison.fits(objects)

    def _extended(self, finding, comparison):
        """List the sets that explain this and all earlier comparisons by one mistake more, of this finding first.

        Where there is none, list those that do by several more, if the comparison is one for that. An answer that
        held something unknown before is not worth the time.
        """
        later = self.findings[self.findings.index(finding):]
        more = sorted((mistake for mistake in self.solution.mistakes if mistake.finding in later),
                      key=lambda mistake: mistake.finding != finding)
        longer = ((*chosen, mistake) for chosen in self.sets for mistake in more if mistake not in chosen)
        fitting = self._explaining(longer, comparison)
        if fitting or self.doubtful or not comparison.several:
            return fitting
        several = ((*chosen, *group) for chosen in self.sets[:MOST_BASES]
                   for count in (2, 3) for group in combinations(self._seen(chosen, more, comparison), count))
        possible = (chosen for chosen in several if self.solution.objects(chosen))
        return self._explaining(islice(possible, MOST_GROUPS), comparison)

    def _explaining(self, candidates, comparison):
        fitting = (chosen for chosen in candidates if self._fits(chosen, comparison))
        return [chosen for chosen in fitting if all(self._fits(chosen, earlier) for earlier in self.past)]

    def _seen(self, chosen, more, comparison):
        """List the mistakes that a comparison shows, beside those that are made already."""
        before = self.solution.objects(chosen)
        made = ((mistake, self.solution.objects((*chosen, mistake))) for mistake in more if mistake not in chosen)
        return [mistake for mistake, objects in made if objects and comparison.differ(before, objects)]

    def verdict(self, finding):
        """Return what is wrong in a finding as a ``Complaint``, or None; when all findings have been looked for."""
        causes = {self._cause(chosen, finding) for chosen in self.sets}
        cause, difference = self._cause(self.sets[0], finding), self.differences.get(finding)
        if self.doubtful and difference:
            cause = cause if len(causes) == 1 else ""
        elif not cause:
            return None
        if not difference:
            return Wrong(cause=cause)
        return _named(difference, cause) if cause else difference

    @staticmethod
    def _cause(chosen, finding):
        first, *more = dict.fromkeys(mistake.message for mistake in chosen if mistake.finding == finding) or [""]
        return " ".join([first, *(message[0].upper() + message[1:] for message in more)])


def _named(difference: Complaint, cause):
    """Put the cause into a complaint; where it is known, single values out of many tell nothing more."""
    if difference.where:
        return Wrong(difference.what, cause=cause)
    return difference.but(cause=cause)
