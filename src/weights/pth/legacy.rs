//! `torch.save`'s format before PyTorch 1.6: five pickles (a magic number, a protocol version, facts about the machine,
//! the object, the keys of its storages), then each storage as a count of elements and its bytes.

use std::collections::HashMap;

use super::resolve::{self, Storages};
use crate::weights::contents::Contents;
use crate::weights::format::READABLE;
use crate::weights::pickle::{Element, Object, Pickle, unpickle};
use crate::weights::refusal::Refusal;
use crate::weights::source::Source;

/// 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// The number of bytes in which the pickles are sought first; then twice as many, until they end.
const PICKLES: usize = 1 << 20;

/// # Errors
/// A pickle of another program, a file that is truncated or longer than it says, big-endian; and those of [`unpickle`].
pub(in crate::weights) fn read_legacy(
    source: &Source,
    key: Option<&str>,
) -> Result<Contents, Refusal> {
    let mut length = source.length().min(PICKLES);
    loop {
        let begin = source.read(0, length)?;
        match read(&begin, source, key) {
            Err(refusal) if refusal.is_cut() && length < source.length() => {
                length = source.length().min(2 * length);
            }
            result => return result,
        }
    }
}

/// `begin` has the file's first bytes, which hold all its pickles.
fn read(begin: &[u8], source: &Source, key: Option<&str>) -> Result<Contents, Refusal> {
    let mut at = 0;
    let mut next = || -> Result<Pickle<'_>, Refusal> {
        let pickle = unpickle(&begin[at..])?;
        at += pickle.length();
        Ok(pickle)
    };
    let magic = next()?;
    if !matches!(magic.get(magic.root()), Object::BigInt(number) if **number == MAGIC) {
        let got =
            format!("a pickle of {}, which torch.save did not write", magic.describe(magic.root()));
        return Err(Refusal::new(READABLE, got));
    }
    let protocol = next()?;
    if !matches!(protocol.get(protocol.root()), Object::Int(PROTOCOL)) {
        let got = protocol.describe(protocol.root());
        return Err(Refusal::new(format!("version {PROTOCOL} of the file format"), got));
    }
    check_byte_order(&next()?)?;
    let object = next()?;
    let keys = next()?;
    let storages = storages(&object, &keys, source, at)?;
    resolve::contents(&object, &storages, source.length(), key)
}

fn check_byte_order(facts: &Pickle<'_>) -> Result<(), Refusal> {
    let Object::Dict(items) = facts.get(facts.root()) else {
        return Err(Refusal::new("facts about the writing machine", facts.describe(facts.root())));
    };
    let little = items.iter().find_map(|&(key, value)| match (facts.get(key), facts.get(value)) {
        (Object::Text("little_endian"), &Object::Bool(little)) => Some(little),
        _ => None,
    });
    match little {
        Some(false) => Err(Refusal::new("a little-endian file", "a big-endian one")),
        _ => Ok(()),
    }
}

/// Finds the raw storages, which stand in the order of `keys`.
fn storages(
    object: &Pickle<'_>,
    keys: &Pickle<'_>,
    source: &Source,
    mut at: usize,
) -> Result<Storages, Refusal> {
    let Object::List(keys_in_order) = keys.get(keys.root()) else {
        return Err(Refusal::new("a list of storages", keys.describe(keys.root())));
    };
    let mut claimed: HashMap<&str, (Element, usize)> = HashMap::new();
    for storage in object.storages() {
        // PyTorch counted the elements by the first reference.
        claimed.entry(storage.key).or_insert((storage.element, storage.elements));
    }
    let mut storages = Storages::new();
    for &key in keys_in_order {
        let Object::Text(key) = keys.get(key) else {
            return Err(Refusal::new("the key of a storage", keys.describe(key)));
        };
        let in_storage = |refusal: Refusal| refusal.of(&format!("storage {key}"));
        let Some(&(element, elements)) = claimed.get(key) else {
            return Err(in_storage(Refusal::new(
                "a storage of the object",
                "one that it does not name",
            )));
        };
        let start = at.saturating_add(8);
        let count = if start <= source.length() { source.read(at, 8)? } else { Vec::new() };
        let count = count.try_into().ok().map(u64::from_le_bytes);
        if count.is_some_and(|count| count != elements as u64) {
            let got = format!("{}", count.unwrap_or_default());
            return Err(in_storage(Refusal::new(format!("{elements} elements"), got)));
        }
        let end = elements.checked_mul(element.size).and_then(|size| start.checked_add(size));
        let Some(end) = end.filter(|&end| count.is_some() && end <= source.length()) else {
            let got = format!("the file's end at byte {}", source.length());
            return Err(in_storage(Refusal::new(
                format!("{elements} elements of {}", element.name),
                got,
            )));
        };
        if storages.insert((*key).to_owned(), start..end).is_some() {
            return Err(in_storage(Refusal::new("each storage once", "it twice")));
        }
        at = end;
    }
    if at != source.length() {
        let got = format!("{} bytes more", source.length() - at);
        return Err(Refusal::new("the file's end behind the last storage", got));
    }
    Ok(storages)
}
