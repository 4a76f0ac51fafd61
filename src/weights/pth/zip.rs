//! `torch.save`'s zip archive since PyTorch 1.6: `NAME/data.pkl` describes the object, `NAME/data/KEY` are the
//! storages, stored without compression.
//!
//! The archive's checksums are not verified, as in PyTorch: that would read the whole file, and PyTorch can be told to
//! write them wrong.

use std::collections::HashMap;
use std::io::BufReader;
use std::ops::Range;

use zip::{CompressionMethod, ZipArchive};

use super::resolve::{self, Storages};
use crate::weights::contents::Contents;
use crate::weights::format::READABLE;
use crate::weights::pickle::unpickle;
use crate::weights::refusal::Refusal;
use crate::weights::source::Source;

/// Signature of the end record of an archive, which is 22 bytes and a comment.
const END: &[u8] = b"PK\x05\x06";

const DESCRIPTION: &str = "/data.pkl";

/// # Errors
/// An archive that is damaged, of another program, compressed, encrypted or big-endian; and those of [`unpickle`].
pub(in crate::weights) fn read_zip(
    source: &Source,
    key: Option<&str>,
) -> Result<Contents, Refusal> {
    let entries = entries(source)?;
    let prefix = prefix(&entries)?;
    if let Some(order) = entries.get(&format!("{prefix}/byteorder")) {
        let order = stored(source, "byteorder", order)?;
        if order != b"little" {
            let got = String::from_utf8_lossy(&order).chars().take(20).collect::<String>();
            return Err(Refusal::new("a little-endian file", format!("byte order {got:?}")));
        }
    }
    let storages = storages(&entries, prefix)?;
    let description = &entries[&format!("{prefix}{DESCRIPTION}")];
    let description = stored(source, DESCRIPTION, description)?;
    let pickle = unpickle(&description)?;
    if pickle.length() != description.len() {
        let got = format!("{} bytes behind it", description.len() - pickle.length());
        return Err(Refusal::new("nothing behind the pickle", got).of(DESCRIPTION));
    }
    resolve::contents(&pickle, &storages, source.length(), key)
}

/// The byte range of an entry, or the reason why it cannot be read in place.
type Extent = Result<Range<usize>, String>;

fn entries(source: &Source) -> Result<HashMap<String, Extent>, Refusal> {
    let damaged =
        |error: &dyn std::fmt::Display| Refusal::new("a complete zip archive", error.to_string());
    let file = source.file();
    // Most reads are headers of 30 bytes, far from each other.
    let buffered = BufReader::with_capacity(1 << 10, &*file);
    let mut archive = ZipArchive::new(buffered).map_err(|error| damaged(&error))?;
    if archive.has_duplicate_names() {
        return Err(Refusal::new("a zip archive with each name once", "a name twice"));
    }
    let end = END.len() + 18 + archive.comment().len();
    let mut entries = HashMap::with_capacity(archive.len());
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|error| damaged(&error))?;
        let name = entry.name().map_err(|error| damaged(&error))?.into_owned();
        let place = if entry.encrypted() {
            Err("an encrypted entry".to_owned())
        } else if entry.compression() != CompressionMethod::Stored {
            Err(format!("an entry compressed by {:?}", entry.compression()))
        } else {
            inside(entry.data_start(), entry.size(), source.length())
        };
        entries.insert(name, place);
    }
    drop(archive);
    drop(file);
    let end = source.length().saturating_sub(end);
    if source.read(end, END.len())? != END {
        return Err(Refusal::new("the file's end behind the archive", "trailing bytes"));
    }
    Ok(entries)
}

fn inside(start: Option<u64>, size: u64, length: usize) -> Extent {
    let start = start.and_then(|start| usize::try_from(start).ok());
    let end =
        start.zip(usize::try_from(size).ok()).and_then(|(start, size)| start.checked_add(size));
    match (start, end) {
        (Some(start), Some(end)) if end <= length => Ok(start..end),
        _ => Err("an entry that reaches beyond the file".to_owned()),
    }
}

fn stored(source: &Source, name: &str, place: &Extent) -> Result<Vec<u8>, Refusal> {
    match place {
        Ok(range) => source.read(range.start, range.len()),
        Err(got) => Err(not_stored(name, got)),
    }
}

fn not_stored(name: &str, got: &str) -> Refusal {
    Refusal::new("an entry stored as torch.save does, uncompressed", got).of(name)
}

/// The folder in which `torch.save` puts all entries.
fn prefix(entries: &HashMap<String, Extent>) -> Result<&str, Refusal> {
    let any = |test: &dyn Fn(&str) -> bool| entries.keys().any(|name| test(name));
    if any(&|name| name.ends_with("/constants.pkl") || name.contains("/code/")) {
        return Err(Refusal::new(READABLE, "a TorchScript archive, which holds a program"));
    }
    let mut prefixes = entries.keys().filter_map(|name| name.strip_suffix(DESCRIPTION));
    match (prefixes.next(), prefixes.next()) {
        (Some(prefix), None) => Ok(prefix),
        (Some(_), Some(_)) => Err(Refusal::new("one data.pkl in the archive", "several")),
        _ if any(&|name| name.ends_with(".weights.h5")) => {
            Err(Refusal::new(READABLE, "a .keras archive, which is not supported yet"))
        }
        _ if !entries.is_empty()
            && entries.keys().all(|name| name.rsplit('.').next() == Some("npy")) =>
        {
            Err(Refusal::new(READABLE, "a NumPy .npz archive"))
        }
        _ => Err(Refusal::new(READABLE, "a zip archive that torch.save did not write")),
    }
}

fn storages(entries: &HashMap<String, Extent>, prefix: &str) -> Result<Storages, Refusal> {
    let mut storages = Storages::new();
    for (name, place) in entries {
        let key = name.strip_prefix(prefix).and_then(|name| name.strip_prefix("/data/"));
        if let Some(key) = key {
            let place = place.clone().map_err(|got| not_stored(name, &got))?;
            storages.insert(key.to_owned(), place);
        }
    }
    Ok(storages)
}
