//! Names that are most like one that does not exist, for messages.

use std::collections::HashSet;

/// The fewest edits, as a share of the longer name, that make a name another one: above it they are unlike.
const ALIKE: f64 = 0.5;
const MOST: usize = 3;

/// The names most like `name`, best first; among equals, those that come first.
pub fn closest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut met = HashSet::new();
    let mut scored: Vec<(f64, &str)> = names
        .into_iter()
        .filter(|other| met.insert(*other))
        .map(|other| (strsim::normalized_damerau_levenshtein(name, other), other))
        .filter(|(score, _)| *score > ALIKE)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(MOST).map(|(_, other)| other.to_owned()).collect()
}

/// A dotted path, and every path before it: `layer1`, `layer1.0` and `layer1.0.conv1`.
pub fn paths(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(at, _)| &name[..at]).chain([name])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_names_come_first_and_once() {
        let names = ["layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1", "fc"];
        let all = || names.into_iter().flat_map(paths);
        assert_eq!(closest("layr1", all()), ["layer1", "layer2", "layer1.0"]);
        assert_eq!(closest("layer1.0.conv3", all())[..2], ["layer1.0.conv1", "layer1.0.conv2"]);
        assert!(closest("pool", all()).is_empty());
        assert!(closest("", all()).is_empty());
    }
}
