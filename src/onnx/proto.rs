//! A network as the messages of onnx.proto, whose field numbers these are.

use super::content::{Element, Initialiser};
use super::network::{Attribute, Network, Node, Size, Typed};
use super::options::Options;
use super::protobuf::Message;

/// Where the numbers of an array lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the message.
    Inside,
    /// In the file beside it, at this offset.
    Beside(usize),
}

/// A `ModelProto`. The content of an array has its number; `beside` is the name of the other file.
pub(super) fn model(
    network: &Network,
    options: &Options,
    format: i64,
    places: &[Place],
    beside: &str,
) -> Message {
    let mut model = Message::default();
    model.integer(1, format);
    model.text(2, "cnnzoo");
    model.text(3, env!("CARGO_PKG_VERSION"));
    model.message(7, graph(network, places, beside));
    let mut operators = Message::default();
    operators.text(1, "");
    operators.integer(2, options.opset as i64);
    model.message(8, operators);
    for (key, value) in &options.metadata {
        model.message(14, entry(key, value));
    }
    model
}

/// A `StringStringEntryProto`.
fn entry(key: &str, value: &str) -> Message {
    let mut entry = Message::default();
    entry.text(1, key);
    entry.text(2, value);
    entry
}

/// A `GraphProto`.
fn graph(network: &Network, places: &[Place], beside: &str) -> Message {
    let mut graph = Message::default();
    network.nodes.iter().for_each(|of| graph.message(1, node(of)));
    graph.text(2, &network.name);
    for (number, (of, &place)) in network.initialisers.iter().zip(places).enumerate() {
        graph.message(5, tensor(of, number, place, beside));
    }
    graph.message(11, value(&network.input));
    graph.message(12, value(&network.output));
    network.values.iter().for_each(|of| graph.message(13, value(of)));
    graph
}

/// A `NodeProto`.
fn node(of: &Node) -> Message {
    let mut node = Message::default();
    of.inputs.iter().for_each(|input| node.text(1, input));
    of.outputs.iter().for_each(|output| node.text(2, output));
    node.text(3, &of.name);
    node.text(4, of.operator);
    for (name, value) in &of.attributes {
        node.message(5, attribute(name, value));
    }
    node
}

/// An `AttributeProto`.
fn attribute(name: &str, value: &Attribute) -> Message {
    let mut attribute = Message::default();
    attribute.text(1, name);
    let kind = match value {
        Attribute::Float(value) => {
            attribute.float(2, *value);
            1
        }
        Attribute::Integer(value) => {
            attribute.integer(3, *value);
            2
        }
        Attribute::Text(value) => {
            attribute.text(4, value);
            3
        }
        Attribute::Integers(values) => {
            for &value in values {
                attribute.integer(8, value);
            }
            7
        }
    };
    attribute.integer(20, kind);
    attribute
}

/// A `TensorProto`.
fn tensor(of: &Initialiser, number: usize, place: Place, beside: &str) -> Message {
    let mut tensor = Message::default();
    of.shape.iter().for_each(|&size| tensor.integer(1, size as i64));
    tensor.integer(2, kind(of.element()));
    tensor.text(8, &of.name);
    match place {
        Place::Inside => tensor.content(9, number, of.length()),
        Place::Beside(offset) => {
            tensor.message(13, entry("location", beside));
            tensor.message(13, entry("offset", &offset.to_string()));
            tensor.message(13, entry("length", &of.length().to_string()));
            tensor.integer(14, 1);
        }
    }
    tensor
}

/// The number of an element type.
fn kind(element: Element) -> i64 {
    match element {
        Element::Float => 1,
        Element::Byte => 2,
        Element::Integer => 7,
    }
}

/// A `ValueInfoProto`.
fn value(of: &Typed) -> Message {
    let mut sizes = Message::default();
    for size in &of.sizes {
        let mut axis = Message::default();
        match size {
            Size::Fixed(size) => axis.integer(1, *size as i64),
            Size::Named(name) => axis.text(2, name),
            Size::Unknown => {}
        }
        sizes.message(1, axis);
    }
    let (mut array, mut kinds, mut value) =
        (Message::default(), Message::default(), Message::default());
    array.integer(1, kind(of.element));
    array.message(2, sizes);
    kinds.message(1, array);
    value.text(1, &of.name);
    value.message(2, kinds);
    value
}
