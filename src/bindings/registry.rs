//! The table of all variants.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::graph::Graph;
use crate::error::Error;
use crate::families::{self, Options};

/// Names of all variants, family by family.
#[pyfunction]
fn model_names() -> Vec<&'static str> {
    families::variants().iter().map(|variant| variant.name).collect()
}

/// Every name that `create_model` takes: ours, and those of the sources.
#[pyfunction]
fn accepted_names() -> Vec<&'static str> {
    let mut names = Vec::new();
    for variant in families::variants() {
        names.push(variant.name);
        names.extend(
            variant
                .editions
                .iter()
                .map(|edition| edition.source_name)
                .filter(|&name| name != variant.name),
        );
    }
    names
}

/// The facts about one variant as fields of `cnnzoo.ModelInfo`.
#[pyfunction]
#[pyo3(signature = (name, source=None))]
fn model_info<'py>(
    py: Python<'py>,
    name: &str,
    source: Option<&str>,
) -> PyResult<Bound<'py, PyDict>> {
    let (variant, edition) = families::find(name, source)?;
    let size = edition.preprocess.crop as usize;
    let cost = variant.graph(edition, &Options::default())?.cost(size, size)?;
    let family = variant.family;
    let sources: Vec<String> =
        variant.editions.iter().map(|edition| edition.source.to_string()).collect();
    let info = PyDict::new(py);
    info.set_item("name", variant.name)?;
    info.set_item("family", family.name)?;
    info.set_item("year", family.year)?;
    info.set_item("paper", family.paper)?;
    info.set_item("idea", family.idea)?;
    info.set_item("strengths", family.strengths)?;
    info.set_item("weaknesses", family.weaknesses)?;
    info.set_item("source", edition.source.to_string())?;
    info.set_item("default_source", &sources[0])?;
    info.set_item("sources", sources)?;
    info.set_item("deviations", edition.deviations)?;
    info.set_item("params", cost.params)?;
    info.set_item("macs", cost.macs)?;
    info.set_item("activations", cost.activations)?;
    info.set_item("input_size", size)?;
    info.set_item(
        "weights",
        edition.weights.iter().map(|published| published.tag).collect::<Vec<_>>(),
    )?;
    Ok(info)
}

/// (tag, licence, distribution, file below site-packages, sha256) of the edition's published weights, best first.
#[pyfunction]
#[pyo3(signature = (name, source=None))]
fn published_weights(name: &str, source: Option<&str>) -> PyResult<Vec<[&'static str; 5]>> {
    let (_, edition) = families::find(name, source)?;
    let row = |published: &families::Published| {
        let package = published.package;
        [published.tag, published.license, package.distribution, package.file, package.sha256]
    };
    Ok(edition.weights.iter().map(row).collect())
}

/// The graph of a variant; `options` is a JSON object.
#[pyfunction]
#[pyo3(signature = (name, source=None, options="{}"))]
fn draw(name: &str, source: Option<&str>, options: &str) -> PyResult<Graph> {
    let (variant, edition) = families::find(name, source)?;
    Ok(Graph(variant.graph(edition, &parse_options(name, options)?)?))
}

pub(super) fn parse_options(name: &str, options: &str) -> Result<Options, Error> {
    serde_json::from_str(options).map_err(|error| Error::Argument {
        at: format!("the options of {name}"),
        expected:
            "num_classes, in_channels, image_size, drop_rate or drop_path_rate, each a number"
                .into(),
        got: format!("{options} ({error})"),
    })
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(model_names, module)?)?;
    module.add_function(wrap_pyfunction!(accepted_names, module)?)?;
    module.add_function(wrap_pyfunction!(model_info, module)?)?;
    module.add_function(wrap_pyfunction!(published_weights, module)?)?;
    module.add_function(wrap_pyfunction!(draw, module)?)
}
