//! Memory layouts of tensors: channels first and channels last.

use std::iter::zip;

use tch::{TchError, Tensor};

/// The memory layout of images and of convolution weights. A run uses the layout of the weights. Rounding errors of a
/// convolution differ between the layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Images as (N, C, H, W) and weights as (O, I, H, W), PyTorch's default: inference and `pull_back`.
    ChannelsFirst,
    /// Images as (N, H, W, C) and weights as (O, H, W, I): training steps, which are fastest so.
    ChannelsLast,
}

impl Layout {
    /// The same images or weights in this layout.
    pub(super) fn of(self, tensor: &Tensor) -> Result<Tensor, TchError> {
        match self {
            // Viewed anew, since libtorch takes the strides of axes of size 1 for a sign of the layout.
            Self::ChannelsFirst => tensor.f_contiguous()?.f_view([-1])?.f_view(&tensor.size()[..]),
            Self::ChannelsLast => {
                tensor.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
            }
        }
    }
}

impl Layout {
    /// Whether images or weights are in this layout.
    pub(super) fn has(self, tensor: &Tensor) -> Result<bool, TchError> {
        Ok(strides(tensor).eq(strides(&self.of(tensor)?)))
    }
}

/// The stride and size of each axis, without those of size 1, whose strides do not matter.
fn strides(of: &Tensor) -> impl Iterator<Item = (i64, i64)> {
    zip(of.stride(), of.size()).filter(|&(_, size)| size != 1)
}

/// The same values, in the memory layout of `model`.
pub(super) fn laid_out_like(model: &Tensor, tensor: Tensor) -> Result<Tensor, TchError> {
    if strides(&tensor).eq(strides(model)) {
        return Ok(tensor);
    }
    let mut laid_out = model.f_detach()?.f_empty_like()?;
    laid_out.f_copy_(&tensor)?;
    Ok(laid_out)
}

/// Whether the values lie in memory without gaps, and none share a place.
pub(super) fn is_dense(tensor: &Tensor) -> bool {
    let mut axes: Vec<(i64, i64)> = strides(tensor).collect();
    axes.sort_unstable();
    let mut next = 1;
    axes.into_iter().all(|(stride, size)| {
        let follows = stride == next;
        next *= size;
        follows
    })
}

/// A view (numel,) of the values in memory order; none unless they are dense.
pub(super) fn line(tensor: &Tensor) -> Result<Option<Tensor>, TchError> {
    let line = || tensor.f_as_strided([tensor.numel() as i64], [1], None);
    is_dense(tensor).then(line).transpose()
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn counted(shape: &[i64]) -> Tensor {
        let count = shape.iter().product::<i64>();
        let numbers = Tensor::f_arange(count, (Kind::Float, Device::Cpu)).unwrap();
        numbers.f_view(shape).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::<f32>::try_from(&tensor.f_reshape([-1]).unwrap()).unwrap()
    }

    #[test]
    fn a_line_holds_every_value_once() {
        let weights = counted(&[2, 3, 1, 2]);
        let last = Layout::ChannelsLast.of(&weights).unwrap();
        for tensor in [&weights, &last, &weights.f_transpose(0, 1).unwrap()] {
            let mut found = values(&line(tensor).unwrap().unwrap());
            found.sort_by(f32::total_cmp);
            assert_eq!(found, values(&counted(&[12])));
        }
        assert_eq!(values(&line(&last).unwrap().unwrap())[..3], [0.0, 2.0, 4.0]);
        assert_eq!(values(&line(&counted(&[1])).unwrap().unwrap()), [0.0]);
        let scalar = counted(&[1]).f_view(&[] as &[i64]).unwrap();
        assert_eq!(values(&line(&scalar).unwrap().unwrap()), [0.0]);
    }

    #[test]
    fn there_is_no_line_through_gaps_or_through_what_is_shared() {
        let wide = counted(&[4, 6]);
        for tensor in [
            wide.f_narrow(1, 0, 3).unwrap(),
            wide.f_slice(0, 0, 4, 2).unwrap(),
            counted(&[4, 1]).f_expand([4, 5], false).unwrap(),
            counted(&[1, 4]).f_expand([3, 4], false).unwrap(),
        ] {
            assert!(line(&tensor).unwrap().is_none(), "{:?}", tensor.stride());
        }
        // A slice at the end has no gap.
        assert_eq!(values(&line(&wide.f_narrow(0, 0, 1).unwrap()).unwrap().unwrap()).len(), 6);
    }

    #[test]
    fn numbers_are_moved_only_where_they_lie_otherwise() {
        let weights = counted(&[2, 3, 2, 2]);
        let last = Layout::ChannelsLast.of(&weights).unwrap();
        let moved = laid_out_like(&last, weights.shallow_clone()).unwrap();
        assert_eq!(moved.stride(), last.stride());
        assert_eq!(values(&moved), values(&weights));
        let kept = laid_out_like(&last, last.shallow_clone()).unwrap();
        assert_eq!(kept.data_ptr(), last.data_ptr());
    }
}
