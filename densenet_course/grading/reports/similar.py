"""Answers that share what few others have: a mark for a person to look at, never points.

Answers to one small question look alike, so a detector that compares two files alone, as copydetect does, marks half a
class. What tells is what only these two share: runs of five words weigh the more, the fewer answers have them. Names
that few others use count as one, because they are what a copy changes first.
"""

import io
import keyword
import math
import tokenize
from collections import Counter
from itertools import combinations

RUN = 5  # words
FEW = 0.25  # of the answers: a name that fewer use is somebody's own
LEAST_WEIGHT, LEAST_SHARE = 30.0, 0.7
SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}


def similar(sources):
    """Find pairs of answers that share what few others have.

    Args:
        sources: student → the code that the student wrote.

    Returns:
        A list of (student, student, share from 0 to 1), the most alike first.
    """
    words = {student: _words(source) for student, source in sources.items() if source.strip()}
    if len(words) < 3:  # nothing to compare with
        return []
    use = Counter(word for text in words.values() for word in set(text))
    common = {word for word, count in use.items() if count >= max(2, FEW * len(words))}
    runs = {student: _runs([_plainly(word, common) for word in text]) for student, text in words.items()}
    count = Counter(run for own in runs.values() for run in own)
    weight = {run: math.log(len(runs) / number) for run, number in count.items()}
    total = {student: sum(weight[run] for run in own) for student, own in runs.items()}
    shared = Counter()
    holders = {}
    for student, own in runs.items():
        for run in own:
            holders.setdefault(run, []).append(student)
    for run, students in holders.items():
        if len(students) <= max(2, len(runs) / 2):  # what most have tells nothing
            for pair in combinations(students, 2):
                shared[pair] += weight[run]
    found = [(a, b, both / min(total[a], total[b])) for (a, b), both in shared.items() if both >= LEAST_WEIGHT]
    return sorted((one for one in found if one[2] >= LEAST_SHARE), key=lambda one: (-one[2], one[:2]))


def _words(source):
    """Split code into its words; the rest of what is no Python is left out."""
    words = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type not in SKIPPED:
                words.append(token.string.strip() or tokenize.tok_name[token.type])
    except (tokenize.TokenError, SyntaxError):
        pass
    return words


def _plainly(word, common):
    return "name" if word.isidentifier() and word not in common and not keyword.iskeyword(word) else word


def _runs(words):
    return {tuple(words[start:start + RUN]) for start in range(len(words) - RUN + 1)}
