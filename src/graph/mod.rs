//! An architecture as data.
