//! Weights as integers of 8 bits in a file: those of an output channel are multiples of a step, which is in an entry of
//! its own.

use super::checkpoint::Checkpoint;
use super::parameters::Stored;
use super::refusal::Refusal;
use super::value::{Dtype, Value};
use super::{Data, Item};
use crate::error::Result;

/// The largest integer; the least one is its negative.
const LARGEST: f64 = 127.0;

/// The end of the name of steps; before it stands that of the weights.
const SUFFIX: &str = "_step";

/// Weights of a layer as integers, with the steps of its output channels.
#[derive(Debug)]
pub struct Integers {
    steps: String,
    channels: [usize; 1],
    numbers: Vec<u8>,
    sizes: Vec<u8>,
}

impl Integers {
    /// The integers nearest to the weights called `name`, once those of each channel are multiplied by one of `factors`:
    /// an engine that multiplies them so has the same integers of what is read again, and of the weights.
    pub fn of(name: &str, weights: &[f32], factors: &[f64]) -> Self {
        let each = (weights.len() / factors.len().max(1)).max(1);
        let (mut numbers, mut sizes) = (Vec::with_capacity(weights.len()), Vec::new());
        for (weights, &factor) in weights.chunks(each).zip(factors) {
            let largest = |factor: f64| {
                let of =
                    |largest: f32, &weight: &f32| largest.max(multiplied(weight, factor).abs());
                weights.iter().fold(0.0, of)
            };
            let size = f64::from(largest(1.0)) / LARGEST;
            let (factor, most) = match largest(factor) {
                // A factor of zero, or nearly: what matters is the weights themselves.
                0.0 => (1.0, largest(1.0)),
                most => (factor, most),
            };
            let step = if most > 0.0 { most / LARGEST as f32 } else { 1.0 };
            numbers.extend(weights.iter().map(|&weight| {
                let number = (multiplied(weight, factor) / step).round_ties_even();
                (if factor < 0.0 { -number } else { number } as i8).cast_unsigned()
            }));
            sizes.extend(size.to_le_bytes());
        }
        Self { steps: name.to_owned() + SUFFIX, channels: [factors.len()], numbers, sizes }
    }

    /// The integers under the name of the weights, and the steps, as items of a file to write.
    pub fn items<'a>(&'a self, name: &'a str, shape: &'a [usize]) -> [Item<'a>; 2] {
        let item =
            |name, dtype, shape, bytes| Item { name, dtype, shape, data: Data::Bytes(bytes) };
        [
            item(name, Dtype::I8, shape, &self.numbers),
            item(&self.steps, Dtype::F64, &self.channels, &self.sizes),
        ]
    }
}

fn multiplied(weight: f32, factor: f64) -> f32 {
    (f64::from(weight) * factor) as f32
}

/// An array of a model's file, as it is to be written.
#[derive(Debug)]
pub enum Written {
    Plain(Stored),
    Integers(Integers),
}

impl Written {
    /// The values as items of a file to write.
    pub fn items<'a>(&'a self, name: &'a str, shape: &'a [usize]) -> Vec<Item<'a>> {
        match self {
            Self::Plain(stored) => vec![stored.item(name, shape)],
            Self::Integers(integers) => integers.items(name, shape).to_vec(),
        }
    }
}

impl Checkpoint {
    /// The name of the steps of these weights, if the file has them as integers.
    pub(super) fn steps_of(&self, name: &str) -> Option<String> {
        let steps = name.to_owned() + SUFFIX;
        let (dtype, shape) = (self.dtype(name)?, self.shape(name)?);
        let belongs = self.dtype(&steps)? == Dtype::F64 && self.shape(&steps)? == shape.get(..1)?;
        (dtype == Dtype::I8 && belongs).then_some(steps)
    }

    /// Whether these are the steps of weights.
    pub(super) fn is_steps(&self, name: &str) -> bool {
        name.strip_suffix(SUFFIX).is_some_and(|weights| self.steps_of(weights).is_some())
    }

    /// The weights that the file has as integers.
    pub(super) fn weights_of_integers(&self, name: &str, steps: &str) -> Result<Value<'_>> {
        let (numbers, sizes) = (self.get(name)?, self.get(steps)?);
        let sizes: Vec<f64> =
            sizes.bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect();
        let fits = |size: f64| size >= 0.0 && LARGEST * size <= f64::from(f32::MAX);
        if let Some(size) = sizes.iter().find(|&&size| !fits(size)) {
            let refused = Refusal::new("steps of float32 weights, none negative", size.to_string());
            return Err(refused.of(steps).at(self.path()));
        }
        let each = (numbers.bytes.len() / sizes.len().max(1)).max(1);
        let weights = numbers.bytes.chunks(each).zip(sizes).flat_map(|(numbers, size)| {
            let weight = move |&number: &u8| (f64::from(number.cast_signed()) * size) as f32;
            numbers.iter().flat_map(move |number| weight(number).to_le_bytes())
        });
        let bytes = weights.collect::<Vec<u8>>().into();
        Ok(Value { dtype: Dtype::F32, shape: numbers.shape, bytes })
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use crate::weights::load::Entries;
    use crate::weights::write_safetensors;

    /// As the engine finds them, from weights that it multiplied by a factor.
    fn integers(weights: &[f32], factor: f64) -> (Vec<f32>, u32) {
        let weights: Vec<f32> = weights.iter().map(|&of| multiplied(of, factor)).collect();
        let largest = weights.iter().fold(0.0_f32, |largest, of| largest.max(of.abs()));
        let step = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        (weights.iter().map(|of| (of / step).round_ties_even()).collect(), step.to_bits())
    }

    /// Weights of many channels, whatever their size: the integers and their step stay the same, bit for bit.
    #[test]
    fn what_is_read_has_the_same_integers_with_any_factor() {
        let path =
            std::env::temp_dir().join(format!("cnnzoo-i8-{}.safetensors", std::process::id()));
        let mut state = 1_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1 << 23) - 1.0
        };
        let (channels, each) = (2000, 40);
        let mut factors: Vec<f64> = (0..channels).map(|_| random() * 3.0).collect();
        factors[7] = 0.0;
        let mut weights: Vec<f32> = (0..channels * each).map(|_| random() as f32).collect();
        // On and next to halves of a step, where rounding decides; and a channel of zeros.
        for (at, weight) in weights[..each].iter_mut().enumerate() {
            *weight = (at as f32 + 0.5) / 127.0;
        }
        weights[0] = 1.0;
        weights[9 * each..][..each].fill(0.0);
        let found = Integers::of("a.weight", &weights, &factors);
        let shape = [channels, 4, 5, 2];
        write_safetensors(&path, found.items("a.weight", &shape), &IndexMap::new()).unwrap();
        let file = Checkpoint::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let entries: &dyn Entries = &file;
        assert_eq!(entries.shapes(), [("a.weight".to_owned(), shape.to_vec())]);
        assert_eq!(entries.dtype("a.weight"), Some(Dtype::F32));
        let mut read = vec![0.0; weights.len()];
        entries.get("a.weight").unwrap().write_f32(&mut read).unwrap();
        for (channel, &factor) in factors.iter().enumerate() {
            let of = |weights: &[f32]| integers(&weights[channel * each..][..each], factor);
            assert_eq!(of(&read), of(&weights), "channel {channel}");
        }
    }
}
