//! A model as a part of PyTorch: its parameters as PyTorch's tensors, and runs that PyTorch's autograd goes back through.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use super::errors::detached;
use super::model::Model;
use crate::error::{Error, Result};
use crate::model::{ForwardNames, NamedSegments};
use crate::torch::{Handle, Modes};

/// The tensor of a `torch.Tensor`.
fn unwrapped(x: &Bound<'_, PyAny>, at: &str) -> PyResult<Handle> {
    let class = tensor_class(x.py())?;
    if !x.is_instance(&class)? {
        let found = x.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{at}: expected a torch.Tensor, got {found}")));
    }
    let address: usize = x.getattr("_cdata")?.extract()?;
    // SAFETY: PyTorch says where the tensor's implementation is, which lives as long as its object, and so until the call is over.
    Ok(unsafe { Handle::of_implementation(address, at) }?)
}

/// A tensor in Python, the same one each time; an object of this class where it has none yet.
fn wrapped<'py>(handle: &Handle, class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    // SAFETY: the caller has the GIL, and the classes here are `torch.Tensor` and `torch.nn.Parameter`.
    let object = unsafe { handle.wrap(class.as_ptr().cast::<c_void>()) };
    match object {
        // SAFETY: it is a new reference.
        Some(object) => Ok(unsafe { Bound::from_owned_ptr(py, object.as_ptr().cast()) }),
        None => Err(PyErr::take(py).unwrap_or_else(|| {
            PyRuntimeError::new_err("PyTorch makes no object of a tensor: is `torch` imported?")
        })),
    }
}

fn tensor_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    Ok(py.import("torch")?.getattr("Tensor")?.cast_into()?)
}

/// The tensors of a model, in the order of the state dict, each with its name and whether it is a parameter: these are
/// `torch.nn.Parameter`, and all have the memory of the model.
#[pyfunction]
fn share<'py>(py: Python<'py>, model: &Model) -> PyResult<Vec<(String, bool, Bound<'py, PyAny>)>> {
    let tensor = tensor_class(py)?;
    let parameter = py.import("torch.nn")?.getattr("Parameter")?.cast_into()?;
    let shared = detached(py, || model.0.write()?.share())?;
    let object = |(name, is_parameter, handle): (String, bool, Handle)| {
        let class = if is_parameter { &parameter } else { &tensor };
        Ok((name, is_parameter, wrapped(&handle, class)?))
    };
    shared.into_iter().map(object).collect()
}

/// Takes over device and memory layout of the tensors, which PyTorch has moved.
#[pyfunction]
fn adopt(py: Python<'_>, model: &Model) -> PyResult<()> {
    detached(py, || model.0.write()?.adopt())
}

/// A number that changes where the tensors of a model become others.
#[pyfunction]
fn generation(py: Python<'_>, model: &Model) -> PyResult<u64> {
    detached(py, || Ok(model.0.read()?.generation()))
}

/// Runs a model on a tensor as an operator of PyTorch. Returns the values of `nodes`, or the output where there are none, and
/// then the logits of auxiliary classifiers if `auxiliary`.
///
/// `training` has the places of the nodes in training mode. `watch` is called with the place of a watched value in
/// `watched`, a tuple of its inputs and the value, as soon as it is computed; what it returns is used in its place, unless it
/// is `None`.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "Python passes them by keyword")]
fn forward<'py>(
    model: &Model,
    x: &Bound<'py, PyAny>,
    generation: u64,
    nodes: Option<Vec<String>>,
    auxiliary: bool,
    training: Vec<usize>,
    seed: u64,
    watched: Vec<(String, Vec<String>)>,
    watch: Option<Bound<'py, PyAny>>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let py = x.py();
    let at = format!("the input of {}", model.0.name());
    let class = tensor_class(py)?;
    let handle = unwrapped(x, &at)?;
    let names = ForwardNames { generation, wanted: nodes, auxiliary, training, seed, watched };
    let watch =
        watch.map(|function| Watch { function: function.unbind(), raised: Mutex::default() });
    let watching = watch.as_ref();
    let found = in_modes(py, move || {
        model.0.forward(&handle, names, |place, inputs, value| {
            let Some(watch) = watching else { return Ok(None) };
            let _asking = model.0.asking("in a forward pass", "a hook that does not run it");
            watch.show(place, &inputs, &value)
        })
    });
    if let Some(error) = watch.and_then(|watch| watch.raised()) {
        return Err(error);
    }
    found?.iter().map(|handle| wrapped(handle, &class)).collect()
}

/// The segments of a run of a model for PyTorch, of which each may run again in the backward pass.
#[pyclass(frozen, module = "cnnzoo._torch")]
struct Segments {
    segments: NamedSegments,
    names: ForwardNames,
}

