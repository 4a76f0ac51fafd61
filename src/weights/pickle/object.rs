//! The objects of a pickle.

use super::globals::{Element, Global};
use crate::weights::refusal::shorten;
use crate::weights::value::Dtype;

/// The index of an object in its [`Pickle`].
pub(crate) type Id = u32;

/// Plain data. Text and bytes are borrowed from the pickle.
#[derive(Debug)]
pub(crate) enum Object<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits, little-endian two's complement.
    BigInt(&'a [u8]),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// A dict, `OrderedDict` or `defaultdict`; keys may repeat, as in the file.
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Box<Storage<'a>>),
    Tensor(Box<Tensor<'a>>),
    /// Bytes as text, one character per byte, as in protocol 2.
    Encoded(&'a str),
    /// A NumPy element type.
    Element(NumpyType<'a>),
    /// A NumPy array before BUILD sets its contents.
    Unfilled,
    /// A NumPy array.
    Array(Box<Array<'a>>),
    /// An object of a harmless class; only the class is kept.
    Opaque(&'static str),
}

/// A reference to raw elements that the file holds outside of the pickle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storage<'a> {
    pub(crate) key: &'a str,
    pub(crate) element: Element,
    /// The storage's number of elements, as claimed by the pickle.
    pub(crate) elements: usize,
    /// A view of the storage, in elements: offset and length.
    pub(crate) view: Option<(usize, usize)>,
}

/// A tensor over a storage, not yet checked against it.
#[derive(Debug)]
pub(crate) struct Tensor<'a> {
    pub(crate) storage: Storage<'a>,
    pub(crate) element: Element,
    /// Offset in elements of `element`.
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
}

/// NumPy's name of an element type, such as `f4`, and its byte order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NumpyType<'a> {
    pub(crate) code: &'a str,
    pub(crate) big_endian: bool,
}

impl std::fmt::Display for NumpyType<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let order = if self.big_endian { "big-endian " } else { "" };
        write!(f, "{order}{}", shorten(self.code))
    }
}

/// A NumPy array, not yet checked against its bytes.
#[derive(Debug)]
pub(crate) struct Array<'a> {
    pub(crate) element: NumpyType<'a>,
    pub(crate) shape: Vec<usize>,
    /// Fortran order: the first axis is contiguous.
    pub(crate) fortran: bool,
    /// The id of an object `Bytes` or `Encoded`.
    pub(crate) bytes: Id,
}

impl Array<'_> {
    /// Its element type, if it can be read.
    pub(crate) fn dtype(&self) -> Option<Dtype> {
        if self.element.big_endian {
            return None;
        }
        Some(match self.element.code {
            "f8" => Dtype::F64,
            "f4" => Dtype::F32,
            "f2" => Dtype::F16,
            "i8" => Dtype::I64,
            "i4" => Dtype::I32,
            "i2" => Dtype::I16,
            "i1" => Dtype::I8,
            "u1" => Dtype::U8,
            "b1" => Dtype::Bool,
            _ => return None,
        })
    }
}

/// All objects of a pickle.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    pub(super) objects: Vec<Object<'a>>,
    pub(super) root: Id,
    pub(super) length: usize,
}

impl<'a> Pickle<'a> {
    pub(crate) fn get(&self, id: Id) -> &Object<'a> {
        &self.objects[id as usize]
    }

    pub(crate) fn root(&self) -> Id {
        self.root
    }

    /// The number of bytes up to and including the STOP opcode.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Every storage that is referenced, in the order of the pickle.
    pub(crate) fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.objects.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(&**storage),
            _ => None,
        })
    }

    /// A short description of an object, for messages.
    pub(crate) fn describe(&self, id: Id) -> String {
        describe(self.get(id))
    }

    /// A dict's key as text.
    pub(crate) fn name(&self, id: Id) -> String {
        match self.get(id) {
            Object::Text(text) => shorten(text),
            other => describe(other),
        }
    }
}

pub(super) fn describe(object: &Object<'_>) -> String {
    match object {
        Object::None => "None".to_owned(),
        Object::Bool(true) => "True".to_owned(),
        Object::Bool(false) => "False".to_owned(),
        Object::Int(value) => format!("the int {value}"),
        Object::BigInt(_) => "a big int".to_owned(),
        Object::Float(value) => format!("the float {value}"),
        Object::Text(text) => format!("the str {:?}", shorten(text)),
        Object::Bytes(bytes) => format!("bytes of length {}", bytes.len()),
        Object::Tuple(items) => format!("a tuple of length {}", items.len()),
        Object::List(items) => format!("a list of length {}", items.len()),
        Object::Dict(items) => format!("a dict of length {}", items.len()),
        Object::Global(global) => format!("`{}`", global.name()),
        Object::Storage(storage) => format!("a storage of {}", storage.element.name),
        Object::Tensor(tensor) => format!("a tensor of {}", tensor.element.name),
        Object::Encoded(text) => format!("bytes of length {}", text.chars().count()),
        Object::Element(element) => format!("the NumPy type {element}"),
        Object::Unfilled => "an empty NumPy array".to_owned(),
        Object::Array(array) => format!("a NumPy array of {}", array.element),
        Object::Opaque(class) => format!("an object of `{class}`"),
    }
}
