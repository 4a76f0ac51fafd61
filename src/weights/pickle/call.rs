//! Calls of the allowed functions and classes: `torch/_utils.py` of PyTorch.

use super::globals::{Element, Global};
use super::machine::Machine;
use super::object::{Array, Id, NumpyType, Object, Storage, Tensor};
use crate::weights::refusal::Refusal;

/// PyTorch's own limit is 64.
const MOST_DIMENSIONS: usize = 64;

impl<'a> Machine<'a> {
    /// The object made by the call `global(*arguments)`.
    pub(super) fn call(&mut self, global: Global, arguments: Id) -> Result<Id, Refusal> {
        let given = self.items(arguments)?;
        let wrong = |machine: &Self| {
            machine.misplaced(&format!("arguments of `{}`", global.name()), arguments)
        };
        match (global, given.as_slice()) {
            (Global::Opaque(name), _) => Ok(self.add(Object::Opaque(name))),
            (Global::Mapping("collections.defaultdict"), [_]) | (Global::Mapping(_), []) => {
                Ok(self.add(Object::Dict(Vec::new())))
            }
            (Global::Mapping("collections.OrderedDict"), &[items]) => self.ordered_dict(items),
            (Global::Size, &[items]) if matches!(self.object(items), Object::Tuple(_)) => Ok(items),
            (Global::RebuildTensor, &[storage, offset, size, stride]) => {
                self.tensor(storage, None, [offset, size, stride])
            }
            (
                Global::RebuildTensorV2,
                &[storage, offset, size, stride, _, _, ref metadata @ ..],
            ) if metadata.len() < 2 => {
                self.no_metadata(metadata)?;
                self.tensor(storage, None, [offset, size, stride])
            }
            (
                Global::RebuildTensorV3,
                &[storage, offset, size, stride, _, _, dtype, ref metadata @ ..],
            ) if metadata.len() < 2 => {
                self.no_metadata(metadata)?;
                let Object::Global(Global::Dtype(element)) = *self.object(dtype) else {
                    return Err(self.misplaced("a dtype", dtype));
                };
                self.tensor(storage, Some(*element), [offset, size, stride])
            }
            (Global::RebuildParameter, &[data, _, _])
            | (Global::RebuildParameterWithState, &[data, _, _, _])
            | (Global::Parameter, &[data] | &[data, _]) => match self.object(data) {
                Object::Tensor(_) => Ok(data),
                _ => Err(self.misplaced("a tensor to make a parameter of", data)),
            },
            (Global::RebuildFromType, &[function, _, arguments, _]) => match *self.object(function)
            {
                // One step down only, or a crafted file could nest these as deep as it likes.
                Object::Global(inner) if inner != Global::RebuildFromType => {
                    self.call(inner, arguments)
                }
                _ => Err(self.misplaced("a function that rebuilds a tensor", function)),
            },
            (Global::Encode, &[text, ref codec @ ..]) if codec.len() < 2 => {
                let latin = |codec: &Id| matches!(self.object(*codec), Object::Text("latin1"));
                match *self.object(text) {
                    Object::Text(text) if codec.iter().all(latin) => {
                        Ok(self.add(Object::Encoded(text)))
                    }
                    _ => Ok(self.add(Object::Opaque("bytes"))),
                }
            }
            (Global::NumpyType, &[code, ..]) => match *self.object(code) {
                Object::Text(code) => {
                    let (code, big_endian) = match code.strip_prefix('>') {
                        Some(code) => (code, true),
                        None => (code.trim_start_matches(['<', '|', '=']), false),
                    };
                    Ok(self.add(Object::Element(NumpyType { code, big_endian })))
                }
                _ => Ok(self.add(Object::Opaque("numpy.dtype"))),
            },
            (Global::NumpyReconstruct, _) => Ok(self.add(Object::Unfilled)),
            (Global::NumpyFromBuffer, &[bytes, element, shape, order]) => {
                let fortran = self.text(order)? == "F";
                let array = self.array([element, shape, bytes], fortran)?;
                Ok(self.add(array))
            }
            _ => Err(wrong(self)),
        }
    }

