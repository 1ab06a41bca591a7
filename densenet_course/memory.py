"""What autograd keeps in memory between the forward and the backward pass."""

import torch


def saved_bytes(model, images, *, loss=None):
    """Count the bytes that a forward pass saves for the backward pass: each storage once, parameters not counted.

    Args:
        model: an ``nn.Module``, in the mode in which it is to be measured.
        images: its input (N, C, H, W).
        loss: a function of the output, whose saved bytes count too, if given.

    Returns:
        Bytes, as saved-tensor hooks see them.
    """
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage  # held, so that no address comes twice
        return tensor.detach()  # the tensor itself would keep its own graph alive, and its memory for good

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(images)
        if loss is not None:
            output = loss(output)
    return sum(storage.nbytes() for storage in storages.values())
