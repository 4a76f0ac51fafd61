//! Finds the state dict inside of a training checkpoint.

use std::collections::HashSet;

use crate::weights::checkpoint::Ignored;
use crate::weights::pickle::{Id, Object, Pickle, Tensor};
use crate::weights::refusal::Refusal;

/// Keys that trainers put a state dict under.
const CONTAINERS: [&str; 4] = ["state_dict", "model", "model_state_dict", "net"];
/// Averaged weights, taken only where there are no others.
const AVERAGED: [&str; 2] = ["state_dict_ema", "model_ema"];

/// How many containers may lie in one another.
const DEEPEST: usize = 2;

/// The state dict that a pickle holds.
pub(super) struct StateDict<'p, 'a> {
    pub(super) tensors: Vec<(&'a str, &'p Tensor<'a>)>,
    /// Keys that led to it, outermost first.
    pub(super) under: Vec<String>,
    pub(super) ignored: Vec<Ignored>,
}

/// # Errors
/// No state dict, or several of which none is to be preferred.
pub(super) fn find<'p, 'a>(pickle: &'p Pickle<'a>) -> Result<StateDict<'p, 'a>, Refusal> {
    let mut found = StateDict { tensors: Vec::new(), under: Vec::new(), ignored: Vec::new() };
    let mut here = pickle.root();
    for depth in (0..=DEEPEST).rev() {
        let Some((key, inner)) = container(pickle, here, depth)? else { break };
        for &(name, value) in items(pickle, here) {
            if value != inner {
                found.ignored.push(ignored(pickle, name, value));
            }
        }
        found.under.push(key.to_owned());
        here = inner;
    }
    found.collect(pickle, here)?;
    if found.tensors.is_empty() {
        return Err(Refusal::new(
            "a state dict: tensors by name, perhaps under `state_dict` or `model`",
            got(pickle, here),
        ));
    }
    Ok(found)
}

impl<'p, 'a> StateDict<'p, 'a> {
    fn collect(&mut self, pickle: &'p Pickle<'a>, dict: Id) -> Result<(), Refusal> {
        let mut names = HashSet::new();
        for &(key, value) in items(pickle, dict) {
            let (Object::Text(name), Object::Tensor(tensor)) = (pickle.get(key), pickle.get(value))
            else {
                self.ignored.push(ignored(pickle, key, value));
                continue;
            };
            if !names.insert(*name) {
                return Err(Refusal::new("each name once", "it twice").of(name));
            }
            if tensor.element.dtype.is_none() {
                let what = format!("a tensor of {}, which is not supported", tensor.element.name);
                self.ignored.push(Ignored { name: (*name).to_owned(), what });
                continue;
            }
            self.tensors.push((name, tensor));
        }
        Ok(())
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
                "one state dict (save the one that is meant on its own)",
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
    let tensor = |&(_, value): &(Id, Id)| matches!(pickle.get(value), Object::Tensor(_));
    items(pickle, id).iter().any(tensor)
        || [CONTAINERS.as_slice(), AVERAGED.as_slice()]
            .into_iter()
            .any(|keys| !candidates(pickle, id, keys, depth).is_empty())
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
    Ignored { name: pickle.name(key), what: pickle.describe(value) }
}

/// The object that is no state dict, with the first of its keys.
fn got(pickle: &Pickle<'_>, id: Id) -> String {
    const SHOWN: usize = 8;
    let names: Vec<String> =
        items(pickle, id).iter().take(SHOWN).map(|&(key, _)| pickle.name(key)).collect();
    match names.as_slice() {
        [] => pickle.describe(id),
        names => format!("{} with the keys {}", pickle.describe(id), names.join(", ")),
    }
}
