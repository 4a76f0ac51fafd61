//! The model that Python's `cnnzoo.Model` drives: a graph and its parameters.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use numpy::PyUntypedArrayMethods;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::array::{floats, from_values, shape_text};
use super::errors::detached;
use super::graph::Graph;
use super::registry::parse_options;
use crate::error::{Error, Result};
use crate::families::{self, Edition, Options, Variant};
use crate::graph::{self, NodeId, Role};
use crate::torch::{self, Pullback, Store, View};

#[pyclass(frozen, module = "cnnzoo._native")]
struct Model {
    variant: &'static Variant,
    edition: &'static Edition,
    options: Options,
    graph: graph::Graph,
    /// Many threads read it at once; what writes waits for them. Locked only without the GIL, so that nobody waits
    /// for a lock with the GIL in hand.
    store: RwLock<Store>,
}

impl Model {
    fn read(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Store> {
        self.store.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self, name: &str) -> Result<NodeId> {
        self.graph.find(name).ok_or_else(|| Error::Argument {
            at: format!("a node of {}", self.variant.name),
            expected: "a name of `nodes()`, or the path before some of them".into(),
            got: format!("`{name}`"),
        })
    }

    fn fits(&self) -> impl FnOnce(&[usize]) -> Result<(), String> + use<> {
        let channels = self.graph.input().channels;
        move |shape| match shape {
            [batch, c, _, _] if *batch > 0 && *c == channels => Ok(()),
            _ => Err(format!("(N, {channels}, H, W) with N at least 1")),
        }
    }
}

#[pymethods]
impl Model {
    #[new]
    fn new(
        py: Python<'_>,
        name: &str,
        source: Option<&str>,
        options: &str,
        device: &str,
        seed: u64,
    ) -> PyResult<Self> {
        let (variant, edition) = families::find(name, source)?;
        let options = parse_options(name, options)?;
        detached(py, || {
            let graph = variant.graph(edition, &options)?;
            let store = Store::new(&graph, edition.recipe, seed, torch::device(device)?)?;
            Ok(Self { variant, edition, options, graph, store: RwLock::new(store) })
        })
    }

    #[getter]
    fn name(&self) -> &'static str {
        self.variant.name
    }

    #[getter]
    fn source(&self) -> String {
        self.edition.source.to_string()
    }

    /// The options given, as a JSON object.
    #[getter]
    fn options(&self) -> PyResult<String> {
        serde_json::to_string(&self.options)
            .map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))
    }

    #[getter]
    fn device(&self, py: Python<'_>) -> PyResult<String> {
        detached(py, || Ok(torch::device_name(self.read().device())))
    }

    fn graph(&self) -> Graph {
        Graph(self.graph.clone())
    }

    /// The values of `nodes` for images `x` (N, C, H, W), or of the output where none are named.
    #[pyo3(signature = (x, nodes=None))]
    fn run<'py>(
        &self,
        x: &Bound<'py, PyAny>,
        nodes: Option<Vec<String>>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = x.py();
        let wanted = match nodes {
            None => vec![self.graph.output()],
            Some(names) => names.iter().map(|name| self.node(name)).collect::<Result<_>>()?,
        };
        let x = floats(x, &format!("the input of {}", self.variant.name), self.fits())?;
        let view = View { shape: x.shape(), values: x.as_slice()? };
        let arrays = detached(py, || torch::infer(&self.graph, &self.read(), view, &wanted))?;
        arrays.into_iter().map(|array| from_values(py, &array.shape, array.values)).collect()
    }

    /// The output for `x`, and the gradient of sum(output · cotangent) for every trained parameter, by name.
    fn pull_back<'py>(
        &self,
        x: &Bound<'py, PyAny>,
        cotangent: &Bound<'py, PyAny>,
        training: bool,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyDict>)> {
        let py = x.py();
        let x = floats(x, &format!("the input of {}", self.variant.name), self.fits())?;
        let cotangent =
            floats(cotangent, &format!("the cotangent of {}", self.variant.name), |_| Ok(()))?;
        let x = View { shape: x.shape(), values: x.as_slice()? };
        let cotangent = View { shape: cotangent.shape(), values: cotangent.as_slice()? };
        let (pullback, names) = detached(py, || {
            let mut store = self.write();
            let Pullback { output, gradients } =
                torch::pull_back(&self.graph, &mut store, x, cotangent, training)?;
            let names: Vec<String> = gradients
                .iter()
                .map(|(index, _)| store.parameters()[*index].name.clone())
                .collect();
            Ok((Pullback { output, gradients }, names))
        })?;
        let gradients = PyDict::new(py);
        for (name, (_, array)) in names.into_iter().zip(pullback.gradients) {
            gradients.set_item(name, from_values(py, &array.shape, array.values)?)?;
        }
        Ok((from_values(py, &pullback.output.shape, pullback.output.values)?, gradients))
    }

    /// Moves the parameters to another device.
    fn to(&self, py: Python<'_>, device: &str) -> PyResult<()> {
        detached(py, || self.write().to_device(torch::device(device)?))
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Model>()
}
