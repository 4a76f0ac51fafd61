//! First convolutions trained on RGB images, adapted to other numbers of channels, as timm does.

use std::borrow::Cow;

use super::{Dtype, Value};
use crate::error::Result;
use crate::graph::{Parameter, Role};

const COLOURS: usize = 3;

/// Whether `shape` is that of a weight for RGB, and `parameter` the same one for other channels.
pub fn is_for_colours(parameter: &Parameter, shape: &[usize]) -> bool {
    let [out, channels, ref window @ ..] = parameter.shape[..] else { return false };
    parameter.role == Role::ConvWeight
        && parameter.groups == 1
        && channels != COLOURS
        && matches!(shape, [o, COLOURS, w @ ..] if *o == out && w == window)
}

/// Adapts `value`, a weight for RGB, to `parameter`: its sum over RGB for one channel; for more, its channels repeated
/// in turn and scaled so that all together weigh as much as three.
pub fn adapt(parameter: &Parameter, value: &Value<'_>) -> Result<Value<'static>> {
    let mut values = vec![0.0_f32; value.elements()];
    value.write_f32(&mut values)?;
    let channels = parameter.shape[1];
    let window: usize = parameter.shape[2..].iter().product();
    let share = (COLOURS as f64 / channels as f64) as f32;
    let mut bytes = Vec::with_capacity(parameter.elements() * size_of::<f32>());
    for filter in values.chunks_exact(COLOURS * window) {
        for channel in 0..channels {
            for at in 0..window {
                let of = |colour: usize| filter[colour * window + at];
                let value = if channels == 1 {
                    of(0) + of(1) + of(2)
                } else {
                    of(channel % COLOURS) * share
                };
                bytes.extend(value.to_le_bytes());
            }
        }
    }
    Ok(Value { dtype: Dtype::F32, shape: parameter.shape.clone(), bytes: Cow::Owned(bytes) })
}
