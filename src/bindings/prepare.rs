//! Conversion of Python's transforms to what a loader runs on each photograph. The one place that knows them all.

use std::sync::Arc;

use pyo3::prelude::*;

use super::photo::{Preprocess, kind};
use super::transform::Transform;
use crate::data::{Prepare, loader::Plain, preprocess::Grey};
use crate::error::Error;

/// Whether the transform wants photographs upright; the default is that it does.
pub(super) fn orientation(transform: &Bound<'_, PyAny>) -> PyResult<bool> {
    transform.getattr_opt("orientation")?.map_or(Ok(true), |wanted| wanted.extract())
}

/// `None` scales bytes to 0 to 1. A Python object may hold its implementation as `_engine`.
pub(super) fn prepare(transform: &Bound<'_, PyAny>) -> PyResult<Arc<dyn Prepare>> {
    if transform.is_none() {
        return Ok(Arc::new(Plain));
    }
    let engine = transform.getattr("_engine").unwrap_or_else(|_| transform.clone());
    if let Ok(preprocess) = engine.cast::<Preprocess>() {
        let preprocess = preprocess.get().0;
        // A network of one channel has one mean.
        let grey = transform.getattr("mean")?.len()? == 1;
        return Ok(if grey { Arc::new(Grey(preprocess)) } else { Arc::new(preprocess) });
    }
    if let Ok(transform) = engine.cast::<Transform>() {
        return Ok(transform.get().0.clone());
    }
    Err(Error::ElementType {
        at: "transform".into(),
        expected: "a transform, a Preprocess, or none".into(),
        got: kind(transform),
    }
    .into())
}
