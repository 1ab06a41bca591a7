"""The operations of ATen that a committed list may hold: of tensors only, on memory of their own."""


class Refused(Exception):
    """There is no list of operations, or it cannot be played."""


MAX_CONSTANT = 4_096  # numbers: weights outside parameters and buffers have no place in a list
EMPTY = ("empty", "empty_like", "new_empty")  # filled with zeros: no memory as it was found
FORWARD = frozenset("""
 _adaptive_avg_pool2d _log_softmax _native_batch_norm_legit _native_batch_norm_legit_no_training _softmax _to_copy
 _unsafe_view abs adaptive_avg_pool2d adaptive_max_pool2d add add_ addmm alias alpha_dropout amax amin arange atan
 avg_pool2d batch_norm bernoulli bernoulli_ bitwise_and bitwise_not bmm cat celu chunk clamp clamp_ clamp_max
 clamp_min clamp_min_ clone concat concatenate constant_pad_nd contiguous conv1d conv2d conv_transpose2d convolution
 copy_ cumsum detach detach_ div div_ dropout dropout_ dstack einsum elu embedding empty empty_like eq erf exp expand
 expand_as expm1 feature_dropout fill_ flatten flip full full_like gather ge gelu group_norm gt hardshrink hardsigmoid
 hardswish hardtanh hardtanh_ hstack im2col index index_add index_copy index_select instance_norm layer_norm le
 leaky_relu leaky_relu_ lift_fresh lift_fresh_copy linear log log1p log_sigmoid log_softmax logical_and logical_not
 logical_or logsumexp lt masked_fill matmul max max_pool2d max_pool2d_with_indices maximum mean min minimum mish mm
 movedim mse_loss mul mul_ narrow native_batch_norm native_dropout native_group_norm native_layer_norm ne neg
 new_empty new_full new_ones new_zeros norm numel one_hot ones ones_like pad permute pixel_shuffle pixel_unshuffle pow
 pow_ prelu prod rand_like randn_like reciprocal relu relu6 relu_ repeat repeat_interleave reshape reshape_as roll
 rrelu rsqrt rsub scatter scatter_add select select_scatter selu sigmoid sigmoid_ sign silu silu_ slice slice_scatter
 softmax softplus softshrink split split_with_sizes sqrt square squeeze stack std std_mean sub sub_ sum swapaxes t
 tanh tanh_ tensor_split threshold tile to transpose tril triu type_as unbind unflatten unfold unsqueeze unsqueeze_
 upsample_bilinear2d upsample_nearest2d var var_mean view view_as vstack where zero_ zeros zeros_like
""".split())  # noqa: SIM905 - a list of words
BACKWARD = frozenset("""
 convolution_backward elu_backward gelu_backward hardtanh_backward leaky_relu_backward
 native_batch_norm_backward select_backward sigmoid_backward silu_backward slice_backward tanh_backward
 threshold_backward
""".split())  # noqa: SIM905 - what a list holds beside these where the backward pass is written too
ALLOWED = FORWARD | BACKWARD
