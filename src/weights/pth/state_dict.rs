//! Finds the state dict inside a training checkpoint.

use std::collections::HashSet;

use crate::weights::contents::Ignored;
use crate::weights::pickle::{Id, Object, Pickle};
use crate::weights::refusal::Refusal;

/// Keys that trainers put a state dict under.
const CONTAINERS: [&str; 4] = ["state_dict", "model", "model_state_dict", "net"];
/// Keys of averaged weights (EMA), used only where there are no others.
const AVERAGED: [&str; 2] = ["state_dict_ema", "model_ema"];

/// Suffix for an element type that cannot be read.
const UNSUPPORTED: &str = ", which is not supported";

/// The deepest nesting of containers.
const DEEPEST: usize = 2;

/// The state dict in a pickle.
pub(super) struct StateDict<'a> {
    /// Tensors and NumPy arrays.
    pub(super) tensors: Vec<(&'a str, Id)>,
    /// Keys that lead to it, outermost first.
    pub(super) under: Vec<String>,
    pub(super) ignored: Vec<Ignored>,
}

/// # Errors
/// No state dict, or several equally good ones.
pub(super) fn find<'a>(pickle: &Pickle<'a>, key: Option<&str>) -> Result<StateDict<'a>, Refusal> {
    let mut found = StateDict { tensors: Vec::new(), under: Vec::new(), ignored: Vec::new() };
    let mut here = pickle.root();
    if let Some(key) = key {
        let inner = lookup(pickle, here, key).ok_or_else(|| {
            Refusal::new(format!("a state dict under the key `{key}`"), got(pickle, here))
        })?;
        found.pass(pickle, here, inner);
        found.under.push(key.to_owned());
        here = inner;
    }
    for depth in (0..=DEEPEST).rev() {
        let Some((key, inner)) = container(pickle, here, depth)? else { break };
        found.pass(pickle, here, inner);
        found.under.push(key.to_owned());
        here = inner;
    }
    found.collect(pickle, here)?;
    if found.tensors.is_empty() {
        let unreadable = found.ignored.iter().find(|entry| entry.what.ends_with(UNSUPPORTED));
        return Err(Refusal::new(
            "a state dict: tensors by name, perhaps under `state_dict` or `model`, or under a key \
             that `key` names",
            unreadable.map_or_else(|| got(pickle, here), |entry| entry.what.clone()),
        ));
    }
    Ok(found)
}

impl<'a> StateDict<'a> {
    /// Notes the entries beside the one that is entered.
    fn pass(&mut self, pickle: &Pickle<'_>, dict: Id, inner: Id) {
        for &(name, value) in items(pickle, dict) {
            if value != inner {
                self.ignored.push(ignored(pickle, name, value));
            }
        }
    }

    fn collect(&mut self, pickle: &Pickle<'a>, dict: Id) -> Result<(), Refusal> {
        let mut names = HashSet::new();
        for &(key, value) in items(pickle, dict) {
            let (&Object::Text(name), Some(unreadable)) =
                (pickle.get(key), unreadable(pickle.get(value)))
            else {
                self.ignored.push(ignored(pickle, key, value));
                continue;
            };
            if !names.insert(name) {
                return Err(Refusal::new("each name once", "it twice").of(name));
            }
            match unreadable {
                None => self.tensors.push((name, value)),
                Some(what) => {
                    let what = format!("{what}{UNSUPPORTED}");
                    self.ignored.push(Ignored { name: name.to_owned(), what });
                }
            }
        }
        Ok(())
    }
}

/// Whether an object is a tensor or array, and if so, a description where it cannot be read.
#[expect(clippy::option_option, reason = "whether it is one, and if so whether it can be read")]
fn unreadable(object: &Object<'_>) -> Option<Option<String>> {
    match object {
        Object::Tensor(tensor) => Some(
            tensor.element.dtype.is_none().then(|| format!("a tensor of {}", tensor.element.name)),
        ),
        Object::Array(array) => {
            Some(array.dtype().is_none().then(|| format!("a NumPy array of {}", array.element)))
        }
        _ => None,
    }
}

/// The one entry of a dict that holds a state dict, at most `depth` containers deep.
fn container(
    pickle: &Pickle<'_>,
    dict: Id,
    depth: usize,
) -> Result<Option<(&'static str, Id)>, Refusal> {
    let mut candidates = candidates(pickle, dict, &CONTAINERS, depth);
    if candidates.is_empty() {
        candidates = self::candidates(pickle, dict, &AVERAGED, depth);
    }
    match candidates.as_slice() {
        [] => Ok(None),
        &[(key, value), ref others @ ..] if others.iter().all(|&(_, other)| other == value) => {
            Ok(Some((key, value)))
        }
        many => {
            let keys: Vec<&str> = many.iter().map(|(key, _)| *key).collect();
            Err(Refusal::new(
                "one state dict (`key` chooses)",
                format!("several, under `{}`", keys.join("`, `")),
            ))
        }
    }
}

fn candidates(
    pickle: &Pickle<'_>,
    dict: Id,
    keys: &'static [&'static str],
    depth: usize,
) -> Vec<(&'static str, Id)> {
    if depth == 0 {
        return Vec::new();
    }
    let under = |key: &'static str| {
        let value = lookup(pickle, dict, key)?;
        holds_tensors(pickle, value, depth - 1).then_some((key, value))
    };
    keys.iter().filter_map(|key| under(key)).collect()
}

fn holds_tensors(pickle: &Pickle<'_>, id: Id, depth: usize) -> bool {
    let tensor = |&(_, value): &(Id, Id)| is_array(pickle.get(value));
    items(pickle, id).iter().any(tensor)
        || [CONTAINERS.as_slice(), AVERAGED.as_slice()]
            .into_iter()
            .any(|keys| !candidates(pickle, id, keys, depth).is_empty())
}

fn is_array(object: &Object<'_>) -> bool {
    matches!(object, Object::Tensor(_) | Object::Array(_))
}

fn lookup(pickle: &Pickle<'_>, dict: Id, key: &str) -> Option<Id> {
    let found = items(pickle, dict)
        .iter()
        .find(|&&(name, _)| matches!(pickle.get(name), Object::Text(text) if *text == key))?;
    Some(found.1)
}

/// A dict's entries; none for anything else.
fn items<'p>(pickle: &'p Pickle<'_>, id: Id) -> &'p [(Id, Id)] {
    match pickle.get(id) {
        Object::Dict(items) => items,
        _ => &[],
    }
}

fn ignored(pickle: &Pickle<'_>, key: Id, value: Id) -> Ignored {
    let name = pickle.name(key);
    // The first few suffice; checking all of them repeatedly could take long in a hostile file.
    let few = items(pickle, value).iter().take(16);
    let what = if few.into_iter().any(|&(_, value)| is_array(pickle.get(value))) {
        format!("another state dict, which key=\"{name}\" loads")
    } else {
        pickle.describe(value)
    };
    Ignored { name, what }
}

/// Describes an object that is no state dict, with the first of its keys.
fn got(pickle: &Pickle<'_>, id: Id) -> String {
    const SHOWN: usize = 8;
    let names: Vec<String> =
        items(pickle, id).iter().take(SHOWN).map(|&(key, _)| pickle.name(key)).collect();
    match names.as_slice() {
        [] => pickle.describe(id),
        names => format!("{} with the keys {}", pickle.describe(id), names.join(", ")),
    }
}
