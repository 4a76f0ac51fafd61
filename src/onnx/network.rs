//! A network in ONNX's terms: operators between named values, and the arrays that they read.

use super::content::{Element, Initialiser};

/// An operator.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub name: String,
    pub operator: &'static str,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attributes: Vec<(&'static str, Attribute)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Attribute {
    Float(f32),
    Integer(i64),
    Text(&'static str),
    Integers(Vec<i64>),
}

/// An axis of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Size {
    Fixed(usize),
    Named(&'static str),
    Unknown,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Typed {
    pub name: String,
    pub element: Element,
    pub sizes: Vec<Size>,
}

#[derive(Clone, Debug)]
pub(super) struct Network {
    pub name: String,
    pub input: Typed,
    pub output: Typed,
    pub nodes: Vec<Node>,
    pub initialisers: Vec<Initialiser>,
    /// The values of nodes between the input and the output.
    pub values: Vec<Typed>,
}
