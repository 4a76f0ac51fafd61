//! One file per family, and the table of all variants.
