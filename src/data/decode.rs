//! Files to photographs, equal to Pillow's `Image.open(path).convert("RGB")`.
//!
//! What the bytes are is told by the bytes, not by the name. Each format says in its own file what
//! becomes of its colour types. Whatever is cut short, damaged or of another kind is an error that
//! holds the path, never a picture with a grey half.

mod exif;
mod jpeg;
mod png;
mod webp;

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::photo::{Photo, check_size};
use crate::{Error, Result, file};

/// The largest file that is read: no photograph of `MAX_PIXELS` comes near it.
const MAX_BYTES: u64 = 1 << 30;

/// What was expected and what came; the path is added where it is known.
#[derive(Debug)]
struct Flaw {
    expected: String,
    got: String,
}

impl Flaw {
    fn new(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { expected: expected.into(), got: got.into() }
    }
}

/// A decoded picture and the orientation that its EXIF data gives, if it was asked for.
struct Decoded {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    orientation: Option<u16>,
}

/// Reads and decodes the JPEG, PNG or WebP file at `path`.
///
/// `apply_orientation` turns the picture upright from its EXIF data, which is ignored otherwise.
/// Fails with `Error::PhotoFile` when the file cannot be read and `Error::Photo` when it does not
/// decode.
pub fn decode_file(path: &Path, apply_orientation: bool) -> Result<Photo> {
    let unreadable = |source| Error::PhotoFile { path: path.into(), source };
    let file = match file::open(path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            return Err(Error::Photo {
                path: path.into(),
                expected: FORMATS.into(),
                got: "a directory".into(),
            });
        }
        file => file.map_err(unreadable)?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        let source = io::Error::other(format!("expected at most {MAX_BYTES} bytes, got more"));
        return Err(unreadable(source));
    }
    decode_bytes(&bytes, path, apply_orientation)
}

/// Decodes the bytes of a JPEG, PNG or WebP file; `origin` stands for its path in errors.
///
/// Fails with `Error::Photo` when they do not decode.
pub fn decode_bytes(bytes: &[u8], origin: &Path, apply_orientation: bool) -> Result<Photo> {
    let flawed =
        |flaw: Flaw| Error::Photo { path: origin.into(), expected: flaw.expected, got: flaw.got };
    let (name, decode) = decoder(bytes).map_err(flawed)?;
    // The decoders index and unwrap on their own account, and some damaged files reach that.
    let decoded = catch_unwind(AssertUnwindSafe(|| decode(bytes, apply_orientation)))
        .unwrap_or_else(|_| Err(Flaw::new(format!("a sound {name} file"), "damaged data")))
        .map_err(flawed)?;
    let photo = Photo::new(decoded.width, decoded.height, decoded.pixels)?;
    Ok(decoded.orientation.into_iter().fold(photo, Photo::upright))
}

const FORMATS: &str = "a JPEG, PNG or WebP file";

type Decode = fn(&[u8], bool) -> Result<Decoded, Flaw>;

fn decoder(bytes: &[u8]) -> Result<(&'static str, Decode), Flaw> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Ok(("JPEG", jpeg::decode)),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(("PNG", png::decode)),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
            Ok(("WebP", webp::decode))
        }
        _ => Err(Flaw::new(FORMATS, describe(bytes))),
    }
}

/// Says in words what a file of another kind is.
fn describe(bytes: &[u8]) -> String {
    let known: [(&[u8], &str); 10] = [
        (b"GIF8", "a GIF file"),
        (b"BM", "a BMP file"),
        (b"II*\0", "a TIFF file"),
        (b"MM\0*", "a TIFF file"),
        (b"%PDF", "a PDF file"),
        (b"PK\x03\x04", "a zip file"),
        (b"\x1f\x8b", "a gzip file"),
        (b"\x93NUMPY", "a NumPy file"),
        (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 file"),
        (b"\xff\x0a", "a JPEG XL file"),
    ];
    if bytes.is_empty() {
        return "an empty file".into();
    }
    if let Some((_, name)) = known.iter().find(|(start, _)| bytes.starts_with(start)) {
        return (*name).into();
    }
    if let Some(brand) = bytes.get(4..12).and_then(|name| name.strip_prefix(b"ftyp")) {
        return format!("an ISO media file ({})", String::from_utf8_lossy(brand).trim());
    }
    let head = &bytes[..bytes.len().min(64)];
    let text = String::from_utf8_lossy(head);
    let printable = |letter: char| !letter.is_control() || letter.is_whitespace();
    if text.chars().all(|letter| printable(letter) && letter != char::REPLACEMENT_CHARACTER) {
        let kind = if text.trim_start().starts_with('<') { "HTML or XML" } else { "text" };
        let line: String =
            text.trim_start().lines().next().unwrap_or("").chars().take(24).collect();
        return format!("{kind} that begins with {line:?}");
    }
    let first: Vec<String> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("bytes {}", first.join(" "))
}

/// The sizes that a header gives, where they are ones to make room for.
fn sizes(width: usize, height: usize) -> Result<(usize, usize), Flaw> {
    check_size(width, height)
        .map_err(|expected| Flaw::new(expected, format!("{width}x{height}")))?;
    Ok((width, height))
}
