//! A network that is being written: each node of the graph becomes operators, which bear its name.

use std::collections::{HashMap, HashSet};

use super::content::{Content, Element, Initialiser, read};
use super::network::{Attribute, Network, Node, Size, Typed};
use super::options::{Image, Options};
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, Role, Shape};
use crate::weights::Parameters;

/// The value of a node of the graph.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub name: String,
    /// For images of the size that is written; where any is, of the size that the graph is drawn for.
    pub shape: Shape,
    /// Whether its height and width, or number of tokens, depend on the size of the images, of which any is allowed.
    pub free: bool,
    /// Whether there is one for the whole batch, and not one for each image.
    pub shared: bool,
}

pub(super) struct Draft<'a> {
    pub graph: &'a Graph,
    pub options: &'a Options,
    parameters: &'a dyn Parameters,
    /// For each node, the indices of its parameters.
    arrays: HashMap<NodeId, Vec<usize>>,
    /// Names that no node's value may have.
    taken: HashSet<String>,
    nodes: Vec<Node>,
    initialisers: Vec<Initialiser>,
    /// The initialisers' names.
    read: HashSet<String>,
    typed: Vec<Typed>,
    /// The names of these, and of the input and the output.
    noted: HashSet<String>,
    batch: Option<String>,
}

impl<'a> Draft<'a> {
    /// Fails with `Error::Argument` where the input or the output has the name of a parameter.
    pub(super) fn new(
        graph: &'a Graph,
        parameters: &'a dyn Parameters,
        options: &'a Options,
    ) -> Result<Self> {
        let mut arrays: HashMap<NodeId, Vec<usize>> = HashMap::new();
        let mut taken: HashSet<String> = options.names.iter().cloned().collect();
        for (index, parameter) in parameters.parameters().iter().enumerate() {
            arrays.entry(parameter.node).or_default().push(index);
            if !taken.insert(parameter.name.clone()) {
                return Err(Error::Argument {
                    at: "`input_name`, `output_name`".into(),
                    expected: "names that no parameter has".into(),
                    got: format!("`{}`", parameter.name),
                });
            }
        }
        Ok(Self {
            graph,
            options,
            parameters,
            arrays,
            taken,
            nodes: Vec::new(),
            initialisers: Vec::new(),
            read: HashSet::new(),
            typed: Vec::new(),
            noted: options.names.iter().cloned().collect(),
            batch: None,
        })
    }

    /// The name of a node's value, which is that of the output if each image has one.
    pub(super) fn name_of(&self, id: NodeId, shared: bool) -> String {
        let name = &self.graph.node(id).name;
        if id == self.graph.output() && !shared {
            self.options.names[1].clone()
        } else if self.taken.contains(name) {
            format!("{name}/value")
        } else {
            name.clone()
        }
    }

    pub(super) fn node(
        &mut self,
        name: String,
        operator: &'static str,
        inputs: impl IntoIterator<Item = String>,
        outputs: &[String],
        attributes: Vec<(&'static str, Attribute)>,
    ) {
        let (inputs, outputs) = (inputs.into_iter().collect(), outputs.to_vec());
        self.nodes.push(Node { name, operator, inputs, outputs, attributes });
    }

    /// The name of an array, which is added unless it is there.
    pub(super) fn initialiser(
        &mut self,
        name: String,
        shape: Vec<usize>,
        content: Content,
    ) -> String {
        if self.read.insert(name.clone()) {
            self.initialisers.push(Initialiser { name: name.clone(), shape, content });
        }
        name
    }

    /// The index of a node's parameter in the state dict.
    pub(super) fn parameter(&self, id: NodeId, role: impl Fn(Role) -> bool) -> Option<usize> {
        let all = self.parameters.parameters();
        let of = self.arrays.get(&id)?;
        of.iter().copied().find(|&index| role(all[index].role))
    }

    /// The name and shape of a parameter.
    pub(super) fn named(&self, index: usize) -> (String, Vec<usize>) {
        let parameter = &self.parameters.parameters()[index];
        (parameter.name.clone(), parameter.shape.clone())
    }

    /// The numbers of a small parameter, wanted now.
    pub(super) fn numbers(&self, index: usize) -> Result<Vec<f64>> {
        Ok(read(self.parameters, index)?.iter().map(|&number| f64::from(number)).collect())
    }

    /// The number of images, as a list of one number.
    pub(super) fn batch(&mut self) -> String {
        if let Some(batch) = &self.batch {
            return batch.clone();
        }
        let input = self.options.names[0].clone();
        let name = format!("{input}/batch");
        if let Some(count) = self.options.batch {
            self.initialiser(name.clone(), vec![1], Content::Integers(vec![count as i64]));
        } else {
            let first = vec![("start", Attribute::Integer(0)), ("end", Attribute::Integer(1))];
            self.node(name.clone(), "Shape", [input], std::slice::from_ref(&name), first);
        }
        self.batch = Some(name.clone());
        name
    }

    /// Notes the type of a node's value, which those who read the file check.
    pub(super) fn note(&mut self, value: &Value) {
        if !self.read.contains(&value.name) && self.noted.insert(value.name.clone()) {
            self.typed.push(self.typed(value));
        }
    }

    fn typed(&self, value: &Value) -> Typed {
        let side = |size| if value.free { Size::Unknown } else { Size::Fixed(size) };
        let each = match value.shape {
            Shape::Image { channels, height, width } => {
                vec![Size::Fixed(channels), side(height), side(width)]
            }
            Shape::Tokens { count, width } => vec![side(count), Size::Fixed(width)],
            Shape::Vector { features } => vec![Size::Fixed(features)],
        };
        let first = if value.shared { Size::Fixed(1) } else { self.images() };
        let sizes = std::iter::once(first).chain(each).collect();
        Typed { name: value.name.clone(), element: Element::Float, sizes }
    }

    fn images(&self) -> Size {
        self.options.batch.map_or(Size::Named("batch"), Size::Fixed)
    }

    /// The network whose output is this value.
    pub(super) fn finish(self, output: &Value) -> Network {
        let input = self.graph.input();
        let (height, width) = match self.options.image {
            Image::Any => (Size::Named("height"), Size::Named("width")),
            Image::Fixed { height, width } => (Size::Fixed(height), Size::Fixed(width)),
        };
        let channels = Size::Fixed(input.channels);
        let (element, sizes) = if self.options.normalize.is_some() {
            (Element::Byte, vec![self.images(), height, width, channels])
        } else {
            (Element::Float, vec![self.images(), channels, height, width])
        };
        Network {
            name: self.graph.name().to_owned(),
            input: Typed { name: self.options.names[0].clone(), element, sizes },
            output: self.typed(output),
            nodes: self.nodes,
            initialisers: self.initialisers,
            values: self.typed,
        }
    }
}
