//! `cnnzoo.Graph`: an architecture as data.

use std::sync::Arc;

use pyo3::prelude::*;

use super::errors::detached;
use crate::graph::{self, Cost};

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

    /// The text form for notebooks, in which a click on a part unfolds it.
    fn _repr_html_(&self) -> String {
        in_html(&self.0.to_string())
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

    /// (name, shape, trained) of every array, in the order of the state dict.
    fn parameters(&self) -> Vec<(String, Vec<usize>, bool)> {
        let parameters = self.0.parameters().into_iter();
        parameters.map(|p| (p.name, p.shape, p.role.is_trained())).collect()
    }
}

/// A graph's text in HTML, whose colours are the page's own.
fn in_html(text: &str) -> String {
    let mut html = String::from("<div style='font-family:monospace;white-space:pre'>");
    for line in text.lines() {
        match line.trim_start() {
            "}" => html.push_str("</div></details>"),
            part if part.ends_with(" {") => {
                html.push_str("<details><summary>");
                push_escaped(&mut html, part.trim_end_matches(" {"));
                html.push_str("</summary><div style='margin-left:2ch'>");
            }
            node => {
                html.push_str("<div>");
                push_escaped(&mut html, node);
                html.push_str("</div>");
            }
        }
    }
    html.push_str("</div>");
    html
}

fn push_escaped(html: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            _ => html.push(letter),
        }
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Graph>()
}
