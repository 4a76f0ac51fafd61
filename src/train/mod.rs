//! What training decides before a step is taken: how far each parameter moves. What is computed on arrays is in `torch`;
//! the loop over epochs is Python's.

pub mod checkpoint;
pub mod groups;
