//! Photographs to arrays: decode, resize as Pillow does, crop and normalise. Knows no tensor library.
