//! Prefixes of a network's names in a file (`module.`, `model.backbone.`), and the entries without the prefix.

use std::collections::{BTreeSet, HashSet};

use super::filed::Filed;
use super::load::Entries;
use super::names::{Naming, Translation};
use super::{Dtype, Ignored, Value};
use crate::error::{Error, Result, shape_text};

/// The naming and prefix of a file's entries.
#[derive(Clone, Debug)]
pub struct Names {
    pub naming: Naming,
    pub prefix: String,
}

impl Names {
    /// Finds the prefix under which most names of the network are among `keys`, and the naming that they follow, which
    /// is `first` in a tie. `others` are only computed where they matter. A given `prefix` is used as it is, with or
    /// without its last dot.
    ///
    /// Fails with `Error::StateDict` where several prefixes match equally well, or no entry has the given one.
    pub fn recognise(
        keys: &HashSet<&str>,
        order: &[&str],
        prefix: Option<&str>,
        first: Naming,
        others: impl FnOnce() -> Vec<Translation>,
    ) -> Result<Self> {
        let given = prefix.map(|prefix| given(keys, prefix)).transpose()?;
        let lite = |key: &&str| key.starts_with("_blocks.") || key.contains("._blocks.");
        let first = match first {
            Naming::Own if keys.iter().any(lite) => Naming::EfficientNetLitePytorch,
            first => first.spelled_as(keys),
        };
        let mut best = Scored::new(first, keys, order, given.as_deref());
        if best.count < keys.len() && best.count < order.len() {
            for naming in others().into_iter().map(|other| Naming::Other(other).spelled_as(keys)) {
                let scored = Scored::new(naming, keys, order, given.as_deref());
                if scored.count > best.count {
                    best = scored;
                }
            }
        }
        match best.prefixes.as_slice() {
            [prefix] => Ok(Self { naming: best.naming, prefix: prefix.clone() }),
            many if best.count * 2 > order.len() => Err(Error::StateDict {
                message: format!(
                    "expected the network once, got it under each of `{}`; `prefix` chooses",
                    many.join("`, `")
                ),
            }),
            _ => Ok(Self { naming: best.naming, prefix: String::new() }),
        }
    }
}

fn given(keys: &HashSet<&str>, prefix: &str) -> Result<String> {
    let dotted = format!("{prefix}.");
    let begins = |prefix: &str| keys.iter().any(|key| key.starts_with(prefix));
    if !prefix.is_empty() && !prefix.ends_with('.') && begins(&dotted) {
        return Ok(dotted);
    }
    if begins(prefix) {
        return Ok(prefix.to_owned());
    }
    let some = keys.iter().min().map_or("none", |key| key);
    let message = format!("expected names that begin with `{prefix}`, got such as `{some}`");
    Err(Error::StateDict { message })
}

/// The number of names that a naming matches, and the prefixes under which it does.
struct Scored {
    naming: Naming,
    count: usize,
    prefixes: Vec<String>,
}

impl Scored {
    fn new(naming: Naming, keys: &HashSet<&str>, order: &[&str], given: Option<&str>) -> Self {
        let names: Vec<String> = order.iter().map(|own| naming.foreign(own, order)).collect();
        let count = |prefix: &str| {
            if prefix.is_empty() {
                return names.iter().filter(|name| keys.contains(name.as_str())).count();
            }
            let below: HashSet<&str> =
                keys.iter().filter_map(|key| key.strip_prefix(prefix)).collect();
            names.iter().filter(|name| below.contains(name.as_str())).count()
        };
        let candidates = match given {
            Some(prefix) => BTreeSet::from([prefix]),
            None => candidates(&names, keys),
        };
        let mut best = (0, Vec::new());
        // The empty prefix comes first, and wins ties.
        for prefix in candidates {
            let count = count(prefix);
            if count > best.0 || best.1.is_empty() {
                best = (count, vec![prefix.to_owned()]);
            } else if count == best.0 && best.1 != [""] {
                best.1.push(prefix.to_owned());
            }
        }
        Self { naming, count: best.0, prefixes: best.1 }
    }
}

/// The prefixes of some of the names.
fn candidates<'a>(names: &[String], keys: &HashSet<&'a str>) -> BTreeSet<&'a str> {
    let middle = names.get(names.len() / 2);
    let anchors: Vec<&String> =
        names.first().into_iter().chain(middle).chain(names.last()).collect();
    let front = |key: &&'a str| {
        anchors
            .iter()
            .filter_map(|name| key.strip_suffix(name.as_str()))
            .filter(|front| front.ends_with('.'))
            .collect::<Vec<_>>()
    };
    keys.iter().flat_map(front).chain([""]).collect()
}

/// Counters that running averages and profilers keep in a state dict.
const COUNTERS: [&str; 3] = ["n_averaged", "total_ops", "total_params"];

/// The entries below a prefix.
#[derive(Debug)]
pub struct Below<'a, E> {
    entries: &'a E,
    prefix: &'a str,
    ignored: Vec<Ignored>,
    shapes: Vec<(String, Vec<usize>)>,
}

impl<'a, E: Entries> Below<'a, E> {
    /// `order` has the network's names.
    pub fn new(entries: &'a E, prefix: &'a str, order: &[&str]) -> Self {
        let (mut ignored, mut shapes) = (Vec::new(), Vec::new());
        for (name, shape) in entries.shapes() {
            match name.strip_prefix(prefix) {
                Some(rest) if !is_beside(rest, order) => shapes.push((rest.to_owned(), shape)),
                _ => ignored.push(Ignored {
                    name,
                    what: format!("numbers of shape {}", shape_text(&shape)),
                }),
            }
        }
        Self { entries, prefix, ignored, shapes }
    }

    /// Entries that do not belong to the network.
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }
}

impl<E: Entries> Entries for Below<'_, E> {
    fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        self.shapes.clone()
    }

    fn dtype(&self, name: &str) -> Option<Dtype> {
        self.entries.dtype(&format!("{}{name}", self.prefix))
    }

    fn get(&self, name: &str) -> Result<Value<'_>> {
        self.entries.get(&format!("{}{name}", self.prefix))
    }

    fn read_into(&self, name: &str, values: &mut [f32]) -> Result<bool> {
        self.entries.read_into(&format!("{}{name}", self.prefix), values)
    }

    fn filed(&self, name: &str) -> Option<Filed> {
        self.entries.filed(&format!("{}{name}", self.prefix))
    }

    fn unreadable(&self, name: &str) -> Option<&str> {
        self.entries.unreadable(&format!("{}{name}", self.prefix))
    }
}

/// Counters, and the arrays of loss functions.
fn is_beside(name: &str, order: &[&str]) -> bool {
    let (first, last) = (name.split('.').next(), name.rsplit('.').next());
    let counts = last.is_some_and(|last| COUNTERS.contains(&last));
    let of_loss = first.is_some_and(|first| {
        let lower = first.to_ascii_lowercase();
        let own = |own: &&str| own.split('.').next() == Some(first);
        (lower.contains("loss") || lower.contains("criterion")) && !order.iter().any(own)
    });
    counts || of_loss
}