#[pymethods]
impl Segments {
    /// Those of a run on `x`; the arguments are those of `forward`.
    #[new]
    fn new(
        model: &Model,
        x: &Bound<'_, PyAny>,
        generation: u64,
        nodes: Option<Vec<String>>,
        auxiliary: bool,
        training: Vec<usize>,
        seed: u64,
    ) -> PyResult<Self> {
        let handle = unwrapped(x, &format!("the input of {}", model.0.name()))?;
        let watched = Vec::new();
        let names = ForwardNames { generation, wanted: nodes, auxiliary, training, seed, watched };
        let given = &names;
        let segments = detached(x.py(), move || model.0.segments(&handle, given))?;
        Ok(Self { segments, names })
    }

    /// The node of the images.
    #[getter]
    fn image(&self) -> &str {
        &self.segments.image
    }

    /// The nodes whose values a run returns.
    #[getter]
    fn wanted(&self) -> Vec<String> {
        self.segments.wanted.clone()
    }

    /// For each segment the nodes whose values it reads, and those whose values it gives.
    #[getter]
    fn borders(&self) -> Vec<(Vec<String>, Vec<String>)> {
        self.segments.borders.clone()
    }

    /// Runs a segment on the values that it reads, for the second time if `again`, and returns those that it gives.
    fn run<'py>(
        &self,
        py: Python<'py>,
        model: &Model,
        place: usize,
        inputs: Vec<Bound<'py, PyAny>>,
        again: bool,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let class = tensor_class(py)?;
        let inputs = inputs.iter().map(|x| unwrapped(x, "a value between two segments"));
        let inputs = inputs.collect::<PyResult<Vec<_>>>()?;
        let Self { segments: NamedSegments { inner, .. }, names } = self;
        let found = in_modes(py, move || model.0.run_segment(inner, place, inputs, names, again))?;
        found.iter().map(|handle| wrapped(handle, &class)).collect()
    }
}

/// Does work without the GIL, in the modes of this thread: of gradients, autocast, inference and hooks.
fn in_modes<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    let modes = Modes::here();
    detached(py, move || match &modes {
        Some(modes) => modes.within(work),
        None => work(),
    })
}

/// A function in Python that sums a tensor over processes.
pub(super) struct Sum {
    function: Py<PyAny>,
    /// The exception that it raised, which no error of the crate represents.
    raised: Mutex<Option<PyErr>>,
}

impl Sum {
    pub(super) fn new(function: Bound<'_, PyAny>) -> Self {
        Self { function: function.unbind(), raised: Mutex::default() }
    }

    pub(super) fn of(&self, handle: &Handle) -> Result<Handle> {
        Python::attach(|py| {
            let answer = tensor_class(py)
                .and_then(|class| wrapped(handle, &class))
                .and_then(|tensor| self.function.bind(py).call1((tensor,)))
                .and_then(|sum| unwrapped(&sum, "a sum over processes"));
            answer.map_err(|error| {
                let got = error.to_string();
                *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                let (at, expected) = ("a sum over processes".into(), "a tensor".into());
                Error::Argument { at, expected, got }
            })
        })
    }

    pub(super) fn raised(&self) -> Option<PyErr> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A function in Python that sees values.
struct Watch {
    function: Py<PyAny>,
    /// The exception that it raised, which no error of the crate represents.
    raised: Mutex<Option<PyErr>>,
}

impl Watch {
    fn show(&self, place: usize, inputs: &[Handle], value: &Handle) -> Result<Option<Handle>> {
        Python::attach(|py| {
            self.ask(py, place, inputs, value).map_err(|error| {
                let got = error.to_string();
                *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                let (at, expected) = ("a forward hook".into(), "a tensor or None".into());
                Error::Argument { at, expected, got }
            })
        })
    }

    fn ask(
        &self,
        py: Python<'_>,
        place: usize,
        inputs: &[Handle],
        value: &Handle,
    ) -> PyResult<Option<Handle>> {
        let class = tensor_class(py)?;
        let inputs = inputs.iter().map(|input| wrapped(input, &class));
        let inputs = PyTuple::new(py, inputs.collect::<PyResult<Vec<_>>>()?)?;
        let answer = self.function.bind(py).call1((place, inputs, wrapped(value, &class)?))?;
        if answer.is_none() {
            return Ok(None);
        }
        unwrapped(&answer, "the value that a forward hook returned").map(Some)
    }

    fn raised(&self) -> Option<PyErr> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Segments>()?;
    module.add_function(wrap_pyfunction!(adopt, module)?)?;
    module.add_function(wrap_pyfunction!(forward, module)?)?;
    module.add_function(wrap_pyfunction!(generation, module)?)?;
    module.add_function(wrap_pyfunction!(share, module)?)
}
