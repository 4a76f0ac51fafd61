//! The only room that names tch: eager runs and gradients.
