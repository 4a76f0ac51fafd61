//! Epochs: the threads that make the batches of one pass over a data set, and the queue from which batches are taken.

use std::collections::VecDeque;
use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ndarray::ArrayViewMut3;

use super::Loader;
use super::batch::{Batch, PendingBatch};
use super::outcome::Outcome;
use super::rows::Row;
use super::sample::Target;
use crate::{Error, Result};

/// A running epoch. Its threads end with it.
#[derive(Debug)]
pub struct Epoch {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The process of the threads: a forked child has none of them.
    process: u32,
}

/// The result of waiting for a batch.
#[derive(Debug)]
pub enum Next {
    Batch(Batch),
    /// No batch is ready yet.
    Waiting,
    End,
}

#[derive(Debug)]
struct Shared {
    loader: Loader,
    epoch: u64,
    order: Vec<usize>,
    progress: Mutex<Progress>,
    /// Notified when a batch is ready.
    ready: Condvar,
    /// Notified when a batch is taken, so that another may be begun.
    room: Condvar,
}

#[derive(Debug)]
struct Progress {
    /// The next sample to begin, by its place in the order.
    begun: usize,
    /// The next batch to take.
    next: usize,
    /// The batches from `next` on that are begun.
    pending: VecDeque<PendingBatch>,
    stopped: bool,
    /// The number of threads that have not ended.
    running: usize,
}

/// Time limit for joining threads. A thread whose read does not return is left behind.
const FAREWELL: Duration = Duration::from_secs(1);

/// The place in a batch where a thread writes a sample.
struct Slot<'a> {
    shared: &'a Shared,
    batch: usize,
    place: usize,
    row: Option<Row>,
}

impl Loader {
    /// Starts an epoch at batch `first`. No sample of the batches before it is read.
    ///
    /// Fails with `Error::Argument` where there is no such batch, or the system grants no threads.
    pub fn epoch(&self, epoch: u64, first: usize) -> Result<Epoch> {
        if first > self.batches() {
            return Err(Error::Argument {
                at: "loader: batch".into(),
                expected: format!("at most {}", self.batches()),
                got: first.to_string(),
            });
        }
        Epoch::start(self.clone(), epoch, first)
    }
}

impl Epoch {
    fn start(loader: Loader, epoch: u64, first: usize) -> Result<Self> {
        let order = loader.shared_order(epoch);
        let begun = first.saturating_mul(loader.rows()).min(order.len());
        let threads = loader.options().threads.min(order.len() - begun);
        let progress =
            Progress { begun, next: first, pending: VecDeque::new(), stopped: false, running: 0 };
        let shared = Arc::new(Shared {
            loader,
            epoch,
            order,
            progress: Mutex::new(progress),
            ready: Condvar::new(),
            room: Condvar::new(),
        });
        // Dropping it on failure ends the threads that were started.
        let started = Self { shared, threads: Mutex::new(Vec::new()), process: process::id() };
        lock(&started.shared.progress).running = threads;
        for begun in 0..threads {
            let shared = started.shared.clone();
            let thread = thread::Builder::new()
                .name("cnnzoo-loader".into())
                .spawn(move || shared.work())
                .map_err(|error| {
                    lock(&started.shared.progress).running -= threads - begun;
                    Error::Argument {
                        at: "loader: threads".into(),
                        expected: "as many as the system grants".into(),
                        got: format!("{threads} ({error})"),
                    }
                })?;
            lock(&started.threads).push(thread);
        }
        Ok(started)
    }

    /// The next batch, waited for at most `patience`. An error in a batch ends the epoch.
    pub fn next(&self, patience: Duration) -> Result<Next> {
        if self.process != process::id() {
            return Err(Error::Argument {
                at: "loader".into(),
                expected: "batches taken in the process that began the epoch".into(),
                got: "a fork of it; begin an epoch there".into(),
            });
        }
        let end = Instant::now() + patience;
        let shared = &self.shared;
        let mut progress = lock(&shared.progress);
        loop {
            if progress.stopped || progress.next == shared.batches() {
                return Ok(Next::End);
            }
            if progress.pending.front().is_some_and(PendingBatch::is_ready) {
                break;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Next::Waiting);
            }
            let woken = shared.ready.wait_timeout(progress, left);
            progress = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let Some(batch) = progress.pending.pop_front() else { return Ok(Next::Waiting) };
        progress.next += 1;
        drop(progress);
        shared.room.notify_all();
        // Another waiting caller may find the next one ready.
        shared.ready.notify_one();
        let batch = batch.finish();
        if batch.is_err() {
            self.stop();
        }
        Ok(Next::Batch(batch?))
    }

