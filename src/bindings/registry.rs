//! The table of all variants.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::graph::Graph;
use super::options::parse_options;
use crate::data::Preprocess;
use crate::families::{self, COMMON_OPTIONS, ImageSizes, Options, Package, Published};

/// Names of all variants, family by family.
#[pyfunction]
fn model_names() -> Vec<&'static str> {
    families::variants().iter().map(|variant| variant.name).collect()
}

/// Every name that `create_model` accepts: the package's own, and those of the sources.
#[pyfunction]
fn accepted_names() -> Vec<&'static str> {
    let mut names = Vec::new();
    for variant in families::variants() {
        names.push(variant.name);
        names.extend(
            variant
                .editions
                .iter()
                .flat_map(families::Edition::names)
                .filter(|&name| name != variant.name),
        );
    }
    names
}

/// (own name, source, source's name) of every edition of every variant.
#[pyfunction]
fn editions() -> Vec<(&'static str, String, &'static str)> {
    let editions = |variant: &'static families::Variant| {
        variant.editions.iter().map(|e| (variant.name, e.source.to_string(), e.source_name))
    };
    families::variants().iter().flat_map(editions).collect()
}

/// The facts about a variant as fields of `cnnzoo.ModelInfo`, but for those of `image_sizes`.
#[pyfunction]
#[pyo3(signature = (name, source=None))]
fn model_info<'py>(
    py: Python<'py>,
    name: &str,
    source: Option<&str>,
) -> PyResult<Bound<'py, PyDict>> {
    let (variant, edition) = families::find(name, source)?;
    let size = edition.preprocess.crop as usize;
    let graph = variant.graph(edition, &Options::default())?;
    let cost = graph.cost(size, size)?;
    let family = variant.family;
    let mut sources: Vec<String> =
        variant.editions.iter().map(|edition| edition.source.to_string()).collect();
    sources.dedup();
    let info = PyDict::new(py);
    info.set_item("name", variant.name)?;
    info.set_item("family", family.name)?;
    info.set_item("year", family.year)?;
    info.set_item("paper", family.paper)?;
    info.set_item("idea", family.idea)?;
    info.set_item("strengths", family.strengths)?;
    info.set_item("weaknesses", family.weaknesses)?;
    info.set_item("source", edition.source.to_string())?;
    info.set_item("source_name", edition.source_name)?;
    info.set_item("default_source", &sources[0])?;
    info.set_item("sources", sources)?;
    let mut options: Vec<&str> = COMMON_OPTIONS.iter().chain(edition.options).copied().collect();
    options.extend(families::adaptable(&graph));
    info.set_item("options", options)?;
    info.set_item("deviations", edition.deviations)?;
    info.set_item("params", cost.params)?;
    info.set_item("macs", cost.macs)?;
    info.set_item("activations", cost.activations)?;
    info.set_item("input_size", size)?;
    info.set_item("num_classes", variant.classes)?;
    info.set_item(
        "weights",
        edition.weights.iter().map(|published| published.tag).collect::<Vec<_>>(),
    )?;
    Ok(info)
}

/// The sizes of images that a variant takes as fields of `cnnzoo.ModelInfo`. Shapes are inferred for many sizes, which
/// takes several times as long as the other facts, and building a model needs none of it.
#[pyfunction]
#[pyo3(signature = (name, source=None))]
fn image_sizes<'py>(
    py: Python<'py>,
    name: &str,
    source: Option<&str>,
) -> PyResult<Bound<'py, PyDict>> {
    let (variant, edition) = families::find(name, source)?;
    let graph = variant.graph(edition, &Options::default())?;
    let ImageSizes { fixed, min, min_training } = variant.image_sizes(edition, &graph);
    let sizes = PyDict::new(py);
    sizes.set_item("fixed_image_size", fixed)?;
    sizes.set_item("min_image_size", min)?;
    sizes.set_item("min_training_image_size", min_training)?;
    Ok(sizes)
}

/// The preprocessing of the edition's default weights, as fields of `cnnzoo.Preprocess`.
#[pyfunction]
#[pyo3(signature = (name, source=None))]
fn preprocess<'py>(
    py: Python<'py>,
    name: &str,
    source: Option<&str>,
) -> PyResult<Bound<'py, PyDict>> {
    preprocess_fields(py, families::find(name, source)?.1.preprocess)
}

fn preprocess_fields(py: Python<'_>, preprocess: Preprocess) -> PyResult<Bound<'_, PyDict>> {
    let Preprocess { resize, crop, interpolation, mean, std } = preprocess;
    let fields = PyDict::new(py);
    fields.set_item("resize", resize)?;
    fields.set_item("crop", crop)?;
    fields.set_item("interpolation", interpolation.to_string())?;
    // Through the shortest decimal: 0.485, not 0.48500001430511475.
    let decimal = |value: f32| value.to_string().parse().unwrap_or(f64::from(value));
    fields.set_item("mean", PyTuple::new(py, mean.map(decimal))?)?;
    fields.set_item("std", PyTuple::new(py, std.map(decimal))?)?;
    Ok(fields)
}

/// Tag, licence, fields of `cnnzoo.Preprocess`, distribution, file below site-packages, sha256.
type PublishedRow<'py> =
    (&'static str, &'static str, Bound<'py, PyDict>, &'static str, &'static str, &'static str);

/// The edition's published weights, the best first.
#[pyfunction]
#[pyo3(signature = (name, source=None))]
fn published_weights<'py>(
    py: Python<'py>,
    name: &str,
    source: Option<&str>,
) -> PyResult<Vec<PublishedRow<'py>>> {
    let (_, edition) = families::find(name, source)?;
    let row = |published: &Published| {
        let Package { distribution, file, sha256 } = published.package;
        let preprocess = preprocess_fields(py, published.preprocess)?;
        Ok((published.tag, published.license, preprocess, distribution, file, sha256))
    };
    edition.weights.iter().map(row).collect()
}

/// Builds the graph of a variant; `options` is a JSON object.
#[pyfunction]
#[pyo3(signature = (name, source=None, options="{}"))]
fn draw(name: &str, source: Option<&str>, options: &str) -> PyResult<Graph> {
    let (variant, edition) = families::find(name, source)?;
    Ok(Graph(variant.graph(edition, &parse_options(name, options)?)?.into()))
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(model_names, module)?)?;
    module.add_function(wrap_pyfunction!(accepted_names, module)?)?;
    module.add_function(wrap_pyfunction!(editions, module)?)?;
    module.add_function(wrap_pyfunction!(model_info, module)?)?;
    module.add_function(wrap_pyfunction!(image_sizes, module)?)?;
    module.add_function(wrap_pyfunction!(preprocess, module)?)?;
    module.add_function(wrap_pyfunction!(published_weights, module)?)?;
    module.add_function(wrap_pyfunction!(draw, module)?)
}
