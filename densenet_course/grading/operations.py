"""The operations of ATen that a committed list may hold: of tensors only, on memory of their own.

Those that PyTorch tags as pointwise are all among them, in place too; the others are named here. What trusts its caller
to have checked the shapes has no place: ``_weight_norm`` writes past its end when they disagree, so it is written as
parts. Nor has what writes into a tensor given as ``out``: that may be one of those it reads, which then gets fresh
memory before it is read.
"""

import functools

import torch


class Refused(Exception):
    """There is no list of operations, or it cannot be played."""


MAX_CONSTANT = 4_096  # numbers: weights outside parameters and buffers have no place in a list
EMPTY = ("empty", "empty_like", "new_empty")  # filled with zeros: no memory as it was found
FORWARD = frozenset("""
 _adaptive_avg_pool2d _adaptive_avg_pool3d _cdist_forward _log_softmax _native_batch_norm_legit _prelu_kernel _softmax
 _to_copy _unsafe_view _upsample_bicubic2d_aa _upsample_nearest_exact2d adaptive_avg_pool1d adaptive_avg_pool2d
 adaptive_max_pool1d adaptive_max_pool2d addbmm addmm
 addmv addr adjoint affine_grid_generator alias all alpha_dropout alpha_dropout_ amax amin aminmax any arange argmax
 argmin argsort avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bernoulli bernoulli_ bilinear bincount block_diag
 bmm broadcast_tensors broadcast_to cat cdist channel_shuffle chunk col2im column_stack concat concatenate conj
 constant_pad_nd contiguous conv1d conv2d conv3d conv_transpose1d conv_transpose2d convolution copy_ cosine_similarity
 count_nonzero cov cross_entropy_loss cummax cumprod cumprod_ cumsum cumsum_ detach detach_ diag diag_embed diagonal
 diff dot dropout dropout_ dstack einsum embedding empty empty_like expand expand_as exponential_ eye
 feature_alpha_dropout feature_dropout feature_dropout_ fill_ flatten flip full full_like gather glu grid_sampler
 grid_sampler_2d group_norm hardswish hardswish_ hstack im2col index index_add index_add_ index_copy index_copy_
 index_fill index_fill_ index_put index_put_ index_select inner instance_norm kron kthvalue layer_norm lift_fresh
 lift_fresh_copy linalg_norm linalg_vector_norm linear linspace log_sigmoid log_softmax logcumsumexp logsumexp mH mT
 masked_fill_ matmul matrix_H matrix_exp max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices mean
 median meshgrid mm mode moveaxis movedim mse_loss msort multiply mv nanmean nansum narrow native_batch_norm
 native_dropout native_group_norm native_layer_norm new_empty new_full new_ones new_zeros norm normal normal_ numel
 numpy_T one_hot ones ones_like outer pad pairwise_distance permute pixel_shuffle pixel_unshuffle prelu prod quantile
 rand rand_like randint randint_like randn randn_like randperm ravel reflection_pad1d reflection_pad2d renorm renorm_
 repeat repeat_interleave replication_pad1d replication_pad2d reshape reshape_as rms_norm roll rot90 rrelu
 scalar_tensor scaled_dot_product_attention scatter scatter_ scatter_add scatter_add_ scatter_reduce scatter_reduce_
 select select_scatter slice slice_scatter softmax sort special_expit special_logsumexp split split_with_sizes squeeze
 squeeze_ stack std std_mean subtract sum swapaxes swapaxes_ swapdims t t_ take_along_dim tensor_split tensordot tile
 to topk trace transpose transpose_ tril triu type_as unbind unflatten unfold uniform_ unsqueeze unsqueeze_
 upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d var var_mean vdot view
 view_as vstack zero_ zeros zeros_like
""".split())  # noqa: SIM905 - a list of words
BACKWARD = frozenset("""
 convolution_backward elu_backward gelu_backward hardtanh_backward leaky_relu_backward
 native_batch_norm_backward select_backward sigmoid_backward silu_backward slice_backward tanh_backward
 threshold_backward
""".split())  # noqa: SIM905 - what a list holds beside these where the backward pass is written too
ALLOWED = FORWARD | BACKWARD
# BatchNorm's inner operations → place of "training"; places of the statistics that are read in training, and else.
# They read and write past the end of what does not fit, and follow what is not there; ``batch_norm`` looks first.
INNER_NORMS = {"native_batch_norm": (5, (), (3, 4)), "_native_batch_norm_legit": (5, (), (3, 4)),
               "native_batch_norm_backward": (7, (5, 6), (3, 4))}


def is_allowed(name, overload):
    """Say whether a list may hold an operation of ATen."""
    found = _overload(name, overload)
    if found is None or takes_out(found):
        return False
    return name in ALLOWED or _is_pointwise(name, overload) or _is_pointwise(name.removesuffix("_"), overload)


def _overload(name, overload):
    """Return an operation, or None; TorchScript's own ones, which check little of what they get, are none."""
    found = getattr(getattr(torch.ops.aten, name, None), overload, None)
    known = isinstance(found, torch._ops.OpOverload) and torch._C._dispatch_has_kernel(found.name())
    return found if known else None


def _is_pointwise(name, overload):
    if "_polynomial_" in name:  # takes as many steps as a number in the list says
        return False
    found = _overload(name, overload)
    return found is not None and torch.Tag.pointwise in found.tags


def takes_out(operation):
    """Say whether an ``OpOverload`` writes into a tensor that it is given as ``out``."""
    return any(argument.is_out for argument in operation._schema.arguments)


def expect_fitting(operation, given):
    """Refuse what one of BatchNorm's inner operations would not find out: tensors that do not fit each other.

    Args:
        operation: its name.
        given: its arguments by place or name.

    Raises:
        Refused: they are not maps of one shape, with vectors of a number for each channel, or some are missing.
    """
    if operation not in INNER_NORMS:
        return
    place, in_training, otherwise = INNER_NORMS[operation]
    training = given.get(place)
    needed, unread = (in_training, ()) if training is True else (otherwise, in_training)  # empty ones may come in eval
    if type(training) is not bool or not all(isinstance(given.get(which), torch.Tensor) for which in needed):
        raise Refused(f"{operation} without the statistics that it reads")
    tensors = [value for which, value in given.items() if isinstance(value, torch.Tensor) and which not in unread]
    maps, vectors = ([value for value in tensors if (value.ndim > 1) is many] for many in (True, False))
    shapes = {tuple(value.shape) for value in maps}
    if len(shapes) != 1 or not all(value.numel() and value.is_floating_point() for value in tensors):
        raise Refused(f"{operation} with maps of several shapes, of none, or of whole numbers")
    (shape,) = shapes
    if {tuple(value.shape) for value in vectors} - {shape[1:2]}:
        raise Refused(f"{operation} with vectors that are not one number for each of {shape[1]} channels")


@functools.cache
def places_of_types(operation):
    """Return the places and names of arguments that are types, layouts or formats.

    PyTorch takes a number for them, too, whatever it is, and follows it out of its tables.

    Args:
        operation: an ``OpOverload``.
    """
    found = [(number, argument.name) for number, argument in enumerate(operation._schema.arguments)
             if any(kind in str(argument.real_type) for kind in ("ScalarType", "Layout", "MemoryFormat"))]
    return frozenset().union(*found)
