//! IDX files, the format of MNIST and its relatives, plain or gzip-compressed.
//!
//! A file begins with two zeros, the code of its element type (8: bytes), the number of its axes, and the length of
//! each axis as four bytes, the highest first; the elements follow. <http://yann.lecun.com/exdb/mnist/>

use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::arrays::{Arrays, Size};
use crate::error::{Error, Result, shape_text};
use crate::file;

/// More bytes than any file of the family has.
const MOST_BYTES: usize = 1 << 34;

/// Grey photographs and their labels, from a file of shape (N, height, width) and one of shape (N,).
///
/// Fails with `Error::PhotoFile` where a file cannot be read, and `Error::Photo` where it is no IDX file, truncated or
/// too long, or the two files do not match.
pub fn idx(images: &Path, labels: &Path, classes: Option<Vec<String>>) -> Result<Arrays> {
    let ([count, height, width], pixels) = read(images)?;
    let ([labelled], bytes) = read(labels)?;
    if labelled != count {
        return Err(Error::Photo {
            path: labels.into(),
            expected: format!("a label for each of the {count} images of {}", images.display()),
            got: format!("{labelled} labels"),
        });
    }
    if pixels.is_empty() {
        let (expected, got) = match count {
            0 => ("at least one image".into(), "none".into()),
            _ => ("images of at least one pixel".into(), format!("{height}×{width}")),
        };
        return Err(Error::Photo { path: images.into(), expected, got });
    }
    let size = Size { height, width, channels: 1 };
    let name = images.display().to_string();
    Arrays::new(name, size, pixels, bytes.into_iter().map(usize::from).collect(), classes)
}

/// The bytes of a file with `AXES` axes, and the lengths of these.
fn read<const AXES: usize>(path: &Path) -> Result<([usize; AXES], Vec<u8>)> {
    let flaw = |expected: String, got: String| Error::Photo { path: path.into(), expected, got };
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::UnexpectedEof => {
            flaw("a complete IDX file".into(), "a truncated file".into())
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            flaw("an undamaged gzip file".into(), source.to_string())
        }
        _ => Error::PhotoFile { path: path.into(), source },
    };
    let mut reader = open(path).map_err(failed)?;
    let mut magic = [0; 4];
    reader.read_exact(&mut magic).map_err(failed)?;
    let expected = [0, 0, 8, AXES as u8];
    if magic != expected {
        let kind = format!("an IDX file of bytes with {AXES} axes, which begins with {expected:?}");
        return Err(flaw(kind, format!("{magic:?}")));
    }
    let mut shape = [0; AXES];
    for length in &mut shape {
        let mut bytes = [0; 4];
        reader.read_exact(&mut bytes).map_err(failed)?;
        *length = u32::from_be_bytes(bytes) as usize;
    }
    let count = shape.iter().try_fold(1_usize, |all, &length| all.checked_mul(length));
    let Some(count) = count.filter(|&count| count <= MOST_BYTES) else {
        return Err(flaw(format!("at most {MOST_BYTES} bytes"), shape_text(&shape)));
    };
    let mut bytes = Vec::new();
    // One byte more than expected shows whether there are more. Memory grows with what is read, whatever the header
    // says.
    reader.take(count as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() == count {
        return Ok((shape, bytes));
    }
    let got = if bytes.len() < count { bytes.len().to_string() } else { "more".into() };
    Err(flaw(format!("{count} bytes of shape {}", shape_text(&shape)), got))
}

/// The file, decompressed if its first two bytes are gzip's.
fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = file::open(path)?;
    let mut start = Vec::new();
    file.by_ref().take(2).read_to_end(&mut start)?;
    let compressed = start == [0x1f, 0x8b];
    let whole = io::Cursor::new(start).chain(BufReader::new(file));
    if compressed { Ok(Box::new(MultiGzDecoder::new(whole))) } else { Ok(Box::new(whole)) }
}