    /// Ends the threads, each after its current sample, and waits for them up to a time limit. Ready batches are lost.
    pub fn stop(&self) {
        if self.process != process::id() {
            // The threads are of another process; even their locks may be held for ever.
            if let Ok(mut threads) = self.threads.try_lock() {
                threads.drain(..).for_each(std::mem::forget);
            }
            return;
        }
        let shared = &self.shared;
        let mut progress = lock(&shared.progress);
        progress.stopped = true;
        progress.pending.clear();
        shared.room.notify_all();
        shared.ready.notify_all();
        let threads = std::mem::take(&mut *lock(&self.threads));
        let ended = shared.ready.wait_timeout_while(progress, FAREWELL, |now| now.running > 0);
        let progress = ended.unwrap_or_else(PoisonError::into_inner).0;
        if progress.running > 0 {
            return;
        }
        drop(progress);
        for thread in threads {
            // Panics of a thread are caught at the sample.
            let _ = thread.join();
        }
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn batches(&self) -> usize {
        self.order.len().div_ceil(self.loader.rows())
    }

    fn work(&self) {
        while let Some((place, mut slot)) = self.begin() {
            let outcome = self.loader.sample(self.epoch, self.order[place], &mut slot);
            slot.done(outcome);
        }
        lock(&self.progress).running -= 1;
        self.ready.notify_all();
    }

    /// The next sample, once its batch may be begun; none when there is no more.
    fn begin(&self) -> Option<(usize, Slot<'_>)> {
        let size = self.loader.rows();
        let mut progress = lock(&self.progress);
        loop {
            if progress.stopped || progress.begun == self.order.len() {
                return None;
            }
            if progress.begun / size < progress.next.saturating_add(self.loader.options().prefetch)
            {
                break;
            }
            progress = self.room.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        let begun = progress.begun;
        progress.begun += 1;
        let (batch, place) = (begun / size, begun % size);
        if place == 0 {
            let samples = size.min(self.order.len() - begun);
            progress.pending.push_back(PendingBatch::new(batch, samples));
        }
        Some((begun, Slot { shared: self, batch, place, row: None }))
    }
}

impl Progress {
    /// A batch that is begun and not taken; none once the epoch is stopped.
    fn pending(&mut self, batch: usize) -> Option<&mut PendingBatch> {
        self.pending.get_mut(batch.checked_sub(self.next)?)
    }
}

impl Target for Slot<'_> {
    fn memory(&mut self, shape: [usize; 3], index: usize) -> Result<ArrayViewMut3<'_, f32>> {
        let name = || self.shared.loader.dataset().name(index);
        let mut progress = lock(&self.shared.progress);
        if let Some(pending) = progress.pending(self.batch) {
            let row = pending.row(self.place, shape, name)?;
            self.row = row.or(self.row.take());
        }
        drop(progress);
        // Without memory the epoch is stopped, and the output is not used.
        let row = self.row.as_mut().map(Row::numbers);
        row.and_then(|row| ArrayViewMut3::from_shape(shape, row).ok()).ok_or_else(|| {
            Error::Defect { at: "loader".into(), message: "the epoch has ended".into() }
        })
    }
}

impl Slot<'_> {
    fn done(self, outcome: Outcome) {
        let Self { shared, batch, place, row } = self;
        drop(row);
        let mut progress = lock(&shared.progress);
        let first = batch == progress.next;
        if progress.pending(batch).is_some_and(|pending| pending.done(place, outcome)) && first {
            drop(progress);
            shared.ready.notify_all();
        }
    }
}

/// Locks, poisoned or not: the locked state is consistent wherever a panic could occur.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
