//! Gradients for explanations in Python.

use numpy::PyUntypedArrayMethods;
use pyo3::prelude::*;

use super::array::{floats, from_array};
use super::errors::detached;
use super::model::Model;
use crate::engine::{Precision, View};
use crate::model::RunOptions;
use crate::torch::{Explanation, Score};

/// The output, the gradient by the images, and value and gradient of each node.
type Gradients<'py> =
    (Bound<'py, PyAny>, Bound<'py, PyAny>, Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>);

/// The gradients of a score by images `x` (N, C, H, W) and by the values of `nodes`, in evaluation. The score is that of
/// `classes`, one for each image or for all, or else the sum of output · `cotangent`; the output is the value of the node
/// `output`, or the logits.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "Python passes them by keyword")]
fn gradients<'py>(
    model: &Model,
    x: &Bound<'py, PyAny>,
    classes: Vec<i64>,
    cotangent: Option<&Bound<'py, PyAny>>,
    nodes: Vec<String>,
    output: Option<String>,
    guided: bool,
    precision: &str,
) -> PyResult<Gradients<'py>> {
    let py = x.py();
    let precision = Precision::parse(precision)?;
    let x = model.images(x)?;
    let x = View { shape: x.shape(), values: x.as_slice()? };
    let at = format!("the cotangent of {}", model.0.name());
    let cotangent = cotangent.map(|array| floats(array, &at, |_| Ok(()))).transpose()?;
    let score = match &cotangent {
        Some(array) => Score::Cotangent(View { shape: array.shape(), values: array.as_slice()? }),
        None => Score::Classes(&classes),
    };
    let Explanation { output, images, nodes } = detached(py, || {
        let model = model.0.prepared(RunOptions { exact: true, ..RunOptions::default() })?;
        model.explain(x, score, output.as_ref(), &nodes, (guided, precision))
    })?;
    let pair = |(value, gradient)| Ok((from_array(py, value)?, from_array(py, gradient)?));
    let nodes = nodes.into_iter().map(pair).collect::<PyResult<_>>()?;
    Ok((from_array(py, output)?, from_array(py, images)?, nodes))
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(gradients, module)?)
}
