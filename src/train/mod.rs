//! Decisions before a training step: parameter groups, and mixing of batches. The computation on parameters is in
//! `torch`; the loop over epochs is in Python.

pub mod checkpoint;
pub mod groups;
pub mod mix;
