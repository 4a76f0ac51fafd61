//! The operations drawn for one photograph.

use serde::{Deserialize, Serialize};

use super::erase::Erasure;
use super::operation::Operation;

/// The operations drawn from the steps for one photograph.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drawn {
    pub operations: Vec<Operation>,
    pub erasures: Vec<Erasure>,
}
