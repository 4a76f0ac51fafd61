//! The one entry of EXIF data that changes a picture.

const ORIENTATION: u16 = 0x0112;

/// The orientation (1 to 8) in a TIFF structure, which is how JPEG, PNG and WebP all store EXIF data.
/// Data that is damaged has none.
pub(super) fn orientation(data: &[u8]) -> Option<u16> {
    let data = data.strip_prefix(b"Exif\0\0").unwrap_or(data);
    let big = match data.get(..4)? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes: [u8; 2] = data.get(at..at + 2)?.try_into().ok()?;
        Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes: [u8; 4] = data.get(at..at + 4)?.try_into().ok()?;
        Some(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let directory = long(4)? as usize;
    let entries = usize::from(short(directory)?);
    for entry in (0..entries).map(|index| directory + 2 + index * 12) {
        if short(entry)? == ORIENTATION {
            let value = match short(entry + 2)? {
                3 => u32::from(short(entry + 8)?),
                4 => long(entry + 8)?,
                _ => return None,
            };
            return u16::try_from(value).ok().filter(|value| (1..=8).contains(value));
        }
    }
    None
}
