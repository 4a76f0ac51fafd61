//! Parameters outside a running model: initialisation, files, names.
