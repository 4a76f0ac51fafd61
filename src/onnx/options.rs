//! The choices of an export, and the versions of ONNX that it writes.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// The first version of ONNX's operators that is written: it has `LayerNormalization`.
pub const FIRST_OPSET: usize = 17;

/// The last one, the newest that onnxruntime 1.32 runs.
pub const LAST_OPSET: usize = 28;

/// The version of the file format that belongs to each version of the operators.
const FORMATS: [i64; LAST_OPSET - FIRST_OPSET + 1] = [8, 8, 9, 9, 10, 10, 11, 12, 13, 13, 13, 14];

/// The choices of an export.
#[derive(Clone, Debug)]
pub struct Options {
    /// Images at once; any number if none.
    pub batch: Option<usize>,
    pub image: Image,
    pub opset: usize,
    pub normalize: Option<Normalize>,
    /// Whether norms are folded into the convolutions before them.
    pub fold: bool,
    /// Whether arrays lie in a second file; if none, where one file would be too large.
    pub external: Option<bool>,
    /// The names of the input and the output.
    pub names: [String; 2],
    pub metadata: BTreeMap<String, String>,
}

/// The size of the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    Any,
    Fixed { height: usize, width: usize },
}

/// The normalisation of bytes (N, H, W, C), which are divided by 255 before.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalize {
    pub mean: Vec<f32>,
    pub std: Vec<f32>,
}

impl Options {
    /// The version of the file format. Fails with `Error::Argument` where an option is out of its range.
    pub fn format(&self) -> Result<i64> {
        let refused = |at: &str, expected: &str, got: String| Error::Argument {
            at: at.into(),
            expected: expected.into(),
            got,
        };
        for (option, name) in ["`input_name`", "`output_name`"].iter().zip(&self.names) {
            if name.is_empty() || name.contains('/') {
                return Err(refused(option, "a name without `/`", format!("`{name}`")));
            }
        }
        if self.names[0] == self.names[1] {
            let got = format!("`{}`, the name of the input", self.names[1]);
            return Err(refused("`output_name`", "a name of its own", got));
        }
        let position = self.opset.checked_sub(FIRST_OPSET);
        position.and_then(|position| FORMATS.get(position)).copied().ok_or_else(|| {
            let range = format!("a version of ONNX's operators of {FIRST_OPSET} to {LAST_OPSET}");
            refused("`opset`", &range, self.opset.to_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(opset: usize, names: [&str; 2]) -> Result<i64, String> {
        let options = Options {
            batch: None,
            image: Image::Any,
            opset,
            normalize: None,
            fold: false,
            external: None,
            names: names.map(String::from),
            metadata: BTreeMap::new(),
        };
        options.format().map_err(|error| error.to_string())
    }

    #[test]
    fn options_have_their_ranges() {
        let names = ["images", "logits"];
        assert_eq!(format(FIRST_OPSET, names), Ok(8));
        assert_eq!(format(LAST_OPSET, names), Ok(14));
        assert!(format(FIRST_OPSET - 1, names).is_err());
        assert!(format(LAST_OPSET + 1, names).is_err());
        for names in [["a", "a"], ["", "a"], ["a", "a/b"]] {
            assert!(format(FIRST_OPSET, names).is_err(), "{names:?}");
        }
    }
}
