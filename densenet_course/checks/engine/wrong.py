"""What is said to a learner about an answer: in fields, so that reports and pictures need not take a text apart."""

import re


class Complaint(Exception):
    """Something about an answer that its learner should read.

    ``str`` gives one text: "what: expected …, got …. cause". One argument alone is a message that stands for itself.

    Args:
        what: what was looked at, for instance "output shape".
        expected: what should have come, in words.
        got: what came, in words.
        cause: the likely cause and what to do, in whole sentences.
        where: which of many values ``expected`` and ``got`` are, said before them.
        raised: what the answer raised, for instance "it raised ValueError: no".
        line: where it raised that, for instance "line 3 of your cell: return x".
    """

    def __init__(self, what="", expected=None, got=None, cause="", *, where="", raised="", line=""):
        if (expected, got, cause, where, raised) == (None, None, "", "", ""):
            what, cause = "", what
        super().__init__(what, expected, got, cause)
        self.what, self.expected, self.got, self.cause = what, expected, got, cause
        self.where, self.raised, self.line = where, raised, line

    @property
    def fields(self):
        """Return the arguments by name, plain values."""
        names = ("what", "expected", "got", "cause", "where", "raised", "line")
        return {name: getattr(self, name) for name in names}

    def but(self, **fields):
        """Return the same complaint with some fields replaced."""
        return type(self)(**self.fields | fields)

    @property
    def statement(self):
        """Return the text without what was looked at."""
        before = " ".join(filter(None, [self._compared(), self._raised()]))
        starts_low = before and re.match("[a-z]+[ ,]", self.cause)  # a word, and no name of code
        cause = self.cause[0].upper() + self.cause[1:] if starts_low else self.cause
        return " ".join(filter(None, [before, cause]))

    def _compared(self):
        pair = [f"{word} {value}" for word, value in (("expected", self.expected), ("got", self.got))
                if value is not None]
        text = ": ".join(filter(None, [self.where, ", ".join(pair)]))
        return f"{text}." if text else ""

    def _raised(self):
        if not self.raised:
            return ""
        line = f" ({self.line})" if self.line else ""
        return f"{self.raised.rstrip('.')}{line}." if self.cause else f"{self.raised}{line}"

    def __str__(self):
        return ": ".join(filter(None, [self.what, self.statement]))


class Wrong(Complaint):
    """The answer is wrong in what a finding looks at."""


class AnswerError(Complaint):
    """The answer's side could not do what was asked."""
