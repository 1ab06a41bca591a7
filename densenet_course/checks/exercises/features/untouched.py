"""Whether a call left the caller's network as it was: modes, hooks, classes, names, settings, state."""

import torch

from densenet_course.checks.engine.wrong import Wrong
from densenet_course.checks.exercises.features.outputs import short

LEAVE = "Leave the caller's network as it was."


def hold_state(reply, what):
    """Raise ``Wrong`` if parameters, buffers or their ``requires_grad`` are others than before."""
    before, after = (reply[when]["state"] for when in ("before", "after"))
    changed = [key for key in before if key not in after or not torch.equal(before[key], after[key])]
    if changed:
        hint = " A forward pass ran in train mode. Put the network into eval mode before the first one."
        raise Wrong("network",
                    cause=f"{what} changed {short(changed)}.{hint * any('running' in key for key in changed)}")
    if reply["before"]["trained"] != reply["after"]["trained"]:
        raise Wrong("network", cause=f"{what} froze its parameters (requires_grad). {LEAVE}")
    if reply["before"]["records"] and not reply["after"]["records"]:
        raise Wrong("gradients", cause=f"after {what} none are recorded any more, so training would fail. Use `with "
                    "torch.no_grad():`, which ends by itself.")


def hold_modes(reply, given_as):
    """Raise ``Wrong`` unless all modules have their modes back."""
    before, after = (reply[when]["modes"] for when in ("before", "after"))
    wrong = [key for key in before if before[key] != after.get(key)]
    if wrong:
        now = {frozenset({False}): "All are in eval mode now. ", frozenset({True}): "All are in train mode now. "}
        raise Wrong("modes", cause=f"{given_as}; {len(wrong)} of {len(before)} have another mode after the call. "
                    f"{now.get(frozenset(after.values()), '')}Give each module its own mode back.")


def hold_hooks(reply, when):
    """Raise ``Wrong`` if a module has more hooks than before."""
    before, after = reply["before"]["hooks"], reply["after"]["hooks"]
    left = [key for key in after if after[key] > before.get(key, 0)]
    if left:
        count = sum(after[key] - before.get(key, 0) for key in left)
        raise Wrong("hooks",
                    cause=f"{when} {count} of yours {'is' if count == 1 else 'are'} left, for instance on {left[0]}. "
                          f"{'Remove every handle' if 'error' not in when else 'Put remove() into finally'}.")


def hold_modules(reply, when):
    """Raise ``Wrong`` if a module is of another class, has another ``forward`` or setting, or bears a new name."""
    (kinds, names), (kinds_after, names_after) = (
        (reply[when]["kinds"], reply[when]["names"]) for when in ("before", "after"))
    for key in (*kinds, *kinds_after):
        if kinds.get(key) != kinds_after.get(key):
            raise Wrong("network", cause=f"{when} {key or 'the network'} is a {kinds_after.get(key)}, before it was a "
                        f"{kinds.get(key)}. {LEAVE}")
        new = [name for name in names_after[key] if name not in names[key]]
        if new:
            raise Wrong("network",
                        cause=f"{when} {key or 'the network'} has an attribute {short(new)}, before it had none "
                              f"of this name. {LEAVE}")
        _hold_settings(key, *(reply[side]["settings"][key] for side in ("before", "after")), when)


def _hold_settings(key, before, after, when):
    for name, value in before.items():
        if after.get(name) != value:
            raise Wrong("network", cause=f"{when} {name} of {key or 'the network'} is {after.get(name)}, before it was "
                        f"{value}. {LEAVE}")
