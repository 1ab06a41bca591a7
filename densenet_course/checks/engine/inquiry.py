"""Compare what an answer does with what solutions do, and find the mistakes that explain it; see ``mistakes``."""

from dataclasses import dataclass, field
from itertools import combinations, islice

from densenet_course.checks.engine.answer import AnswerError, perform
from densenet_course.checks.engine.expect import alike
from densenet_course.checks.engine.wrong import Complaint, Wrong

KEPT = "the same call gave two different things. Is something kept between calls, or left to chance?"
MOST = 30  # sets of mistakes that are kept
MOST_BASES = 3  # sets to which several mistakes are added at once


class Comparison:
    """What an answer did on some requests, to be compared with what a solution does.

    Args:
        answer, probe, requests, view, told, tolerance, groups: see ``Solution.hold``.
    """

    def __init__(self, answer, probe, requests, view, told, tolerance, groups):
        self.answer, self.probe, self.requests = answer, probe, requests
        self.view, self.told, self.tolerance, self.groups = view, told, tolerance, groups
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
        solution: the ``mistakes.Solution`` that it is held against.
        findings: the names of all findings in their order.
    """

    solution: object
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

        Where there is none, list those that do by two or three more, if the comparison is one for that. An answer that
        held something unknown before is not worth the time.
        """
        later = self.findings[self.findings.index(finding):]
        more = sorted((mistake for mistake in self.solution.mistakes if mistake.finding in later),
                      key=lambda mistake: mistake.finding != finding)
        longer = ((*chosen, mistake) for chosen in self.sets for mistake in more if mistake not in chosen)
        fitting = self._explaining(longer, comparison)
        if fitting or self.doubtful or not comparison.groups:
            return fitting
        several = ((*chosen, *group) for chosen in self.sets[:MOST_BASES]
                   for count in (2, 3) for group in combinations(self._seen(chosen, more, comparison), count))
        possible = (chosen for chosen in several if self.solution.objects(chosen))
        return self._explaining(islice(possible, comparison.groups), comparison)

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
