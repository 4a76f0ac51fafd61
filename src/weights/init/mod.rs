//! Initialisation of parameters.

mod recipe;
mod rule;

pub use recipe::Recipe;
pub use rule::{Draw, Rule};
