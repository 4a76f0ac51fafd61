//! The process around runs: its exit, and forks of it.
//!
//! A thread that computes while libtorch's global values are destroyed would read freed memory. And a forked child has
//! none of the threads that libtorch's pools, one for each thread that computes, believe to have.

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

/// The number of threads that work without the GIL. Each is counted until it has the GIL again.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// Whether the interpreter is exiting.
static ENDING: AtomicBool = AtomicBool::new(false);
/// Whether this process is a fork of the one that imported the package.
static FORKED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this is the thread that ends the interpreter, whose exit handlers may still run models.
    static ENDS: Cell<bool> = const { Cell::new(false) };
}

/// The stack size of a thread in a forked child, without which it might have none: the usual one of the main thread.
const STACK: usize = 8 << 20;
/// The interval at which the exit checks whether all runs are over.
const PATIENCE: Duration = Duration::from_millis(1);

/// A thread that works without the GIL.
pub(super) struct Running;

impl Running {
    /// Counts this thread. Ends it, without a traceback as Python itself ends daemon threads, where the interpreter is
    /// exiting.
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
        // A child may have reset the count of its parent's runs.
        let less = |count: usize| Some(count.saturating_sub(1));
        let _ = RUNNING.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }
}

/// Runs the work in a thread whose pools have their threads: this one, or, in a forked child, a new one.
pub(super) fn with_pools<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if !FORKED.load(Ordering::SeqCst) {
        return Ok(work());
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic: Box<dyn Any + Send>| resume_unwind(panic)))
    })
}

/// Waits for the runs of daemon threads when the interpreter exits.
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

/// Marks this process as a forked child, in which the parent's runs do not exist.
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
    // For an extension that a child imports: libtorch's pools may be of its parent.
    module.add_function(wrap_pyfunction!(_after_fork, module)?)
}
