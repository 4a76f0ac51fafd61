//! What training decides before a step is taken: how far each parameter moves, and how a batch is mixed. What is computed
//! on parameters is in `torch`; the loop over epochs is Python's.

pub mod checkpoint;
pub mod groups;
pub mod mix;
