//! Patterns of names, as in a shell: `*` stands for anything, dots too, and `?` for one character.

use super::Parameter;
use crate::error::{Error, Result};

/// Whether the pattern fits the name, or the path before one of its dots: `layer1` fits `layer1.0.conv1.weight`.
pub fn fits(pattern: &str, name: &str) -> bool {
    let ends = name.match_indices('.').map(|(end, _)| end).chain([name.len()]);
    ends.into_iter().any(|end| is_whole(pattern.as_bytes(), &name.as_bytes()[..end]))
}

/// Whether the pattern fits all of the name.
pub fn fits_whole(pattern: &str, name: &str) -> bool {
    is_whole(pattern.as_bytes(), name.as_bytes())
}

/// The indices of the trainable parameters that a pattern matches. Fails with `Error::Argument` where there are none.
pub fn trained(parameters: &[Parameter], pattern: &str, model: &str) -> Result<Vec<usize>> {
    let chosen = parameters.iter().enumerate();
    let chosen = chosen.filter(|(_, p)| p.role.is_trained() && fits(pattern, &p.name));
    let indices: Vec<usize> = chosen.map(|(index, _)| index).collect();
    if indices.is_empty() {
        let names = parameters.iter().filter(|p| p.role.is_trained()).map(|p| &p.name[..]);
        let few: Vec<&str> = names.take(3).collect();
        return Err(Error::Argument {
            at: format!("a pattern of parameters of {model}"),
            expected: format!("one that matches some of them, such as {}", few.join(", ")),
            got: format!("`{pattern}`"),
        });
    }
    Ok(indices)
}

fn is_whole(mut pattern: &[u8], mut name: &[u8]) -> bool {
    // What to try next if the present way fails: the last star swallows one more.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, name) {
            ([b'*', rest @ ..], _) => {
                retry = Some((rest, name));
                pattern = rest;
            }
            ([p, pattern_rest @ ..], [n, name_rest @ ..]) if *p == b'?' || p == n => {
                (pattern, name) = (pattern_rest, name_rest);
            }
            ([], []) => return true,
            _ => match retry {
                Some((rest, [_, shorter @ ..])) => {
                    retry = Some((rest, shorter));
                    (pattern, name) = (rest, shorter);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{fits, fits_whole};

    #[test]
    fn stars_cross_dots_and_paths_hold_what_is_below() {
        let name = "layer1.0.conv1.weight";
        for pattern in
            ["*", "layer1", "layer1*", "layer1.0", "*.conv?.weight", "*conv1", "l*1.*.w*t", name]
        {
            assert!(fits(pattern, name), "{pattern}");
        }
        for pattern in ["", "layer", "conv1", "layer2*", "*bias", "?", "layer1.0.conv1.weight.*"] {
            assert!(!fits(pattern, name), "{pattern}");
        }
        assert!(fits_whole("*.conv1.weight", name) && !fits_whole("layer1", name));
    }
}
