//! A graph as text, one line a node, that parses back:
//!
//! ```text
//! graph resnet18
//! input = input()
//! stem {
//!   conv1 = conv(input) out=64 kernel=7 stride=2 padding=3
//!   bn1 = batch_norm(conv1)
//!   …
//! }
//! stage layer1 {
//!   block layer1.0 {
//!     …
//! output fc
//! auxiliary aux.fc weight=0.4
//! ```
//!
//! Only what differs from the defaults is written. A value is JSON, or a bare word. `arrays=NAME_` begins the names of a
//! node's arrays with `NAME_`, not with the node's name and a dot. A part is the lines between its braces;
//! its name is left out where it is the word for its kind.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::{Auxiliary, Graph, Node, NodeId, Op, Part, PartKind};
use crate::error::{Error, Result};

/// The field of any node that says how the names of its arrays begin.
const ARRAYS: &str = "arrays";

/// Spaces before what a part holds.
const INDENT: usize = 2;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "graph {}", self.name())?;
        let mut parts = self.parts().iter().peekable();
        let mut open: Vec<usize> = Vec::new();
        for (position, node) in self.nodes().iter().enumerate() {
            while open.pop_if(|end| *end <= position).is_some() {
                writeln!(f, "{:1$}}}", "", INDENT * open.len())?;
            }
            while let Some(part) = parts.next_if(|part| part.nodes.start == position) {
                write!(f, "{:1$}{2}", "", INDENT * open.len(), part.kind)?;
                if part.name != part.kind.name() {
                    write!(f, " {}", part.name)?;
                }
                writeln!(f, " {{")?;
                open.push(part.nodes.end);
            }
            write!(f, "{:1$}", "", INDENT * open.len())?;
            let inputs: Vec<&str> =
                node.inputs.iter().map(|&id| self.node(id).name.as_str()).collect();
            write!(f, "{} = {}({})", node.name, node.op.name(), inputs.join(", "))?;
            let defaults = fields(&default_op(node.op.name()).map_err(|_| fmt::Error)?)
                .map_err(|_| fmt::Error)?;
            for (field, value) in fields(&node.op).map_err(|_| fmt::Error)? {
                if defaults.get(&field) != Some(&value) {
                    match &value {
                        Value::String(word) => write!(f, " {field}={word}")?,
                        value => write!(f, " {field}={value}")?,
                    }
                }
            }
            if let Some(begin) = &node.arrays {
                write!(f, " {ARRAYS}={begin}")?;
            }
            writeln!(f)?;
        }
        while open.pop().is_some() {
            writeln!(f, "{:1$}}}", "", INDENT * open.len())?;
        }
        writeln!(f, "output {}", self.node(self.output()).name)?;
        self.auxiliary().iter().try_for_each(|&Auxiliary { logits, weight }| {
            let name = &self.node(logits).name;
            if weight.to_bits() == Auxiliary::USUAL_WEIGHT.to_bits() {
                writeln!(f, "auxiliary {name}")
            } else {
                writeln!(f, "auxiliary {name} weight={weight}")
            }
        })
    }
}

impl FromStr for Graph {
    type Err = Error;

    /// Fails with `Error::Text` where a line does not parse, `Error::Graph` where the graph breaks a rule.
    fn from_str(text: &str) -> Result<Self> {
        let mut parser = Parser::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() {
                parser.line(line).map_err(|(expected, got)| Error::Text {
                    line: number + 1,
                    expected,
                    got,
                })?;
            }
        }
        let end = text.lines().count() + 1;
        let missing = |expected: &str| Error::Text {
            line: end,
            expected: expected.into(),
            got: "the end".into(),
        };
        let name = parser.name.ok_or_else(|| missing("`graph NAME`"))?;
        let output = parser.output.ok_or_else(|| missing("`output NODE`"))?;
        if !parser.open.is_empty() {
            return Err(missing("`}` of the last part"));
        }
        Self::new(name, parser.nodes, output, parser.auxiliary, parser.parts)
    }
}

/// The op called `name` with every field at its default.
fn default_op(name: &str) -> serde_json::Result<Op> {
    with_fields(name, Map::new())
}

fn with_fields(name: &str, fields: Map<String, Value>) -> serde_json::Result<Op> {
    serde_json::from_value(Value::Object(Map::from_iter([(
        name.to_owned(),
        Value::Object(fields),
    )])))
}

/// Three ops had other words once, which saved models may hold.
fn word_of_today(op: &str) -> &str {
    match op {
        "enlarge" => "pool_up_to",
        "scale" => "gate",
        "take" => "select_token",
        op => op,
    }
}

/// Every field of an op by its name, those at their defaults too.
pub(super) fn fields(op: &Op) -> serde_json::Result<Map<String, Value>> {
    let mut value = serde_json::to_value(op)?;
    Ok(value
        .get_mut(op.name())
        .and_then(Value::as_object_mut)
        .map(std::mem::take)
        .unwrap_or_default())
}

