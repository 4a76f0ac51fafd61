//! Decoding of image files, equal to Pillow's `Image.open(path).convert("RGB")`.
//!
//! The format is detected from the bytes, not from the name. The module of each format documents its colour types. A
//! file that is truncated, damaged or of another kind is an error that holds the path, never a picture with a grey
//! half.

mod bmp;
mod decoded;
mod exif;
mod gif;
mod jpeg;
mod png;
mod pnm;
mod tiff;
mod webp;

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::photo::Photo;
use crate::memory::room;
use crate::{Error, Result, file};
use decoded::{DecodeError, Decoded};

/// The largest file that is read: no photograph of `MAX_PIXELS` comes near it.
const MAX_BYTES: u64 = 1 << 30;

/// Reads and decodes the picture file at `path`.
///
/// `orientation` turns the picture upright from its EXIF data, which is ignored otherwise.
/// Fails with `Error::PhotoFile` when the file cannot be read and `Error::Photo` when it does not
/// decode.
pub fn decode_file(path: &Path, orientation: bool) -> Result<Photo> {
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
    // Memory is reserved before reading; more is needed only where the file grows meanwhile.
    let length = file.metadata().map_err(unreadable)?.len();
    let too_long =
        || unreadable(io::Error::other(format!("expected at most {MAX_BYTES} bytes, got more")));
    if length > MAX_BYTES {
        return Err(too_long());
    }
    let mut bytes =
        room(length as usize + 1).map_err(|shortage| shortage.at(path.display().to_string()))?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(too_long());
    }
    decode_bytes(&bytes, path, orientation)
}

/// Decodes the bytes of a picture file; `origin` stands for its path in errors.
///
/// Fails with `Error::Photo` when they do not decode.
pub fn decode_bytes(bytes: &[u8], origin: &Path, orientation: bool) -> Result<Photo> {
    let flawed = |flaw: DecodeError| flaw.at(origin);
    let (name, decode) = decoder(bytes).map_err(flawed)?;
    // The decoders may panic on some damaged files.
    let decoded = catch_unwind(AssertUnwindSafe(|| decode(bytes, orientation)))
        .unwrap_or_else(|_| {
            Err(DecodeError::new(format!("an undamaged {name} file"), "damaged data"))
        })
        .map_err(flawed)?;
    let photo = Photo::new(decoded.width, decoded.height, decoded.pixels)?;
    match decoded.orientation {
        Some(orientation) => photo.upright(orientation),
        None => Ok(photo),
    }
}

const FORMATS: &str = "a JPEG, PNG, WebP, GIF, BMP, TIFF or PNM file";

type Decode = fn(&[u8], bool) -> Result<Decoded, DecodeError>;

fn decoder(bytes: &[u8]) -> Result<(&'static str, Decode), DecodeError> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Ok(("JPEG", jpeg::decode)),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(("PNG", png::decode)),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
            Ok(("WebP", webp::decode))
        }
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => {
            Ok(("GIF", |bytes, _| gif::decode(bytes)))
        }
        _ if bmp::is_one(bytes) => Ok(("BMP", |bytes, _| bmp::decode(bytes))),
        _ if pnm::is_one(bytes) => Ok(("PNM", |bytes, _| pnm::decode(bytes))),
        _ if tiff::is_one(bytes) => Ok(("TIFF", tiff::decode)),
        _ => Err(DecodeError::new(FORMATS, describe(bytes))),
    }
}

/// Describes a file of another kind.
fn describe(bytes: &[u8]) -> String {
    let known: [(&[u8], &str); 7] = [
        (b"P7\n", "a PAM file"),
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
