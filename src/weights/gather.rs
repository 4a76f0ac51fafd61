//! Copies of strided tensors in contiguous form.

/// Copies the elements of a strided tensor in row-major order. `strides` count elements; the caller has checked that
/// the last element lies inside `from`.
pub(super) fn gather(from: &[u8], size: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    match size {
        8 => gather_elements::<8>(from, shape, strides),
        4 => gather_elements::<4>(from, shape, strides),
        2 => gather_elements::<2>(from, shape, strides),
        _ => gather_elements::<1>(from, shape, strides),
    }
}

/// The number of elements from the first to the last of a tensor that is not empty, both included.
pub(super) fn span(shape: &[usize], strides: &[usize]) -> Option<usize> {
    shape.iter().zip(strides).try_fold(1_usize, |span, (&size, &stride)| {
        span.checked_add((size - 1).checked_mul(stride)?)
    })
}

fn gather_elements<const SIZE: usize>(from: &[u8], shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let (elements, _) = from.as_chunks::<SIZE>();
    let (Some((&row, outer)), Some((&step, outer_strides))) =
        (shape.split_last(), strides.split_last())
    else {
        return elements[0].to_vec();
    };
    let mut out = Vec::with_capacity(shape.iter().product::<usize>() * SIZE);
    let mut index = vec![0; outer.len()];
    let mut start = 0;
    loop {
        for column in 0..row {
            out.extend_from_slice(&elements[start + column * step]);
        }
        if !advance(&mut index, &mut start, outer, outer_strides) {
            return out;
        }
    }
}

/// Moves to the next row, the last dimension first; false after the last row.
fn advance(index: &mut [usize], start: &mut usize, shape: &[usize], strides: &[usize]) -> bool {
    for dimension in (0..shape.len()).rev() {
        index[dimension] += 1;
        *start += strides[dimension];
        if index[dimension] < shape[dimension] {
            return true;
        }
        *start -= index[dimension] * strides[dimension];
        index[dimension] = 0;
    }
    false
}