/// The expected and the actual text.
type Complaint = (String, String);

fn complain<T>(expected: impl Into<String>, got: &str) -> Result<T, Complaint> {
    Err((expected.into(), format!("`{got}`")))
}

#[derive(Default)]
struct Parser {
    name: Option<String>,
    nodes: Vec<Node>,
    by_name: HashMap<String, NodeId>,
    output: Option<NodeId>,
    auxiliary: Vec<Auxiliary>,
    parts: Vec<Part>,
    /// Parts that have not ended: their kind, name and first node.
    open: Vec<(PartKind, String, usize)>,
}

impl Parser {
    fn line(&mut self, line: &str) -> Result<(), Complaint> {
        if let Some((name, rest)) = line.split_once(" = ") {
            return self.node(name, rest);
        }
        if let Some(part) = line.strip_suffix(" {") {
            return self.begin(part);
        }
        if line == "}" {
            let Some((kind, name, begin)) = self.open.pop() else {
                return complain("`}` after a part that began", line);
            };
            self.parts.push(Part { kind, name, nodes: begin..self.nodes.len() });
            return Ok(());
        }
        match line.split_once(' ') {
            Some(("graph", name)) if self.name.is_none() => self.name = Some(name.to_owned()),
            Some(("output", name)) if self.output.is_none() => {
                self.output = Some(self.known(name)?);
            }
            Some(("auxiliary", rest)) => {
                let (name, weight) = match rest.split_once(" weight=") {
                    None => (rest, Auxiliary::USUAL_WEIGHT),
                    Some((name, weight)) => match weight.parse() {
                        Ok(parsed) => (name, parsed),
                        Err(_) => return complain("the weight of an auxiliary classifier", weight),
                    },
                };
                self.auxiliary.push(Auxiliary { logits: self.known(name)?, weight });
            }
            _ => {
                return complain(
                    "`graph NAME` or `output NODE`, each once, `NODE = OP(INPUTS) FIELD=VALUE…`, \
                     `PART NAME {` or `}`",
                    line,
                );
            }
        }
        Ok(())
    }

    fn begin(&mut self, part: &str) -> Result<(), Complaint> {
        let (kind, name) = part.split_once(' ').unwrap_or((part, part));
        let Some(kind) = PartKind::parse(kind) else {
            let kinds: Vec<&str> = PartKind::ALL.iter().map(|kind| kind.name()).collect();
            return complain(format!("one of {} before ` {{`", kinds.join(", ")), kind);
        };
        self.open.push((kind, name.to_owned(), self.nodes.len()));
        Ok(())
    }

    fn node(&mut self, name: &str, rest: &str) -> Result<(), Complaint> {
        let Some((op, rest)) = rest.split_once('(') else { return complain("OP(INPUTS)", rest) };
        let Some((inputs, assignments)) = rest.split_once(')') else {
            return complain("a closing `)`", rest);
        };
        let inputs = inputs
            .split(',')
            .map(str::trim)
            .filter(|input| !input.is_empty())
            .map(|input| self.known(input))
            .collect::<Result<Vec<_>, _>>()?;
        let (mut fields, mut arrays) = (Map::new(), None);
        for assignment in assignments.split_whitespace() {
            let Some((field, value)) = assignment.split_once('=') else {
                return complain("FIELD=VALUE", assignment);
            };
            if field == ARRAYS && arrays.is_none() {
                arrays = Some(value.to_owned());
                continue;
            }
            let value =
                serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            if fields.insert(field.to_owned(), value).is_some() {
                return complain("each field once", assignment);
            }
        }
        let op = with_fields(word_of_today(op), fields)
            .map_err(|error| (error.to_string(), format!("`{op}{assignments}`")))?;
        self.by_name.insert(name.to_owned(), NodeId(self.nodes.len()));
        self.nodes.push(Node { name: name.to_owned(), op, inputs, arrays });
        Ok(())
    }

    fn known(&self, name: &str) -> Result<NodeId, Complaint> {
        match self.by_name.get(name) {
            Some(&id) => Ok(id),
            None => complain("the name of an earlier node", name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_saved_models_are_read() {
        let text = "graph old\ninput = input()\np = enlarge(input) size=7\ng = adaptive_pool(p)\n\
                    s = scale(p, g)\nt = tokens(s)\nc = take(t)\noutput c\n";
        let graph: Graph = text.parse().unwrap();
        let ops: Vec<&str> = graph.nodes().iter().map(|node| node.op.name()).collect();
        assert_eq!(ops, ["input", "pool_up_to", "adaptive_pool", "gate", "tokens", "select_token"]);
    }
}
