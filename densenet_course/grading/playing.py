"""Play a list of operations: nothing but allowed ones is done, whatever the list holds."""

import operator

import torch

from densenet_course.grading.operations import EMPTY, MAX_CONSTANT, Refused, expect_fitting, is_allowed, places_of_types


def play(program, inputs, constants):
    """Play a list of operations.

    Args:
        program: from ``trace``; whatever it holds, nothing but allowed operations is done.
        inputs: tensors: the images, the parameters, the buffers.
        constants: a dict that keeps the program's constants from call to call.

    Returns:
        A tensor.

    Raises:
        Refused: this is no list that can be played.
    """
    try:
        operations, result = program["operations"], program["result"]
        if program["inputs"] != len(inputs):
            raise Refused("it takes other tensors than the module has")
        values = list(inputs)
        perform(operations, values, constants)
        output = resolve(result, values)
    except (Refused, RuntimeError):  # ours; and PyTorch's own words for what the module does
        raise
    except Exception as error:
        raise Refused(f"no list of operations: {type(error).__name__}: {error}") from None
    if type(output) is not torch.Tensor:
        raise Refused("its result is no tensor")
    return output


def perform(operations, values, constants):
    """Perform operations, and append what each makes to the values that later ones may refer to."""
    gradients, autocast = torch.is_grad_enabled(), _autocast()
    try:
        for name, arguments, named in operations:
            values.append(_do(name, arguments, named, values, constants))
    finally:
        torch.set_grad_enabled(gradients)
        _autocast(*autocast)


def _do(name, arguments, named, values, constants):
    if name == "gradients":
        return torch.set_grad_enabled(arguments[0] is True) and None
    if name == "constant":
        return _constant(constants, *arguments)
    arguments = resolve(arguments, values)
    if name == "autocast":
        return _autocast(*arguments[0] if len(arguments) == 1 else arguments)
    if name == "item":
        return operator.getitem(*arguments)
    space, operation, overload = name.split(".")
    if space != "aten" or not is_allowed(operation, overload):
        raise Refused(f"the operation {name[:60]} is not allowed")
    named = {key: resolve(value, values) for key, value in named.items() if value != {"kept": ""}}
    function = getattr(getattr(torch.ops.aten, operation), overload)
    given = {**dict(enumerate(arguments)), **named}
    if not all(isinstance(given[place], torch.dtype | None) for place in places_of_types(function) & given.keys()):
        raise Refused(f"the operation {name[:60]} with a type that is none")
    expect_fitting(operation, given)
    made = function(*arguments, **named)
    return made.zero_() if operation in EMPTY else made


def _autocast(device="", kind=None, enabled=None, *_):
    """Switch autocast of the CPU, that of no other device; return what it was before, as the arguments to go back."""
    before = "cpu", torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu")
    if device == "cpu":
        if kind not in (torch.bfloat16, torch.float16):
            raise Refused("autocast to no such type")
        torch.clear_autocast_cache()  # weights of an earlier step have no place in a later one
        torch.set_autocast_dtype("cpu", kind)
        torch.set_autocast_enabled("cpu", enabled is True)
    return before


def _constant(constants, kind, shape, numbers, trainable=False):
    if type(numbers) is not list or not {*map(type, numbers)} <= {int, float, bool}:
        raise Refused("a constant of no numbers")
    if len(numbers) > MAX_CONSTANT:
        raise Refused("a constant is too large")
    if not isinstance(getattr(torch, kind, None), torch.dtype):
        raise Refused("a constant of no type")
    key = repr((kind, shape, numbers)), trainable is True
    if key not in constants:
        constants[key] = torch.tensor(numbers, dtype=getattr(torch, kind)).reshape(shape)
    return constants[key].clone()


def places(written):
    """Return the places of all values that a piece of a list refers to."""
    if isinstance(written, dict):
        own = {item for key, item in written.items() if key == "#" and type(item) is int}
        return own.union(*map(places, written.values()))
    return set().union(*map(places, written)) if isinstance(written, list | tuple) else set()


def numbers(written):
    """Return the different numbers that a piece of a list holds itself."""
    if isinstance(written, dict):
        return set()
    if isinstance(written, list | tuple):
        return set().union(*map(numbers, written))
    return {written} if type(written) in (int, float) else set()


def resolve(value, values):
    """Return a plain value with the tensors that it refers to."""
    if type(value) is list:
        return [resolve(item, values) for item in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is not dict:
        raise Refused(f"an argument of kind {type(value).__name__}")  # a tensor would be weights that no one counts
    (key, item), = value.items()
    if key == "dtype":
        return {str(kind)[6:]: kind for kind in (torch.float32, torch.float64, torch.bfloat16, torch.float16,
                                                 torch.int64, torch.int32, torch.uint8, torch.bool)}[item]
    if key == "device":
        return torch.device("cpu")
    return None if key == "kept" else values[item] if type(item) is int and item >= 0 else values["?"]
