"""Which findings only the student's process can speak about, and when they earn points all the same.

A *claim* earns points only where the findings that it rests on have passed: values that the judge has measured itself,
so that whoever lies must have the right function already. ``NEVER`` stands for claims that nothing makes credible.
"""

from densenet_course.grading.verdict import Judged

NEVER = ("",)
CLAIMS = {  # exercise → claim → the findings that it rests on
    "train_epoch": {"train mode": ("update", "loss"), "evaluate changes nothing": ("accuracy",)},
    "memory": {"a whole module": ("outputs", "gradients", "statistics")},
    "features": {name: ("values", "before in-place", "eval mode") for name in
                 ("modes restored", "hooks", "after an error", "unknown names")},
    "transfer": {"train() and eval()": ("values",)},  # what they return is no operation, so no list says it
    "bug_hunt": {f"{name}: cause": (f"{name}: symptom",) for name in
                 ("CleanBlock", "block_maps", "load_old", "SavingLayer")},
}
UNCOMMITTED = CLAIMS | {  # the same, where the student's modules could not be played by the judge
    "conv_block": {name: ("values", "training") for name in ("parameters", "gradients and side effects")},
    "dense_block": {name: ("who reads whom", "values", "training") for name in
                    ("parameters", "gradients", "repeated calls")},
    "transition": {name: ("values", "training") for name in ("parameters", "gradients", "side effects")},
    "bottleneck": {name: ("values", "training") for name in ("parameters", "gradients and side effects")},
    "densenet": {name: ("values", "training") for name in ("parameters", "gradients and side effects")},
    "densenet121": {name: ("eval mode", "train mode") for name in ("parameters", "gradients and side effects")},
    "transfer": {name: ("values", "batch statistics") for name in
                 ("frozen", "learns", "running statistics", "train() and eval()")},
    "capstone": {name: NEVER for name in ("parameters", "joined maps", *(f"accuracy, level {i}" for i in (1, 2, 3)))},
}
MEASURED = {  # counted by the judge, and worth nothing for a layer that computes something else
    "memory": {name: ("outputs", "gradients") for name in ("saved bytes", "saved bytes in eval mode")},
}
GATED = "only the notebook's own process can tell this, and it counts only where {} passed"
RESTS = "it counts only where {} passed"
NOT_PLAYED = "the judge could not play this network itself, so it cannot count here ({})"


def gate(exercise, findings, committed, why=""):
    """Let claims earn points only where the findings that they rest on passed.

    Args:
        exercise: its id.
        findings: of a report.
        committed: whether the judge played the student's modules.
        why: the reason where it did not.

    Returns:
        ``Judged`` for each of them.
    """
    claims, measured = (CLAIMS if committed else UNCOMMITTED).get(exercise, {}), MEASURED.get(exercise, {})
    passed = {finding.name for finding in findings if finding.passed}
    judged = []
    for finding in findings:
        needed = claims.get(finding.name) or measured.get(finding.name, ())
        held = finding.passed and not passed.issuperset(needed)
        words = GATED if finding.name in claims else RESTS
        message = NOT_PLAYED.format(why) if needed == NEVER else words.format(" and ".join(needed))
        judged.append(Judged(finding.name, 0.0 if held else finding.points, finding.max_points,
                             message if held else finding.message, finding.name in claims))
    return tuple(judged)
