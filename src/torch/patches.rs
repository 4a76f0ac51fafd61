//! Convolutions whose windows tile the image, such as the patch embedding of a ViT: a product of two matrices, which
//! takes half of the time of libtorch's convolution, since that reorders the images both forward and backward.

use tch::{TchError, Tensor};

use crate::graph::op::{Conv, Padding, Pair};

/// The convolution of `x` (N, C, H, W), whose windows tile it; equal to libtorch's in channels_last but for the last
/// bits.
pub(super) fn conv_of_patches(
    conv: &Conv,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor, TchError> {
    let (batch, channels, height, width) = x.size4()?;
    let Pair { height: rows, width: columns } = conv.kernel;
    let (rows, columns) = (rows as i64, columns as i64);
    // Within a patch, values lie in the order of a weight in channels_last.
    let patches = x
        .f_reshape([batch, channels, height / rows, rows, width / columns, columns])?
        .f_permute([0, 2, 4, 3, 5, 1])?
        .f_flatten(3, 5)?;
    let weight = weight.f_permute([0, 2, 3, 1])?.f_flatten(1, 3)?;
    patches.f_linear(&weight, bias)?.f_permute([0, 3, 1, 2])
}

/// Whether every value of an image of this size is in exactly one window of `conv`.
pub(super) fn tiles(conv: &Conv, height: usize, width: usize) -> bool {
    let Conv { kernel, stride, dilation, groups, .. } = *conv;
    let alone = kernel == stride && dilation == Pair::ONE && groups == 1;
    let whole = height.is_multiple_of(kernel.height) && width.is_multiple_of(kernel.width);
    alone && kernel != Pair::ONE && conv.padding == Padding::from(0) && whole
}

#[cfg(test)]
mod tests {
    use std::iter::zip;

    use tch::Kind;

    use super::*;
    use crate::torch::layout::Layout;
    use crate::torch::testing::{ROUNDING, gradients, same, scattered, weights};

    fn conv(kernel: Pair) -> Conv {
        Conv { out: 5, kernel, stride: kernel, ..Conv::default() }
    }

    #[test]
    fn values_and_gradients_are_those_of_a_convolution() {
        let kernel = Pair { height: 4, width: 6 };
        assert!(tiles(&conv(kernel), 12, 30));
        let drawn = |size: &[i64]| scattered(size).f_to_kind(Kind::Float).unwrap();
        let image = |size: [i64; 4]| Layout::ChannelsLast.of(&drawn(&size)).unwrap();
        let leaves = [image([2, 3, 12, 30]), image([5, 3, 4, 6]), drawn(&[5])]
            .map(|leaf| leaf.f_set_requires_grad(true).unwrap());
        let [x, weight, bias] = &leaves;
        let ours = conv_of_patches(&conv(kernel), x, weight, Some(bias)).unwrap();
        let theirs = x.f_conv2d(weight, Some(bias), kernel.sizes(), [0, 0], [1, 1], 1).unwrap();
        assert_eq!(ours.stride(), theirs.stride());
        same(&ours, &theirs, ROUNDING, "values");
        let pulled = |y: &Tensor| gradients(&(y * weights(y)).sum(Kind::Float), &leaves.each_ref());
        for (ours, theirs) in zip(pulled(&ours), pulled(&theirs)) {
            same(&ours, &theirs, ROUNDING, "gradients");
        }
    }

    #[test]
    fn other_convolutions_are_told_apart() {
        let two = Pair { height: 2, width: 2 };
        assert!(tiles(&conv(two), 8, 6));
        assert!(!tiles(&conv(two), 8, 7));
        assert!(!tiles(&conv(two), 7, 6));
        assert!(!tiles(&conv(Pair::ONE), 8, 6));
        let others = [
            Conv { stride: Pair::ONE, ..conv(two) },
            Conv { padding: 1.into(), ..conv(two) },
            Conv { padding: Padding::Same, ..conv(two) },
            Conv { dilation: two, ..conv(two) },
            Conv { groups: 3, ..conv(two) },
        ];
        for other in others {
            assert!(!tiles(&other, 8, 6), "{other:?}");
        }
    }
}
