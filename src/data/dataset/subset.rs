//! Subsets of a data set.

use std::sync::Arc;

use super::Dataset;
use super::fingerprint::Fingerprint;
use crate::data::photo::Photo;
use crate::{Error, Result};

/// The samples of `whole` at these indices, in that order; the classes stay those of the whole.
#[derive(Debug)]
pub struct Subset {
    whole: Arc<dyn Dataset>,
    indices: Vec<usize>,
}

impl Subset {
    /// Fails with `Error::Argument` where an index is out of range or there is none.
    pub fn new(whole: Arc<dyn Dataset>, indices: Vec<usize>) -> Result<Self> {
        let flaw = |got| Error::Argument {
            at: "subset".into(),
            expected: format!("at least one index, each below {}", whole.len()),
            got,
        };
        match indices.iter().max() {
            None => Err(flaw("none".into())),
            Some(&largest) if largest >= whole.len() => Err(flaw(largest.to_string())),
            Some(_) => Ok(Self { whole, indices }),
        }
    }
}

impl Dataset for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn read(&self, index: usize, orientation: bool) -> Result<Photo> {
        self.whole.read(self.indices[index], orientation)
    }

    fn label(&self, index: usize) -> usize {
        self.whole.label(self.indices[index])
    }

    fn name(&self, index: usize) -> String {
        self.whole.name(self.indices[index])
    }

    fn classes(&self) -> &[String] {
        self.whole.classes()
    }

    fn fingerprint(&self) -> u64 {
        let mut fingerprint = Fingerprint::default();
        fingerprint.number(self.whole.fingerprint() as usize).numbers(&self.indices).value()
    }
}
