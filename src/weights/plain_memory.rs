//! Parameters in plain memory, without a tensor library.

use std::borrow::Cow;

use super::filed::Filed;
use super::fresh::{Fresh, fill, has_room_for};
use super::init::{Draw, Recipe};
use super::parameters::{Parameters, Stored, kept};
use crate::error::{Error, Result, shape_text};
use crate::graph::{Graph, Parameter, Role};
use crate::memory::{Buffer, copied};

/// Every array of a graph as a vector.
#[derive(Debug)]
pub struct PlainMemory {
    parameters: Vec<Parameter>,
    arrays: Vec<Array>,
    /// The number of times that an array was written to, or lent to be.
    changes: u64,
}

/// One array.
#[derive(Debug)]
enum Array {
    Floats(Buffer),
    Filed(Filed),
    Count(i64),
}

impl PlainMemory {
    /// New parameters, initialised by `recipe` with random numbers from `seed`.
    pub fn new(graph: &Graph, recipe: Recipe, seed: u64) -> Result<Self> {
        let parameters = graph.parameters();
        let arrays = fresh(&parameters.iter().collect::<Vec<_>>(), recipe, seed)?;
        Ok(Self { parameters, arrays, changes: 0 })
    }

    /// A copy with the same values.
    pub fn duplicate(&self) -> Result<Self> {
        let arrays = self.arrays.iter().zip(&self.parameters).map(|(array, of)| match array {
            Array::Count(count) => Ok(Array::Count(*count)),
            Array::Filed(values) => Ok(Array::Filed(values.clone())),
            Array::Floats(values) => Buffer::copied(values.as_slice())
                .map(Array::Floats)
                .map_err(|shortage| shortage.at(of.name.as_str())),
        });
        let arrays = arrays.collect::<Result<_>>()?;
        Ok(Self { parameters: self.parameters.clone(), arrays, changes: 0 })
    }

    /// A number that changes with every change of an array.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    fn refused(&self, index: usize, got: String) -> Error {
        let Parameter { name, shape, .. } = &self.parameters[index];
        Error::Shape { at: format!("`{name}`"), expected: shape_text(shape), got }
    }
}

impl Parameters for PlainMemory {
    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn read(&self, index: usize) -> Result<Stored> {
        match &self.arrays[index] {
            Array::Count(count) => Ok(Stored::Count(*count)),
            Array::Filed(values) => {
                values.floats(self.parameters[index].elements()).map(Stored::Floats)
            }
            Array::Floats(values) => copied(values.as_slice())
                .map(Stored::Floats)
                .map_err(|shortage| shortage.at(self.parameters[index].name.as_str())),
        }
    }

    fn floats(&self, index: usize) -> Result<Option<Cow<'_, [f32]>>> {
        Ok(match &self.arrays[index] {
            Array::Floats(values) => Some(Cow::Borrowed(values.as_slice())),
            Array::Filed(values) => {
                Some(Cow::Owned(values.floats(self.parameters[index].elements())?))
            }
            Array::Count(_) => None,
        })
    }

    fn floats_mut(&mut self, index: usize) -> Result<Option<&mut [f32]>> {
        self.changes += 1;
        if let Array::Filed(values) = &self.arrays[index] {
            let parameter = &self.parameters[index];
            let own = Buffer::zeros(parameter.elements());
            let mut own = own.map_err(|shortage| shortage.at(parameter.name.as_str()))?;
            values.read(own.as_mut_slice())?;
            self.arrays[index] = Array::Floats(own);
        }
        Ok(match &mut self.arrays[index] {
            Array::Floats(values) => Some(values.as_mut_slice()),
            Array::Filed(_) | Array::Count(_) => None,
        })
    }

    fn leave_in_file(&mut self, index: usize, values: Filed) -> bool {
        self.changes += 1;
        self.arrays[index] = Array::Filed(values);
        true
    }

    fn write_floats(&mut self, index: usize, values: &[f32]) -> Result<()> {
        match self.floats_mut(index)? {
            Some(own) if own.len() == values.len() => own.copy_from_slice(values),
            _ => return Err(self.refused(index, format!("{} values", values.len()))),
        }
        Ok(())
    }

    fn write_count(&mut self, index: usize, count: i64) -> Result<()> {
        self.changes += 1;
        match &mut self.arrays[index] {
            Array::Count(own) => *own = count,
            Array::Floats(_) | Array::Filed(_) => return Err(self.refused(index, "a count".into())),
        }
        Ok(())
    }

    fn redraw(&mut self, graph: &Graph, recipe: Recipe, seed: u64) -> Result<()> {
        let parameters = graph.parameters();
        let kept = kept(&self.parameters, graph, &parameters);
        let new = parameters.iter().zip(&kept).filter(|(_, old)| old.is_none());
        let mut new = fresh(&new.map(|(p, _)| p).collect::<Vec<_>>(), recipe, seed)?.into_iter();
        self.changes += 1;
        let mut take = |index: usize| std::mem::replace(&mut self.arrays[index], Array::Count(0));
        let arrays = kept.into_iter().filter_map(|old| old.map(&mut take).or_else(|| new.next()));
        self.arrays = arrays.collect();
        self.parameters = parameters;
        Ok(())
    }
}

