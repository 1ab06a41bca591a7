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
- Where no single mistake explains a difference, groups of two and three are tried, as many as it says.
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

from functools import lru_cache

from densenet_course.checks.engine.expect import TOLERANCE, told
from densenet_course.checks.engine.inquiry import Comparison, Inquiry


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


def mistakes_at(finding, old, *rows):
    """List mistakes that stand in one place of a solution's text.

    Args:
        finding: the finding that they cost.
        old: the piece of text.
        rows: tuples (message, what stands there instead, and any further edits).
    """
    return [Mistake(finding, message, old, *edits) for message, *edits in rows]


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

    def hold(self, answer, draw, probe, *requests, view=None, told=told, tolerance=TOLERANCE, groups=0):
        """Hold an answer against the solution in what the present finding looks at.

        Args:
            answer: an ``Answer``.
            draw: the check's ``Draw``.
            probe: what is asked.
            requests: the probe's arguments, a dict for each time it is asked.
            view: (reply) → {label: plain value}, what is compared; by default the whole reply.
            told: (expected, got) → ``Wrong``, how a difference between two views is told.
            tolerance: largest difference of numbers, in parts of the largest expected one.
            groups: how many groups of two or three new mistakes at once are tried where no single one explains a
                difference: none where a coincidence would be likely, few where a reply costs much.

        Raises:
            Wrong: the answer differs, and no known mistake explains it.
            AnswerError: the answer raised, and no known mistake does the same.
        """
        inquiry = draw.inquiries.setdefault(self, Inquiry(self, draw.findings))
        comparison = Comparison(answer, probe, requests, view or (lambda reply: reply), told, tolerance, groups)
        inquiry.hold(draw.finding, comparison)


@lru_cache(maxsize=2000)
def _compiled(text):
    try:
        return compile(text, "<solution>", "exec")
    except SyntaxError:  # two edits of one line, such as the same argument twice
        return None
