//! Parameters outside a running model: initialisation, files, names.
pub mod init;
pub mod load;
pub mod names;
