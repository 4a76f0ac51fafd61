//! Random flips.

use serde::{Deserialize, Serialize};

use super::chance::happens;
use super::check::check_probability;
use crate::Result;
use crate::data::Random;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flip {
    /// The probability of a flip.
    pub p: f64,
}

impl Flip {
    pub fn check(&self, step: &str) -> Result<()> {
        check_probability(&format!("{step}: p"), self.p)
    }

    pub fn happens(&self, random: &mut Random) -> bool {
        happens(random, self.p)
    }
}
