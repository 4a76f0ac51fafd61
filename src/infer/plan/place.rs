//! Places in memory: each value lives from the step that writes it to the last that reads it, and others use the place
//! before and after. Every place begins on a cache line.

use super::super::layout::LINE;

/// Something that needs a place while some steps run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub len: usize,
    /// The first and the last step that need it.
    pub first: usize,
    pub last: usize,
}

/// A place for every claim, and how much memory they need together. The largest are placed first, each as low as it fits.
pub(super) fn place(claims: &[Claim]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..claims.len()).collect();
    order.sort_by_key(|&at| (std::cmp::Reverse(claims[at].len), claims[at].first));
    let mut places = vec![0; claims.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut memory = 0;
    for at in order {
        let claim = claims[at];
        let together = |other: &&usize| {
            claims[**other].first <= claim.last && claim.first <= claims[**other].last
        };
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(together)
            .map(|&other| (places[other], claims[other].len))
            .collect();
        taken.sort_unstable();
        let mut begin = 0;
        for (from, len) in taken {
            if begin + claim.len <= from {
                break;
            }
            begin = begin.max((from + len).next_multiple_of(LINE));
        }
        places[at] = begin;
        memory = memory.max(begin + claim.len);
        placed.push(at);
    }
    (places, memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_that_live_together_overlap() {
        let mut number = 7_usize;
        let mut next = |below: usize| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            (number >> 33) % below
        };
        for _ in 0..100 {
            let claims: Vec<Claim> = (0..20)
                .map(|_| {
                    let first = next(30);
                    Claim { len: 1 + next(100), first, last: first + next(6) }
                })
                .collect();
            let (places, memory) = place(&claims);
            for (at, one) in claims.iter().enumerate() {
                assert!(places[at] + one.len <= memory);
                for (other, two) in claims.iter().enumerate().skip(at + 1) {
                    let together = one.first <= two.last && two.first <= one.last;
                    let apart = places[at] + one.len <= places[other]
                        || places[other] + two.len <= places[at];
                    assert!(apart || !together, "{one:?} {two:?}");
                }
            }
        }
    }

    #[test]
    fn a_chain_of_equal_values_needs_two_places() {
        let claims: Vec<Claim> =
            (0..10).map(|at| Claim { len: 64, first: at, last: at + 1 }).collect();
        assert_eq!(place(&claims).1, 128);
    }
}
