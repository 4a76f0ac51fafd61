//! Segments for activation checkpointing (Chen et al., arXiv:1604.06174). For each limit on the size of a segment, the
//! cuts are chosen that the fewest bytes cross; then the limit is chosen that minimises the sum of these bytes and those
//! of the largest segment.

use super::{Graph, NodeId, Schedule, Shape};

impl Graph {
    /// The schedule of all nodes that `wanted` depends on, cut into the segments that need the least memory if the values
    /// have `shapes`.
    pub fn segments(&self, shapes: &[Shape], wanted: &[NodeId]) -> Vec<Schedule> {
        let whole = self.schedule(wanted);
        let mut last_use = vec![0; self.nodes().len()];
        for (position, step) in whole.steps.iter().enumerate() {
            step.last_reads.iter().for_each(|input| last_use[input.index()] = position);
        }
        for id in wanted {
            last_use[id.index()] = whole.steps.len();
        }
        let value = |id: NodeId| Value {
            bytes: (shapes[id.index()].elements() as u64).saturating_mul(4),
            last_use: last_use[id.index()],
        };
        let mut ends = cuts(&whole.nodes().map(value).collect::<Vec<_>>());
        ends.push(whole.steps.len());
        let nodes: Vec<NodeId> = whole.nodes().collect();
        let begins = [0].into_iter().chain(ends.iter().copied());
        begins
            .zip(&ends)
            .map(|(begin, &end)| Schedule::new(self, nodes[begin..end].to_vec()))
            .collect()
    }
}

/// The output of a step, and the last step that needs it.
#[derive(Clone, Copy, Debug)]
struct Value {
    bytes: u64,
    last_use: usize,
}

/// The steps before which to cut.
fn cuts(steps: &[Value]) -> Vec<usize> {
    let total = steps.iter().fold(0_u64, |sum, step| sum.saturating_add(step.bytes));
    let largest = steps.iter().map(|step| step.bytes).max().unwrap_or(0);
    let (mut least, mut best) = (total, Vec::new());
    let mut limit = total;
    // No segment is smaller than its largest value, so a lower limit changes nothing.
    while limit > largest {
        limit -= limit.div_ceil(4);
        let (bytes, ends) = cuts_below(limit.max(largest), steps);
        if bytes < least {
            (least, best) = (bytes, ends);
        }
    }
    best
}

/// The cuts that fewest bytes cross if no segment has more than `limit`; these bytes and those of the largest segment.
fn cuts_below(limit: u64, steps: &[Value]) -> (u64, Vec<usize>) {
    /// The best way to end a segment before a step.
    #[derive(Clone, Copy)]
    struct End {
        crossing: u64,
        begin: usize,
        bytes: u64,
    }
    let mut ends = vec![End { crossing: 0, begin: 0, bytes: 0 }];
    for end in 1..=steps.len() {
        let mut best = End { crossing: u64::MAX, begin: end - 1, bytes: 0 };
        let (mut bytes, mut crossing) = (0_u64, 0_u64);
        for begin in (0..end).rev() {
            let step = steps[begin];
            bytes = bytes.saturating_add(step.bytes);
            if bytes > limit {
                break;
            }
            // A value from before this segment that crosses its end crosses its beginning too, and is counted there.
            if step.last_use >= end {
                crossing = crossing.saturating_add(step.bytes);
            }
            let all = ends[begin].crossing.saturating_add(crossing);
            if all < best.crossing {
                best = End { crossing: all, begin, bytes };
            }
        }
        ends.push(best);
    }
    let (mut largest, mut cuts) = (0, Vec::new());
    let mut at = steps.len();
    while at > 0 {
        let End { begin, bytes, .. } = ends[at];
        largest = bytes.max(largest);
        if begin > 0 {
            cuts.push(begin);
        }
        at = begin;
    }
    cuts.reverse();
    (ends[steps.len()].crossing.saturating_add(largest), cuts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Builder;
    use crate::graph::op::{Add, Concat, Conv, Function, Input};

    /// All cuts, with the bytes that cross them and the bytes of the largest segment.
    fn least_of_all(steps: &[Value], limit: u64) -> Option<u64> {
        let count = steps.len() - 1;
        (0..1_u32 << count)
            .filter_map(|cut_before| {
                let is_cut = |step: usize| step > 0 && cut_before >> (step - 1) & 1 == 1;
                let (mut segment, mut largest, mut crossing) = (0, 0, 0);
                for (position, step) in steps.iter().enumerate() {
                    segment = if is_cut(position) { step.bytes } else { segment + step.bytes };
                    largest = segment.max(largest);
                    if (position + 1..=step.last_use).any(is_cut) {
                        crossing += step.bytes;
                    }
                }
                (largest <= limit).then_some(crossing)
            })
            .min()
    }

    #[test]
    fn fewest_bytes_cross_the_cuts() {
        let mut number = 1_u64;
        let mut next = |below: u64| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (number >> 33) % below
        };
        for _ in 0..200 {
            let count = 2 + next(9) as usize;
            let steps: Vec<Value> = (0..count)
                .map(|at| Value {
                    bytes: 1 + next(20),
                    last_use: (at + 1 + next(3) as usize).min(count - 1),
                })
                .collect();
            for limit in [20, 25, 40, 1000] {
                let (bytes, cuts) = cuts_below(limit, &steps);
                let mut ends = vec![0];
                ends.extend(&cuts);
                ends.push(count);
                let largest = ends
                    .windows(2)
                    .map(|ends| steps[ends[0]..ends[1]].iter().map(|step| step.bytes).sum())
                    .max()
                    .unwrap_or(0_u64);
                assert!(largest <= limit);
                assert_eq!(Some(bytes - largest), least_of_all(&steps, limit));
            }
        }
    }

    #[test]
    fn a_chain_of_equal_values_is_cut_into_about_as_many_segments_as_its_root() {
        let steps: Vec<Value> =
            (0..100).map(|at| Value { bytes: 8, last_use: (at + 1).min(99) }).collect();
        let cuts = cuts(&steps);
        assert!((8..13).contains(&(cuts.len() + 1)), "{cuts:?}");
    }

    #[test]
    fn a_dense_block_keeps_what_each_layer_adds() {
        let mut graph = Builder::new("dense", Input { channels: 4, height: 32, width: 32 });
        let mut values = vec![graph.input()];
        for layer in 0..12 {
            let all = graph.add(format!("concat{layer}"), Concat {}, &values);
            let wide = Conv { out: 64, ..Conv::default() };
            let wide = graph.add(format!("wide{layer}"), wide, all);
            let active = graph.add(format!("relu{layer}"), Function::Relu, wide);
            let narrow = Conv { out: 2, ..Conv::default() };
            values.push(graph.add(format!("conv{layer}"), narrow, active));
        }
        let sum = graph.add("add", Add {}, &values[1..]);
        let graph = graph.finish(sum).unwrap();
        let segments = graph.segments(graph.drawn_shapes(), &[sum]);
        assert!(segments.len() > 4);
        for segment in &segments {
            assert!(segment.reads.iter().all(|id| values.contains(id)));
        }
        let nodes: Vec<NodeId> = segments.iter().flat_map(Schedule::nodes).collect();
        assert_eq!(nodes, graph.ids().skip(1).collect::<Vec<_>>());
    }
}
