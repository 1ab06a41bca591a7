"""Say what PyTorch's complaints mean in an exercise."""

import re
from functools import wraps

from densenet_course.checks.engine.answer import AnswerError


def explained(*explanations):
    """Decorate a finding: an error that the answer raised gets the first explanation that fits.

    Args:
        explanations: functions (message) → text or "", or pairs (pattern, what it means); groups stand as {0}, {1}.
    """

    def decorate(finding):
        @wraps(finding)
        def look(answer, draw):
            try:
                finding(answer, draw)
            except AnswerError as error:
                raise AnswerError(explain(str(error), explanations)) from None

        return look

    return decorate


def explain(error, explanations):
    """Return the first explanation of an error message that fits, or the message itself; see ``explained``."""
    for explanation in explanations:
        if callable(explanation):
            if text := explanation(error):
                return text
        elif found := re.search(explanation[0], error):
            return f"{_said(error)}: {explanation[1].format(*found.groups())}"
    return error


def _said(error):
    """Write call, line and PyTorch's words without a colon, after which a report looks for the cause."""
    call = re.match(r"\w+\([^)]*\)(?=: )", error)
    line = re.search(r" \(line (\d+) of your cell: .*\)$", error)
    words = error.rsplit(" (line", 1)[0].split("Error: ", 1)[-1].strip(".").replace(": ", " ")
    return f"{call[0] if call else 'a call'}{f', line {line[1]} of your cell' if line else ''}, PyTorch says '{words}'"
