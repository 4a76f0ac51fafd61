//! The Euclidean norm of all gradients together, which every step reports. libtorch's norm of a tensor runs on one
//! thread and sums in float32, in which millions of squares lose digits.

use tch::{Device, TchError, Tensor};

use super::floats::floats;
use super::threads::on_each;

/// The number of squares that are summed one after the other: the sum does not depend on the number of threads.
const CHUNK: usize = 1 << 16;

/// The Euclidean norm of all values of all tensors.
pub(super) fn total_norm<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Result<f64, TchError> {
    let (mut chunks, mut rest) = (Vec::new(), Vec::new());
    for tensor in tensors {
        match floats(tensor) {
            Some(values) => chunks.extend(values.chunks(CHUNK)),
            None => rest.push(tensor.f_norm()?),
        }
    }
    let mut total = on_each(chunks, sum_of_squares).into_iter().sum::<f64>();
    if !rest.is_empty() {
        // One synchronisation with the device.
        let norms = Tensor::f_stack(&rest, 0)?.f_to_device(Device::Cpu)?;
        total += Vec::<f32>::try_from(&norms)?.into_iter().map(square).sum::<f64>();
    }
    Ok(total.sqrt())
}

fn square(value: f32) -> f64 {
    f64::from(value).powi(2)
}

/// Eight partial sums at once, which processors add fastest.
fn sum_of_squares(chunk: &[f32]) -> f64 {
    let mut lanes = [0.0; 8];
    let (eights, rest) = chunk.as_chunks::<8>();
    for eight in eights {
        for (lane, &value) in lanes.iter_mut().zip(eight) {
            *lane += square(value);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().copied().map(square).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

    #[test]
    fn every_value_counts_once_wherever_it_lies() {
        assert!(total_norm([].into_iter()).unwrap().abs() < f64::EPSILON);
        // In the order of their axes and in another, with gaps, shared, none, and one; enough for several threads.
        let many = Tensor::f_full([3000, 4000], 0.1, CPU).unwrap();
        let wide = Tensor::f_full([30, 40], 0.1, CPU).unwrap();
        let one = Tensor::f_full([1], 0.1, CPU).unwrap();
        let tensors = [
            many.f_transpose(0, 1).unwrap(),
            many,
            wide.f_narrow(1, 0, 20).unwrap(),
            one.f_expand([50, 60], false).unwrap(),
            Tensor::f_zeros([0, 3], CPU).unwrap(),
            one.f_view(&[] as &[i64]).unwrap(),
        ];
        let count = f64::from(2 * 3000 * 4000 + 30 * 20 + 50 * 60 + 1);
        let expected = count.sqrt() * f64::from(0.1_f32);
        let found = total_norm(tensors.iter()).unwrap();
        // Tensors with gaps are summed in float32.
        assert!((found / expected - 1.0).abs() < 1e-8, "{found}, {expected}");
    }

    #[test]
    fn squares_beyond_float32_count_too() {
        let tensors = [3e30_f64, 4e30].map(|value| Tensor::f_full([1], value, CPU).unwrap());
        let found = total_norm(tensors.iter()).unwrap();
        assert!((found / 5e30 - 1.0).abs() < 1e-6, "{found}");
    }
}
