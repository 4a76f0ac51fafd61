//! Stratified splits of a data set into two parts.

use std::sync::Arc;

use super::{Dataset, Subset};
use crate::data::random::shuffled;
use crate::{Error, Result};

/// Draws `fraction` * len samples, rounded, for the first part; the rest is the second. Both keep the order of the data
/// set.
///
/// Stratified: of a class with n samples the first part gets `fraction` * n, rounded down, or one more, which goes to
/// the classes with the largest remainders until the total is right.
///
/// Fails with `Error::Argument` where one of the parts would be empty.
pub fn split(whole: &Arc<dyn Dataset>, fraction: f64, seed: u64) -> Result<(Subset, Subset)> {
    let count = (fraction * whole.len() as f64).round_ties_even();
    if !(count >= 1.0 && count < whole.len() as f64) {
        return Err(Error::Argument {
            at: "split".into(),
            expected: format!("a fraction that leaves samples of {} on both sides", whole.len()),
            got: fraction.to_string(),
        });
    }
    let mut classes = vec![Vec::new(); whole.classes().len()];
    for index in 0..whole.len() {
        classes[whole.label(index)].push(index);
    }
    let share = |class: &Vec<usize>| fraction * class.len() as f64;
    let mut taken: Vec<usize> = classes.iter().map(|class| share(class) as usize).collect();
    let mut by_remainder: Vec<usize> = (0..classes.len()).collect();
    by_remainder.sort_by(|&one, &other| {
        let remainder = |class: usize| share(&classes[class]).fract();
        remainder(other).total_cmp(&remainder(one))
    });
    let missing = (count as usize).saturating_sub(taken.iter().sum());
    for &class in by_remainder.iter().take(missing) {
        taken[class] += 1;
    }
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for (class, (indices, taken)) in classes.iter().zip(taken).enumerate() {
        let order = shuffled(indices.len(), seed, class as u64);
        first.extend(order[..taken].iter().map(|&place| indices[place]));
        second.extend(order[taken..].iter().map(|&place| indices[place]));
    }
    first.sort_unstable();
    second.sort_unstable();
    Ok((Subset::new(whole.clone(), first)?, Subset::new(whole.clone(), second)?))
}