    /// A NumPy array; where its bytes are stored elsewhere, as for objects, only the class is kept.
    fn array(
        &mut self,
        [element, shape, bytes]: [Id; 3],
        fortran: bool,
    ) -> Result<Object<'a>, Refusal> {
        let shape = self.sizes(shape)?;
        if shape.len() > MOST_DIMENSIONS {
            return Err(self.misplaced("a NumPy array of at most 64 dimensions", bytes));
        }
        Ok(match (self.object(element), self.object(bytes)) {
            (&Object::Element(element), Object::Bytes(_) | Object::Encoded(_)) => {
                Object::Array(Box::new(Array { element, shape, fortran, bytes }))
            }
            _ => Object::Opaque("numpy.ndarray"),
        })
    }

    /// BUILD on a NumPy array or element type.
    pub(super) fn build_numpy(&mut self, object: Id, state: Id) -> Result<(), Refusal> {
        let state = self.items(state)?;
        let built = match (self.object(object), state.as_slice()) {
            (&Object::Element(element), &[_, order, ..]) => {
                let big_endian = matches!(self.object(order), Object::Text(">"));
                Object::Element(NumpyType { big_endian, ..element })
            }
            (Object::Unfilled, &[_, shape, element, fortran, bytes]) => {
                let fortran = matches!(self.object(fortran), Object::Bool(true));
                self.array([element, shape, bytes], fortran)?
            }
            _ => return Err(self.misplaced("the state of a NumPy array", object)),
        };
        self.replace(object, built);
        Ok(())
    }

    /// Python 2 pickled an `OrderedDict` as a list of pairs.
    fn ordered_dict(&mut self, items: Id) -> Result<Id, Refusal> {
        let pairs = self.items(items)?;
        let mut dict = Vec::with_capacity(pairs.len());
        for pair in pairs {
            match self.object(pair) {
                Object::List(pair) | Object::Tuple(pair) if pair.len() == 2 => {
                    dict.push((pair[0], pair[1]));
                }
                _ => return Err(self.misplaced("a pair of key and value", pair)),
            }
        }
        Ok(self.add(Object::Dict(dict)))
    }

    fn tensor(
        &mut self,
        storage: Id,
        element: Option<Element>,
        [offset, size, stride]: [Id; 3],
    ) -> Result<Id, Refusal> {
        let Object::Storage(of) = self.object(storage) else {
            return Err(self.misplaced("a storage", storage));
        };
        let storage = **of;
        let (shape, strides) = (self.sizes(size)?, self.sizes(stride)?);
        if shape.len() != strides.len() || shape.len() > MOST_DIMENSIONS {
            return Err(self.misplaced("a stride for each of at most 64 dimensions", stride));
        }
        let element = element.unwrap_or(storage.element);
        let offset = self.size(offset)?;
        Ok(self.add(Object::Tensor(Box::new(Tensor { storage, element, offset, shape, strides }))))
    }

    /// Fails on metadata bits that change the values: lazily negated or conjugated tensors.
    fn no_metadata(&self, metadata: &[Id]) -> Result<(), Refusal> {
        match metadata {
            [] => Ok(()),
            &[metadata, ..] => match self.object(metadata) {
                Object::None => Ok(()),
                Object::Dict(items) if items.is_empty() => Ok(()),
                _ => Err(self.misplaced("a tensor without lazy negation or conjugation", metadata)),
            },
        }
    }

    /// `("storage", class, key, location, elements)`, and in old files a view of it.
    pub(super) fn persistent(&mut self, id: Id) -> Result<Id, Refusal> {
        let parts = self.items(id)?;
        let Some((&[kind, class, key, _, elements], view)) = parts.split_first_chunk::<5>() else {
            return Err(self.misplaced("a reference to a storage", id));
        };
        let Object::Global(Global::Storage(element)) = *self.object(class) else {
            return Err(self.misplaced("a storage class", class));
        };
        if self.text(kind)? != "storage" {
            return Err(self.misplaced("a reference to a storage", kind));
        }
        let view = match view {
            [] => None,
            &[view] => self.view(view)?,
            _ => return Err(self.misplaced("a reference to a storage", id)),
        };
        let elements = self.size(elements)?;
        let storage = Storage { key: self.text(key)?, element: *element, elements, view };
        Ok(self.add(Object::Storage(Box::new(storage))))
    }

    /// `(key, offset, length)` or None.
    fn view(&mut self, view: Id) -> Result<Option<(usize, usize)>, Refusal> {
        if matches!(self.object(view), Object::None) {
            return Ok(None);
        }
        match *self.items(view)? {
            [_, offset, length] => Ok(Some((self.size(offset)?, self.size(length)?))),
            _ => Err(self.misplaced("a view of a storage", view)),
        }
    }

    /// A copy of a tuple or list, which counts as work, since it may be referenced again and again.
    fn items(&mut self, id: Id) -> Result<Vec<Id>, Refusal> {
        let (Object::Tuple(items) | Object::List(items)) = self.object(id) else {
            return Err(self.misplaced("a tuple", id));
        };
        let items = items.clone();
        self.spend(items.len())?;
        Ok(items)
    }

    fn sizes(&mut self, id: Id) -> Result<Vec<usize>, Refusal> {
        let items = self.items(id)?;
        items.into_iter().map(|item| self.size(item)).collect()
    }

    fn size(&self, id: Id) -> Result<usize, Refusal> {
        match *self.object(id) {
            Object::Int(value) => {
                usize::try_from(value).map_err(|_| self.misplaced("a size of zero or more", id))
            }
            _ => Err(self.misplaced("a size", id)),
        }
    }
}