/// New arrays for `parameters`, all initialised at once.
fn fresh(parameters: &[&Parameter], recipe: Recipe, seed: u64) -> Result<Vec<Array>> {
    has_room_for(parameters)?;
    let mut arrays: Vec<Array> = parameters.iter().map(|_| Array::Count(0)).collect();
    // Small ones beside each other, so that large ones that stay in a file take no part of their pages.
    let mut by_size: Vec<usize> = (0..parameters.len()).collect();
    by_size.sort_by_key(|&index| parameters[index].elements());
    for index in by_size {
        let parameter = parameters[index];
        if parameter.role != Role::BatchCount {
            let values = Buffer::zeros(parameter.elements());
            let values = values.map_err(|shortage| shortage.at(parameter.name.as_str()))?;
            arrays[index] = Array::Floats(values);
        }
    }
    let drawn = parameters.iter().zip(&mut arrays).filter_map(|(parameter, array)| match array {
        Array::Floats(values) => {
            // Zeros are there already, and take no memory until somebody writes to them.
            let draw = Some(recipe.draw(parameter)).filter(|draw| *draw != Draw::Constant(0.0))?;
            Some(Fresh { name: &parameter.name, draw, values: values.as_mut_slice() })
        }
        Array::Filed(_) | Array::Count(_) => None,
    });
    fill(drawn.collect(), seed);
    Ok(arrays)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{Dtype, Value};

    const TINY: &str = include_str!("../../tests/weights/tiny.txt");

    fn graph(classes: usize) -> Graph {
        TINY.parse::<Graph>().unwrap().with_classes(classes).unwrap()
    }

    fn fresh(seed: u64) -> PlainMemory {
        PlainMemory::new(&graph(3), Recipe::RESNET, seed).unwrap()
    }

    fn index(parameters: &PlainMemory, name: &str) -> usize {
        parameters.parameters().iter().position(|parameter| parameter.name == name).unwrap()
    }

    #[test]
    fn values_follow_from_the_seed() {
        let first = fresh(1).snapshot().unwrap();
        assert_eq!(first, fresh(1).snapshot().unwrap());
        assert_eq!(first, fresh(1).duplicate().unwrap().snapshot().unwrap());
        assert_ne!(first, fresh(2).snapshot().unwrap());
        let shapes: Vec<(&str, &[usize])> =
            first.iter().map(|(name, shape, _)| (name.as_str(), &shape[..])).collect();
        assert_eq!(shapes[0], ("conv.weight", &[4, 3, 3, 3][..]));
        assert_eq!(shapes.last(), Some(&("fc.bias", &[3][..])));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut parameters = fresh(1);
        let (scale, count) =
            (index(&parameters, "norm.weight"), index(&parameters, "norm.num_batches_tracked"));
        let floats = |shape: &[usize]| {
            let bytes = [1.5_f32; 4].iter().flat_map(|value| value.to_le_bytes()).collect();
            Value { dtype: Dtype::F32, shape: shape.to_vec(), bytes }
        };
        parameters.load(scale, &floats(&[4])).unwrap();
        assert_eq!(parameters.read(scale).unwrap(), Stored::Floats(vec![1.5; 4]));
        let error = parameters.load(scale, &floats(&[2, 2])).unwrap_err();
        assert_eq!(error.to_string(), "`norm.weight`: expected (4,), got (2, 2)");
        let bytes = 7_i64.to_le_bytes().to_vec().into();
        parameters.load(count, &Value { dtype: Dtype::I64, shape: vec![], bytes }).unwrap();
        assert_eq!(parameters.read(count).unwrap(), Stored::Count(7));
        assert!(parameters.write_count(scale, 1).is_err());
        assert!(parameters.write_floats(count, &[1.0]).is_err());
        assert!(parameters.write_floats(scale, &[1.0]).is_err());
    }

    #[test]
    fn a_new_classifier_leaves_the_rest() {
        let mut parameters = fresh(1);
        let before = parameters.snapshot().unwrap();
        // Of the same size, so that its values are what differs.
        parameters.redraw(&graph(3), Recipe::RESNET, 2).unwrap();
        let after = parameters.snapshot().unwrap();
        for (old, new) in before.iter().zip(&after) {
            assert_eq!(old == new, !old.0.starts_with("fc."), "{}", old.0);
        }
        parameters.redraw(&graph(5), Recipe::RESNET, 2).unwrap();
        let after = parameters.snapshot().unwrap();
        assert_eq!(after.last().unwrap().1, [5]);
        assert_eq!(after[0], before[0]);
    }
}
