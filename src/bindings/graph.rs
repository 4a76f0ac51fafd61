//! `cnnzoo.Graph`: an architecture as data.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::errors::detached;
use crate::error::Result;
use crate::graph::{self, Cost, NodeId};

/// An architecture as data: named nodes in the order in which they run.
#[pyclass(frozen, module = "cnnzoo")]
pub(super) struct Graph(pub(super) Arc<graph::Graph>);

/// A node and its cost: name, op, inputs, shape, params, macs, bytes, receptive field and step (or `None`).
type Row = (
    String,
    &'static str,
    Vec<String>,
    Vec<usize>,
    u64,
    u64,
    u64,
    Option<(usize, usize)>,
    Option<(usize, usize)>,
);

/// A node as the graph's text has it: name, op, inputs, and the fields of the op as a JSON object.
type Operation = (String, &'static str, Vec<String>, String);

/// A part: kind, name, the position of its first node, and that after its last one.
type PartRow = (&'static str, String, usize, usize);

#[pymethods]
impl Graph {
    /// Parses the text form and checks every rule.
    #[staticmethod]
    fn parse(py: Python<'_>, text: &str) -> PyResult<Self> {
        detached(py, || text.parse()).map(|graph| Self(Arc::new(graph)))
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    /// Copies and pickles hold the text form.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((slf.get_type().getattr("parse")?, (slf.get().0.to_string(),)))
    }

    fn __repr__(&self) -> String {
        format!("<Graph {}: {} nodes>", self.0.name(), self.0.nodes().len())
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// Names of all nodes, in the order in which they run.
    fn nodes(&self) -> Vec<&str> {
        self.0.nodes().iter().map(|node| node.name.as_str()).collect()
    }

    /// Names of the last node of each resolution, the finest first.
    fn pyramid(&self) -> Vec<&str> {
        self.0.pyramid().into_iter().map(|id| self.0.node(id).name.as_str()).collect()
    }

    /// The attentions between tokens: node, node of queries, keys and values, number of heads.
    fn attentions(&self) -> Vec<(&str, &str, usize)> {
        let name = |id| self.0.node(id).name.as_str();
        let layers = self.0.attentions().into_iter();
        layers.map(|layer| (name(layer.node), name(layer.queries), layer.heads)).collect()
    }

    /// The convolutions that read the image.
    fn first_convolutions(&self) -> Vec<&str> {
        let found = self.0.first_convolutions().into_iter();
        found.map(|id| self.0.node(id).name.as_str()).collect()
    }

    /// The last value that says where in the image something is; none if there is none.
    fn focus(&self) -> Option<&str> {
        self.0.focus().map(|id| self.0.node(id).name.as_str())
    }

    /// The grid of a node's value for one image of this size: number of tokens before those of the grid, rows, columns;
    /// none of a vector.
    fn grid(
        &self,
        node: &str,
        height: usize,
        width: usize,
    ) -> PyResult<Option<(usize, usize, usize)>> {
        let grid = self.0.grid(self.id(node)?, height, width)?;
        Ok(grid.map(|grid| (grid.before, grid.height, grid.width)))
    }

    /// The pixels (top, bottom, left, right) of one image of this size that a cell of a node's grid depends on; none where
    /// these are all.
    fn field(
        &self,
        node: &str,
        cell: (usize, usize),
        height: usize,
        width: usize,
    ) -> PyResult<Option<(usize, usize, usize, usize)>> {
        let found = self.0.field(self.id(node)?, cell, (height, width))?;
        Ok(found.map(|graph::Field { rows, columns }| {
            (rows.start, rows.end, columns.start, columns.end)
        }))
    }

    /// The node of this name, or the last one below that path.
    fn find(&self, node: &str) -> PyResult<&str> {
        Ok(&self.0.node(self.id(node)?).name)
    }

    /// (channels, height, width) of the image for which the graph was built.
    #[getter]
    fn input_shape(&self) -> (usize, usize, usize) {
        let input = self.0.input();
        (input.channels, input.height, input.width)
    }

    /// A row for every node that the logits need, for one image of this size.
    fn rows(&self, height: usize, width: usize) -> PyResult<Vec<Row>> {
        let cost: Cost = self.0.cost(height, width)?;
        let pair = |pair: graph::op::Pair| (pair.height, pair.width);
        Ok(cost
            .nodes
            .iter()
            .map(|row| {
                let node = self.0.node(row.node);
                (
                    node.name.clone(),
                    node.op.name(),
                    node.inputs.iter().map(|&input| self.0.node(input).name.clone()).collect(),
                    row.shape.sizes(),
                    row.params,
                    row.macs,
                    row.bytes(),
                    row.receptive.map(|sees| pair(sees.size)),
                    row.receptive.map(|sees| pair(sees.step)),
                )
            })
            .collect())
    }

    /// Every node, those of auxiliary classifiers too.
    fn operations(&self) -> Vec<Operation> {
        let name = |&id: &graph::NodeId| self.0.node(id).name.clone();
        let nodes = self.0.nodes().iter();
        nodes
            .map(|node| {
                let inputs = node.inputs.iter().map(name).collect();
                (node.name.clone(), node.op.name(), inputs, node.fields())
            })
            .collect()
    }

    /// The shape of every node's value for one image of this size; `None` where the logits do not need a node and it does
    /// not take so small an image.
    fn shapes(&self, height: usize, width: usize) -> PyResult<Vec<Option<Vec<usize>>>> {
        let all: Vec<graph::NodeId> = self.0.ids().collect();
        let wanted = match self.0.shapes(height, width, &all) {
            Ok(shapes) => return Ok(shapes.iter().map(|shape| Some(shape.sizes())).collect()),
            Err(_) => [self.0.output()],
        };
        let shapes = self.0.shapes(height, width, &wanted)?;
        let needed = self.0.needed_for(&wanted);
        let known = shapes.iter().zip(needed);
        Ok(known.map(|(shape, needed)| needed.then(|| shape.sizes())).collect())
    }

    /// Every part, one that holds another before it.
    fn parts(&self) -> Vec<PartRow> {
        let parts = self.0.parts().iter();
        parts
            .map(|part| {
                let end = part.output().index() + 1;
                (part.kind.name(), part.name.clone(), end - part.nodes().count(), end)
            })
            .collect()
    }

    /// The node that holds the logits.
    #[getter]
    fn output(&self) -> &str {
        &self.0.node(self.0.output()).name
    }

    /// The nodes that hold the logits of auxiliary classifiers.
    #[getter]
    fn auxiliary(&self) -> Vec<&str> {
        let heads = self.0.auxiliary().iter();
        heads.map(|head| self.0.node(head.logits).name.as_str()).collect()
    }

    /// (name, shape, trained) of every array, in the order of the state dict.
    fn parameters(&self) -> Vec<(String, Vec<usize>, bool)> {
        let parameters = self.0.parameters().into_iter();
        parameters.map(|p| (p.name, p.shape, p.role.is_trained())).collect()
    }

    /// The node of every array, in the order of the state dict.
    fn owners(&self) -> Vec<String> {
        let parameters = self.0.parameters().into_iter();
        parameters.map(|p| self.0.node(p.node).name.clone()).collect()
    }

    /// A diagram: `cnnzoo.diagram.draw` of the graph, which checks the options.
    #[pyo3(
        signature = (**options),
        text_signature = "($self, *, level='block', x_shape=None, part=None, theme='auto')"
    )]
    fn diagram<'py>(
        slf: &Bound<'py, Self>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("cnnzoo.diagram")?.getattr("draw")?.call((slf,), options)
    }

    /// Notebooks show the diagram.
    #[pyo3(name = "_repr_svg_")]
    fn repr_svg<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.call_method0("diagram")?.getattr("svg")
    }
}

impl Graph {
    fn id(&self, node: &str) -> Result<NodeId> {
        self.0.named(node)
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Graph>()
}
