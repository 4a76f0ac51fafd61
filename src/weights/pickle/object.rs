//! What a pickle describes.

use super::globals::{Element, Global};

/// The number of an object in its [`Pickle`].
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
    /// An object of a harmless class, of which only the class is kept.
    Opaque(&'static str),
}

/// A reference to raw elements that the file holds outside of the pickle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storage<'a> {
    pub(crate) key: &'a str,
    pub(crate) element: Element,
    /// Elements that the storage claims to have.
    pub(crate) elements: usize,
    /// The part that this is of it, in elements: offset and length.
    pub(crate) view: Option<(usize, usize)>,
}

/// A tensor over a storage; nothing is checked against the storage yet.
#[derive(Debug)]
pub(crate) struct Tensor<'a> {
    pub(crate) storage: Storage<'a>,
    pub(crate) element: Element,
    /// In elements of `element`.
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
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

    /// Bytes up to and including the STOP opcode.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Every storage that is mentioned, in the order of the pickle.
    pub(crate) fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.objects.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(&**storage),
            _ => None,
        })
    }

    /// An object in a few words, for messages.
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
        Object::Opaque(class) => format!("an object of `{class}`"),
    }
}

const LONGEST_NAME: usize = 60;

pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
