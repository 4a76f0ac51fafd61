//! Detection of file formats by content, never by suffix.

use super::refusal::Refusal;

/// The number of bytes that suffice for detection.
pub(super) const BEGIN: usize = 512;

/// The readable formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Safetensors,
    /// `torch.save`'s format since PyTorch 1.6.
    Zip,
    /// `torch.save`'s format before, still available on request: pickles followed by raw storages.
    Pickle,
}

/// The first bytes of files that people take for weights, and their formats.
const FOREIGN: &[(&[u8], &str)] = &[
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file; Keras .h5 is not supported yet"),
    (
        b"version https://git-lfs",
        "a git-LFS pointer; the file itself was not downloaded (`git lfs pull`)",
    ),
    (b"\x1f\x8b", "a gzip-compressed file"),
    (b"\x28\xb5\x2f\xfd", "a zstd-compressed file"),
    (b"BZh", "a bzip2-compressed file"),
    (b"\xfd7zXZ\0", "an xz-compressed file"),
    (b"\x93NUMPY", "a NumPy .npy file"),
    (b"GGUF", "a GGUF file"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF"),
    (b"PK\x05\x06", "an empty zip archive"),
];

pub(super) const READABLE: &str = "a .safetensors file or a .pth file of torch.save";

/// # Errors
/// Files of no readable format, with a guess at their kind.
pub(super) fn detect(bytes: &[u8]) -> Result<Format, Refusal> {
    if bytes.starts_with(b"PK\x03\x04") {
        return Ok(Format::Zip);
    }
    let object = bytes.get(8) == Some(&b'{');
    // A header of 128 bytes, or of 128 plus a multiple of 256, begins as a pickle does.
    let is_short = bytes.get(4..8) == Some(&[0; 4]);
    if bytes.len() >= 2 && bytes[0] == 0x80 && bytes[1] <= 5 && !(object && is_short) {
        return Ok(Format::Pickle);
    }
    if object && !bytes.starts_with(b"version") && !is_text(bytes) {
        return Ok(Format::Safetensors);
    }
    Err(Refusal::new(READABLE, foreign(bytes)))
}

fn foreign(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "an empty file".to_owned();
    }
    if let Some((_, what)) = FOREIGN.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return (*what).to_owned();
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return "a tar archive; the tar files of PyTorch before 0.1.10 are not read".to_owned();
    }
    if !is_text(bytes) {
        let begin = &bytes[..bytes.len().min(8)];
        return format!("an unknown binary file beginning with the bytes {begin:02x?}");
    }
    let begin = text_begin(bytes);
    let lower = begin.to_ascii_lowercase();
    if ["<!doctype html", "<html", "<?xml"].iter().any(|tag| lower.starts_with(tag)) {
        return "an HTML or XML page, perhaps the error page of a download".to_owned();
    }
    format!("a text file beginning with {begin:?}")
}

fn is_text(bytes: &[u8]) -> bool {
    let begin = &bytes[..bytes.len().min(BEGIN)];
    let valid = match std::str::from_utf8(begin) {
        Ok(text) => text.len(),
        Err(error) => error.valid_up_to(),
    };
    // The cut at 512 bytes may split a character.
    let whole = begin.len() - valid < 4 && (begin.len() == BEGIN || begin.len() == valid);
    whole && !begin.iter().any(|&byte| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c))
}

fn text_begin(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(BEGIN)])
        .trim_start()
        .chars()
        .take(40)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_character_is_still_text() {
        let mut page = "a".repeat(511);
        page.push('é');
        assert!(is_text(page.as_bytes()));
        assert!(!is_text(b"abc\xff"));
        assert!(!is_text(b"abc\0"));
    }
}
