//! The parameters of a model, wherever an engine keeps them, to be loaded, saved and copied.

use std::borrow::Cow;

use super::filed::Filed;
use super::init::Recipe;
use super::{Data, Dtype, Item, Value};
use crate::error::{Error, Result, shape_text};
use crate::graph::{Graph, NodeId, Parameter, Role};
use crate::memory::zeros;

/// The values of one array.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    Floats(Vec<f32>),
    Count(i64),
}

impl Stored {
    /// The values as an item of a file to write.
    pub fn item<'a>(&'a self, name: &'a str, shape: &'a [usize]) -> Item<'a> {
        let (dtype, data) = match self {
            Self::Floats(values) => (Dtype::F32, Data::F32(values)),
            Self::Count(count) => (Dtype::I64, Data::I64(std::slice::from_ref(count))),
        };
        Item { name, dtype, shape, data }
    }
}

/// Every array of a graph: float32 values, and batch counts.
pub trait Parameters: Send + Sync {
    /// The arrays' names, shapes and roles, in the order of the state dict.
    fn parameters(&self) -> &[Parameter];

    /// A copy of an array.
    fn read(&self, index: usize) -> Result<Stored>;

    /// The values of an array in row-major order, where they lie if they lie so; none of a batch count.
    fn floats(&self, index: usize) -> Result<Option<Cow<'_, [f32]>>> {
        Ok(match self.read(index)? {
            Stored::Floats(values) => Some(Cow::Owned(values)),
            Stored::Count(_) => None,
        })
    }

    /// The memory of an array, if it lies in row-major order and may be written to; none of a batch count.
    fn floats_mut(&mut self, _index: usize) -> Result<Option<&mut [f32]>> {
        Ok(None)
    }

    /// Leaves the values of an array in a file, which has as many; returns whether these parameters can do so.
    fn leave_in_file(&mut self, _index: usize, _values: Filed) -> bool {
        false
    }

    /// Overwrites an array with as many values.
    fn write_floats(&mut self, index: usize, values: &[f32]) -> Result<()>;

    /// Overwrites a batch count.
    fn write_count(&mut self, index: usize, count: i64) -> Result<()>;

    /// Takes the parameters of another `graph`: those that both share by name and shape stay; its classifiers and all
    /// others are initialised anew.
    fn redraw(&mut self, graph: &Graph, recipe: Recipe, seed: u64) -> Result<()>;

    /// Copies stored values into an array, converted to its type.
    fn load(&mut self, index: usize, value: &Value<'_>) -> Result<()> {
        let parameter = &self.parameters()[index];
        if value.shape != parameter.shape {
            return Err(Error::Shape {
                at: format!("`{}`", parameter.name),
                expected: shape_text(&parameter.shape),
                got: shape_text(&value.shape),
            });
        }
        if parameter.role == Role::BatchCount {
            return self.write_count(index, value.read_i64()?);
        }
        let elements = parameter.elements();
        if let Some(values) = value.as_f32().filter(|values| values.len() == elements) {
            return self.write_floats(index, values);
        }
        let mut converted =
            zeros(elements).map_err(|shortage| shortage.at(parameter.name.as_str()))?;
        value.write_f32(&mut converted)?;
        self.write_floats(index, &converted)
    }

    /// Sets the scales of these norms to `value`.
    fn set_scales(&mut self, norms: &[NodeId], value: f32) -> Result<()> {
        for index in 0..self.parameters().len() {
            let parameter = &self.parameters()[index];
            if parameter.role == Role::NormScale && norms.contains(&parameter.node) {
                self.write_floats(index, &vec![value; parameter.elements()])?;
            }
        }
        Ok(())
    }

    /// A copy of every array: its name, shape and values.
    fn snapshot(&self) -> Result<Vec<(String, Vec<usize>, Stored)>> {
        let copy = |(index, parameter): (usize, &Parameter)| {
            Ok((parameter.name.clone(), parameter.shape.clone(), self.read(index)?))
        };
        self.parameters().iter().enumerate().map(copy).collect()
    }
}

/// For each of `new`, the parameters of `graph`, the index of the one of `old` whose values it keeps: that of the same
/// name and shape. Those of classifiers keep none.
pub fn kept(old: &[Parameter], graph: &Graph, new: &[Parameter]) -> Vec<Option<usize>> {
    let classifiers = graph.all_classifiers();
    let kept = |parameter: &Parameter| {
        let same = |old: &Parameter| old.name == parameter.name && old.shape == parameter.shape;
        let index = old.iter().position(same)?;
        (!classifiers.contains(&parameter.node)).then_some(index)
    };
    new.iter().map(kept).collect()
}
