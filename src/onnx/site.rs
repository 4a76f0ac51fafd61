//! A node of the graph that is being written: its operators and constants, whose names begin with its own.

use super::content::Content;
use super::draft::{Draft, Value};
use super::network::Attribute;
use crate::error::{Error, Result};
use crate::graph::{NodeId, Op, Role, Shape};

/// A node of the graph that is being written.
pub(super) struct Site<'d, 'a> {
    pub draft: &'d mut Draft<'a>,
    pub id: NodeId,
    pub inputs: &'d [Value],
    /// The shape of its value.
    pub shape: Shape,
    /// The name of its value.
    pub output: String,
}

impl Site<'_, '_> {
    pub(super) fn name(&self) -> &str {
        &self.draft.graph.node(self.id).name
    }

    pub(super) fn opset(&self) -> usize {
        self.draft.options.opset
    }

    /// The name of its first input.
    pub(super) fn x(&self) -> String {
        self.inputs[0].name.clone()
    }

    fn below(&self, step: &str) -> String {
        format!("{}/{step}", self.name())
    }

    /// An operator on the way; the name of its value.
    pub(super) fn step(
        &mut self,
        step: &str,
        operator: &'static str,
        inputs: impl IntoIterator<Item = String>,
        attributes: Vec<(&'static str, Attribute)>,
    ) -> String {
        let name = self.below(step);
        self.draft.node(name.clone(), operator, inputs, std::slice::from_ref(&name), attributes);
        name
    }

    /// The operator whose value is that of the node.
    pub(super) fn last(
        &mut self,
        operator: &'static str,
        inputs: impl IntoIterator<Item = String>,
        attributes: Vec<(&'static str, Attribute)>,
    ) -> String {
        let (name, output) = (self.name().to_owned(), self.output.clone());
        self.draft.node(name, operator, inputs, std::slice::from_ref(&output), attributes);
        output
    }

    /// The name of its parameter, if it has one of this role.
    pub(super) fn array(&mut self, role: impl Fn(Role) -> bool) -> Option<String> {
        let index = self.draft.parameter(self.id, role)?;
        let (name, shape) = self.draft.named(index);
        Some(self.draft.initialiser(name, shape, Content::Parameter(index)))
    }

    /// The same, where every node of this kind has it.
    pub(super) fn own(&mut self, role: impl Fn(Role) -> bool) -> Result<String> {
        self.array(role).ok_or_else(|| Error::Defect {
            at: format!("node `{}`", self.name()),
            message: "a parameter is missing".into(),
        })
    }

    pub(super) fn floats(&mut self, step: &str, shape: Vec<usize>, values: Vec<f32>) -> String {
        let name = self.below(step);
        self.draft.initialiser(name, shape, Content::Floats(values))
    }

    pub(super) fn float(&mut self, step: &str, value: f64) -> String {
        self.floats(step, Vec::new(), vec![value as f32])
    }

    /// A list of numbers.
    pub(super) fn integers(&mut self, step: &str, values: Vec<i64>) -> String {
        let name = self.below(step);
        self.draft.initialiser(name, vec![values.len()], Content::Integers(values))
    }

    /// A value with other sizes; 0 keeps one, -1 stands for what is left.
    pub(super) fn reshape(&mut self, step: &str, x: String, sizes: Vec<i64>) -> String {
        let sizes = self.integers(&format!("{step}_sizes"), sizes);
        self.step(step, "Reshape", [x, sizes], Vec::new())
    }

    pub(super) fn transpose(&mut self, step: &str, x: String, axes: &[i64]) -> String {
        self.step(step, "Transpose", [x], vec![("perm", Attribute::Integers(axes.to_vec()))])
    }

    /// The error of a layer that does not fit images of any size.
    pub(super) fn needs_a_size(&self, got: &str) -> Error {
        let input = self.draft.graph.input();
        let op: &Op = &self.draft.graph.node(self.id).op;
        Error::Argument {
            at: format!(
                "`image` of {}, node `{}` ({})",
                self.draft.graph.name(),
                self.name(),
                op.name()
            ),
            expected: format!(
                "a fixed size, as image=None gives ({}×{}), for a layer that depends on it",
                input.height, input.width
            ),
            got: format!("\"dynamic\", with {got}"),
        }
    }
}
