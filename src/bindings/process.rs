//! The process around runs: its end, and forks of it.
//!
//! Whoever computes while libtorch's global values are destroyed reads what is no more. And a forked child has none of
//! the threads that libtorch's pools, one for each thread that computes, believe to have.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// How many threads are at work without the GIL. Each is counted until it has the GIL again.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// Whether the interpreter is at its end.
static ENDING: AtomicBool = AtomicBool::new(false);
/// Whether this process is a fork of the one that imported the package.
static FORKED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this is the thread that ends the interpreter, in which what is registered for that may still run models.
    static ENDS: Cell<bool> = const { Cell::new(false) };
}

/// What a thread has without which it may have none in a child: as much as the main thread usually.
const STACK: usize = 8 << 20;
/// How often the end looks whether all runs are over.
const PATIENCE: Duration = Duration::from_millis(1);

/// A thread that is at work without the GIL.
pub(super) struct Running;

impl Running {
    /// Counts this thread. Ends it, without a traceback as Python itself ends daemon threads, where the interpreter is
    /// at its end.
    pub(super) fn begin(_: Python<'_>) -> PyResult<Self> {
        if ENDING.load(Ordering::SeqCst) && !ENDS.get() {
            return Err(PySystemExit::new_err(
                "the interpreter is at its end: no run begins in another thread",
            ));
        }
        RUNNING.fetch_add(1, Ordering::SeqCst);
        Ok(Self)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A child may have forgotten the runs of its parent.
        let less = |count: usize| Some(count.saturating_sub(1));
        let _ = RUNNING.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }
}

/// Does the work in a thread whose pools have their threads: this one, or, in a forked child, a new one.
pub(super) fn with_pools<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if !FORKED.load(Ordering::SeqCst) {
        return Ok(work());
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic: Box<dyn Any + Send>| resume_unwind(panic)))
    })
}

/// Waits at the interpreter's end for the runs of daemon threads.
#[pyfunction]
fn _finish_runs(py: Python<'_>) {
    ENDS.set(true);
    ENDING.store(true, Ordering::SeqCst);
    py.detach(|| {
        while RUNNING.load(Ordering::SeqCst) > 0 {
            thread::sleep(PATIENCE);
        }
    });
}

/// Tells a child that it is one. The runs of its parent are not there.
#[pyfunction]
fn _after_fork() {
    FORKED.store(true, Ordering::SeqCst);
    RUNNING.store(0, Ordering::SeqCst);
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let finish = wrap_pyfunction!(_finish_runs, module)?;
    py.import("atexit")?.call_method1("register", (finish,))?;
    let hooks = PyDict::new(py);
    hooks.set_item("after_in_child", wrap_pyfunction!(_after_fork, module)?)?;
    py.import("os")?.call_method("register_at_fork", (), Some(&hooks))?;
    Ok(())
}
