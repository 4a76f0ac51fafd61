//! Arrays of a network, and where their numbers come from: a parameter's are read when they are written.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::error::{Error, Result};
use crate::weights::Parameters;

/// The type of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Float,
    Byte,
    Integer,
}

/// An array that operators read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Initialiser {
    pub name: String,
    pub shape: Vec<usize>,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// That of the parameter at this index.
    Parameter(usize),
    /// The same, with the weights of each output channel multiplied by a factor.
    Scaled {
        index: usize,
        factors: Vec<f64>,
    },
    Floats(Vec<f32>),
    Integers(Vec<i64>),
}

impl Initialiser {
    pub(super) fn element(&self) -> Element {
        match self.content {
            Content::Parameter(_) | Content::Scaled { .. } | Content::Floats(_) => Element::Float,
            Content::Integers(_) => Element::Integer,
        }
    }

    /// Its size in bytes.
    pub(super) fn length(&self) -> usize {
        let count = self.shape.iter().fold(1, |product: usize, &size| product.saturating_mul(size));
        count.saturating_mul(match self.element() {
            Element::Float => 4,
            Element::Byte => 1,
            Element::Integer => 8,
        })
    }

    /// Writes its numbers in little-endian order. Only one array is in memory at a time, where it does not lie there
    /// anyway.
    pub(super) fn write(
        &self,
        parameters: &dyn Parameters,
        out: &mut dyn Write,
    ) -> Result<Written> {
        match &self.content {
            Content::Parameter(index) => Ok(write_floats(&read(parameters, *index)?, out)),
            Content::Scaled { index, factors } => {
                let mut weights = read(parameters, *index)?.into_owned();
                let each = (weights.len() / factors.len().max(1)).max(1);
                for (weights, factor) in weights.chunks_mut(each).zip(factors) {
                    for weight in weights {
                        *weight = (f64::from(*weight) * factor) as f32;
                    }
                }
                Ok(write_floats(&weights, out))
            }
            Content::Floats(values) => Ok(write_floats(values, out)),
            Content::Integers(values) => Ok(write_chunks(values, i64::to_le_bytes, out)),
        }
    }
}

/// The outcome of writing; reading has errors of its own.
type Written = io::Result<()>;

/// The values of a parameter.
pub(super) fn read(parameters: &dyn Parameters, index: usize) -> Result<Cow<'_, [f32]>> {
    parameters.floats(index)?.ok_or_else(|| Error::Defect {
        at: format!("`{}`", parameters.parameters()[index].name),
        message: "a count where an array of numbers was to be written".into(),
    })
}

fn write_floats(values: &[f32], out: &mut dyn Write) -> Written {
    write_chunks(values, f32::to_le_bytes, out)
}

fn write_chunks<T: Copy, const SIZE: usize>(
    values: &[T],
    to_bytes: impl Fn(T) -> [u8; SIZE],
    out: &mut dyn Write,
) -> Written {
    const AT_ONCE: usize = 8192;
    let mut buffer = Vec::with_capacity(values.len().min(AT_ONCE) * SIZE);
    for chunk in values.chunks(AT_ONCE) {
        buffer.clear();
        buffer.extend(chunk.iter().flat_map(|&value| to_bytes(value)));
        out.write_all(&buffer)?;
    }
    Ok(())
}
