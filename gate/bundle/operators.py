"""What is known of the operators of a program: which only compute, which may share memory, which write.

An operator that is not in these tables is not understood, and whatever it may do, nothing is claimed of a program that
calls it. So random ones, those whose output has a shape that hangs on values, and those that call other graphs are
left out on purpose; forgetting one costs time and never truth. A test holds the tables to torch's own schemas.
"""

from __future__ import annotations

from collections.abc import Mapping


def _table(space: str, overloads: Mapping[str, str]) -> frozenset[str]:
    """Full names, `space.name.overload`, of the names listed by overload."""
    return frozenset(
        f"{space}.{name}.{overload}".rstrip(".") for overload, names in overloads.items() for name in names.split()
    )


#: Answer in memory of their own, whatever they are given.
FRESH = _table(
    "torch.ops.aten",
    {
        "default": (
            "_log_softmax _softmax _to_copy _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d "
            "_upsample_nearest_exact2d _upsample_nearest_exact3d abs acos acosh adaptive_avg_pool1d "
            "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d "
            "addcdiv addcmul addmm addmv addr affine_grid_generator all amax amin aminmax any arange arctan argmax "
            "argmin argsort asin asinh atan atan2 atanh avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm "
            "bitwise_not bmm cat ceil celu clamp clamp_max clamp_min clip clone col2im concat concatenate "
            "constant_pad_nd conv1d conv2d conv3d conv_transpose1d convolution cos cosh cummax cummin cumprod cumsum "
            "deg2rad dot elu embedding erf erfc exp exp2 expm1 eye fake_quantize_per_channel_affine "
            "fake_quantize_per_tensor_affine flip floor floor_divide fmax fmin frac full full_like gather gelu glu "
            "grid_sampler grid_sampler_2d grid_sampler_3d group_norm hardshrink hardsigmoid hardswish hardtanh "
            "heaviside hypot im2col index_add index_copy index_put index_select instance_norm isfinite isinf isnan "
            "layer_norm leaky_relu lift_fresh_copy linalg_vector_norm linear linspace log log10 log1p log2 "
            "log_sigmoid logaddexp logical_and logical_not logical_or logical_xor logit logspace logsumexp "
            "masked_scatter matmul max max_pool1d max_pool2d max_pool2d_with_indices max_pool3d maximum mean median "
            "min minimum mish mm mode mv nan_to_num native_group_norm native_layer_norm neg negative new_full "
            "new_ones new_zeros ones ones_like prelu prod rad2deg reciprocal reflection_pad1d reflection_pad2d "
            "reflection_pad3d relu relu6 repeat replication_pad1d replication_pad2d replication_pad3d round rsqrt "
            "scalar_tensor scatter_add select_scatter selu sgn sigmoid sign silu sin sinc sinh slice_scatter softplus "
            "softshrink sort sqrt square stack std std_mean sum take tan tanh threshold topk tril triu trunc "
            "upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d "
            "upsample_nearest3d upsample_trilinear3d var var_mean zeros zeros_like"
        ),
        "Tensor": (
            "add bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor bucketize clamp clamp_max "
            "clamp_min clip div divide eq fmod ge greater greater_equal gt index le lerp less less_equal lt "
            "masked_fill mul multiply ne not_equal remainder rsub searchsorted sub subtract true_divide xlogy"
        ),
        "Scalar": (
            "add bitwise_and bitwise_or bitwise_xor bucketize div divide eq floor_divide fmod ge greater "
            "greater_equal gt le lerp less less_equal lt masked_fill mul multiply ne norm not_equal pow remainder "
            "rsub searchsorted sub subtract true_divide where"
        ),
        "vec": (
            "_upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d "
            "_upsample_nearest_exact3d upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d "
            "upsample_nearest2d upsample_nearest3d upsample_trilinear3d"
        ),
        "dim": "all any max mean median min std std_mean var var_mean",
        "Scalar_Tensor": "bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor remainder",
        "Tensor_Scalar": "bitwise_left_shift bitwise_right_shift pow",
        "dtype": "addmm baddbmm bmm mm",
        "correction": "std std_mean var var_mean",
        "padding": "conv1d conv2d conv3d",
        "Tensor_Tensor": "pow",
        "dims": "all any",
        "stable": "argsort sort",
        "input": "conv_transpose2d conv_transpose3d",
        "Tensor_mode": "div divide",
        "Scalar_mode": "div divide",
        "int": "log_softmax softmax",
        "other": "max min",
        "start": "arange",
        "start_step": "arange",
        "m": "eye",
        "tensor_qparams": "fake_quantize_per_tensor_affine",
        "int_Tensor": "index_fill",
        "int_Scalar": "index_fill",
        "ScalarOpt_dim": "norm",
        "ScalarOpt_dim_dtype": "norm",
        "dim_int": "prod",
        "decimals": "round",
        "value": "scatter",
        "src": "scatter",
        "reduce": "scatter",
        "value_reduce": "scatter",
        "two": "scatter_reduce",
        "dim_IntList": "sum",
        "self": "where",
        "ScalarOther": "where",
        "ScalarSelf": "where",
        "Scalar_Other": "xlogy",
        "Scalar_Self": "xlogy",
    },
)
#: May answer with memory of their arguments, or with a copy.
VIEWS = _table(
    "torch.ops.aten",
    {
        "default": (
            "_reshape_alias _unsafe_view alias atleast_1d atleast_2d atleast_3d broadcast_tensors broadcast_to "
            "channel_shuffle chunk conj contiguous cosine_similarity cross detach diagonal dropout einsum expand "
            "expand_as isclose lift_fresh mT meshgrid narrow native_channel_shuffle outer pad permute pixel_shuffle "
            "pixel_unshuffle positive ravel real reshape reshape_as resolve_conj resolve_neg rms_norm roll "
            "scaled_dot_product_attention split_with_sizes squeeze swapaxes swapdims t take_along_dim tile type_as "
            "unfold unsafe_chunk unsafe_split_with_sizes unsqueeze view view_as"
        ),
        "int": "hsplit moveaxis movedim select transpose unbind unflatten vsplit",
        "Tensor": "narrow slice split unsafe_split",
        "Sequence": "atleast_1d atleast_2d atleast_3d",
        "input": "gru lstm",
        "data": "gru lstm",
        "array": "hsplit vsplit",
        "intlist": "moveaxis movedim",
        "dtype": "to view",
        "using_ints": "flatten",
        "indexing": "meshgrid",
        "self_int": "repeat_interleave",
        "sizes": "split",
        "dim": "squeeze",
        "dims": "squeeze",
        "sections": "tensor_split",
        "indices": "tensor_split",
        "device": "to",
        "other": "to",
        "dtype_layout": "to",
    },
)
#: Write into `self`, in place, and answer with it.
WRITES = _table(
    "torch.ops.aten",
    {
        "default": (
            "abs_ addcdiv_ addcmul_ addmm_ atan_ baddbmm_ bitwise_not_ ceil_ celu_ clamp_ clamp_max_ clamp_min_ clip_ "
            "copy_ cos_ cumsum_ detach_ dropout_ elu_ erf_ exp_ expm1_ floor_ frac_ gelu_ hardsigmoid_ hardswish_ "
            "hardtanh_ index_add_ index_copy_ index_put_ leaky_relu_ log1p_ log2_ log_ logical_and_ logical_not_ "
            "logical_or_ logit_ masked_scatter_ mish_ nan_to_num_ neg_ negative_ reciprocal_ relu6_ relu_ round_ "
            "rsqrt_ scatter_add_ selu_ sigmoid_ sign_ silu_ sin_ sqrt_ square_ tan_ tanh_ threshold_ tril_ triu_ "
            "trunc_ zero_"
        ),
        "Tensor": (
            "add_ bitwise_and_ bitwise_or_ clamp_ clamp_max_ clamp_min_ clip_ div_ divide_ eq_ fill_ floor_divide_ "
            "fmod_ ge_ gt_ le_ lerp_ lt_ masked_fill_ mul_ multiply_ ne_ pow_ remainder_ sub_ subtract_ true_divide_"
        ),
        "Scalar": (
            "add_ bitwise_and_ bitwise_or_ div_ divide_ eq_ fill_ floor_divide_ fmod_ ge_ gt_ le_ lerp_ lt_ "
            "masked_fill_ mul_ multiply_ ne_ pow_ remainder_ sub_ subtract_ true_divide_"
        ),
        "Tensor_mode": "div_ divide_",
        "Scalar_mode": "div_ divide_",
        "int_Tensor": "index_fill_",
        "int_Scalar": "index_fill_",
        "decimals": "round_",
        "src": "scatter_",
        "value": "scatter_",
        "reduce": "scatter_",
        "value_reduce": "scatter_",
        "two": "scatter_reduce_",
    },
)
#: Arithmetic of sizes, which are numbers and no tensors.
SIZES = (
    _table("torch.ops.aten", {"int": "sym_size sym_stride", "default": "sym_numel"})
    | _table("_operator", {"": "add sub mul floordiv mod neg pow truediv eq ne lt le gt ge and_ or_"})
    | _table("torch", {"": "sym_int sym_float sym_max sym_min sym_not sym_ite sym_sum"})
    | _table("math", {"": "ceil floor trunc"})
)
#: Raises or does nothing, by the type and the device of what it is given.
CHECK = "torch.ops.aten._assert_tensor_metadata.default"
#: These draw random numbers or write statistics, unless one of these arguments is as here. None: it is not given.
ONLY_IF: Mapping[str, tuple[tuple[str, object], ...]] = {
    "batch_norm": (("training", {"as_bool": False}),),
    "instance_norm": (("use_input_stats", {"as_bool": False}), ("running_mean", {"as_none": True})),
    "dropout": (("train", {"as_bool": False}),),
    "dropout_": (("train", {"as_bool": False}),),
    "lstm": (("train", {"as_bool": False}),),
    "gru": (("train", {"as_bool": False}),),
    "scaled_dot_product_attention": (("dropout_p", None), ("dropout_p", {"as_float": 0.0})),
}
