//! Data loaders: threads make the batches of a data set ahead of their use.
//!
//! A batch follows from the data set, the options, the epoch and the number of the batch alone: not from the number of
//! threads, and not from the batches before. So an epoch can be entered anywhere.

mod batch;
mod epoch;
mod outcome;
mod plain;
mod rows;
mod sample;

use std::sync::Arc;
use std::thread::available_parallelism;

pub use batch::Batch;
pub use epoch::{Epoch, Next};
pub use outcome::BadSample;
pub use plain::Plain;

use super::dataset::Dataset;
use super::prepare::Prepare;
use super::random::shuffled;
use crate::{Error, Result};

/// Options of a data loader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub batch_size: usize,
    /// Shuffle the samples anew for every epoch, instead of keeping the order of the data set.
    pub shuffle: bool,
    pub seed: u64,
    /// Drop the last batch where it would be smaller.
    pub drop_last: bool,
    pub threads: usize,
    /// The most batches that are being made, or are ready and not yet taken.
    pub prefetch: usize,
    pub on_error: OnError,
    /// The place of this process among those that share each batch, and their number.
    pub share: (usize, usize),
    /// Turn photographs upright by their EXIF data.
    pub orientation: bool,
}

/// Handling of samples that cannot be read or prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Its batch fails, and with it the epoch.
    Raise,
    /// The sample is left out of its batch.
    Skip,
    /// Another sample, drawn at random, takes its place.
    Replace,
}

impl Options {
    /// One thread per core, and enough batches ahead for all of them.
    pub fn new(batch_size: usize) -> Self {
        let threads = available_parallelism().map_or(1, usize::from);
        Self {
            batch_size,
            shuffle: false,
            seed: 0,
            drop_last: false,
            threads,
            prefetch: Self::ahead(batch_size, threads),
            on_error: OnError::Raise,
            share: (0, 1),
            orientation: true,
        }
    }

    /// The number of batches ahead that keeps `threads` busy.
    pub fn ahead(batch_size: usize, threads: usize) -> usize {
        2 + threads.div_ceil(batch_size.max(1))
    }
}

/// A data loader: a data set, the transform of its photographs, and the options.
#[derive(Clone, Debug)]
pub struct Loader {
    dataset: Arc<dyn Dataset>,
    prepare: Arc<dyn Prepare>,
    options: Options,
}

impl Loader {
    /// Fails with `Error::Argument` where a number in the options is zero, or there would be no batch.
    pub fn new(
        dataset: Arc<dyn Dataset>,
        prepare: Arc<dyn Prepare>,
        options: Options,
    ) -> Result<Self> {
        let Options { batch_size, threads, prefetch, share: (place, processes), .. } = options;
        for (name, number) in
            [("batch_size", batch_size), ("threads", threads), ("prefetch", prefetch)]
        {
            if number == 0 {
                let (at, expected) = (format!("loader: {name}"), "at least 1".into());
                return Err(Error::Argument { at, expected, got: "0".into() });
            }
        }
        if place >= processes || !batch_size.is_multiple_of(processes) {
            return Err(Error::Argument {
                at: "loader: batch_size".into(),
                expected: format!(
                    "a multiple of {processes}, the number of processes that share it"
                ),
                got: batch_size.to_string(),
            });
        }
        let loader = Self { dataset, prepare, options };
        if loader.batches() == 0 {
            return Err(Error::Argument {
                at: "loader: batch_size".into(),
                expected: format!(
                    "at most {} samples of the data set, since drop_last leaves out what is smaller",
                    loader.dataset.len()
                ),
                got: loader.options.batch_size.to_string(),
            });
        }
        Ok(loader)
    }

    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.dataset
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The number of batches in an epoch.
    pub fn batches(&self) -> usize {
        let (samples, size) = (self.dataset.len(), self.options.batch_size);
        if self.options.drop_last { samples / size } else { samples.div_ceil(size) }
    }

    /// The number of samples of a batch that are this process's, but for the last batch.
    fn rows(&self) -> usize {
        self.options.batch_size / self.options.share.1
    }

    /// The samples of this process: a run of each batch, all of it where it shares with none. Of a smaller last batch it may
    /// have none.
    fn shared_order(&self, epoch: u64) -> Vec<usize> {
        let (place, processes) = self.options.share;
        let order = self.order(epoch);
        let batches = order.chunks(self.options.batch_size);
        let share = |batch: &[usize]| {
            let end = |place: usize| (batch.len() * place).div_ceil(processes);
            batch[end(place)..end(place + 1)].to_vec()
        };
        batches.flat_map(share).collect()
    }

    /// The samples of an epoch in order, without those that `drop_last` leaves out.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        let samples = self.dataset.len();
        let mut order = if self.options.shuffle {
            shuffled(samples, self.options.seed, epoch)
        } else {
            (0..samples).collect()
        };
        order.truncate(self.batches().saturating_mul(self.options.batch_size));
        order
    }
}
