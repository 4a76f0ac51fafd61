use std::iter::zip;

use tch::{Device, Kind};

use super::*;
use crate::torch::layout::Layout;
use crate::torch::testing::{ROUNDING, gradients, same, scattered, weights};

const ALL: [Fused; 4] = [Fused::Identity, Fused::Relu, Fused::Relu6, Fused::HardSwish];
const MOMENTUM: f64 = 0.1;
const EPS: f64 = 1e-5;

/// x, scale, shift, running mean and variance; all but the last two are leaves.
struct Case {
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    running: [Tensor; 2],
}

impl Case {
    /// Images of this size, whose channels have means of about `level` and deviations of about 2.
    fn new(size: [i64; 4], level: f64, kind: Kind) -> Self {
        let channels = [size[1]];
        let spread = scattered(&[1, size[1], 1, 1]);
        let x = scattered(&size) * 7.0 + spread * level;
        let leaf = |tensor: Tensor| {
            // Rounded to float32 for both, so that both are given the same.
            let leaf = tensor.f_to_kind(Kind::Float).unwrap().f_to_kind(kind).unwrap();
            leaf.f_set_requires_grad(true).unwrap()
        };
        Self {
            x: leaf(Layout::ChannelsLast.of(&x).unwrap()),
            scale: leaf(scattered(&channels) + 1.0),
            shift: leaf(scattered(&channels)),
            running: [0.5, 2.0]
                .map(|value| Tensor::f_full(channels, value, (kind, Device::Cpu)).unwrap()),
        }
    }

    fn ours(&self, fused: Fused) -> Tensor {
        let running = Some([&self.running[0], &self.running[1]]);
        let (momentum, eps) = (MOMENTUM, EPS);
        let arrays =
            Arrays { scale: Some(&self.scale), shift: &self.shift, running, momentum, eps };
        batch_norm(&self.x, arrays, fused).unwrap().expect("float32 in channels_last")
    }

    fn theirs(&self, fused: Fused) -> Tensor {
        let (scale, shift) = (Some(&self.scale), Some(&self.shift));
        let [mean, variance] = self.running.each_ref().map(Some);
        let y = self.x.f_batch_norm(scale, shift, mean, variance, true, MOMENTUM, EPS, false);
        let y = y.unwrap();
        match fused {
            Fused::Identity => y,
            Fused::Relu => y.f_relu().unwrap(),
            Fused::Relu6 => y.f_relu6().unwrap(),
            Fused::HardSwish => y.f_hardswish().unwrap(),
        }
    }

    fn leaves(&self) -> [&Tensor; 3] {
        [&self.x, &self.scale, &self.shift]
    }
}

#[test]
fn values_statistics_and_gradients_are_those_of_libtorch_in_float64() {
    // A row of values, one channel, fewer rows than a tile has, several pieces, a wide image.
    for size in [
        [5, 3, 1, 1],
        [4, 1, 5, 3],
        [3, 24, 7, 7],
        [8, 130, 9, 8],
        [16, 16, 40, 30],
        [2, 1000, 6, 6],
    ] {
        for fused in ALL {
            let (ours, theirs) =
                (Case::new(size, 3.0, Kind::Float), Case::new(size, 3.0, Kind::Double));
            let (y, expected) = (ours.ours(fused), theirs.theirs(fused));
            let what = |part: &str| format!("{part} of {size:?}, {fused:?}");
            same(&y, &expected, ROUNDING, &what("values"));
            for (ours, theirs) in zip(&ours.running, &theirs.running) {
                same(ours, theirs, ROUNDING, &what("running statistics"));
            }
            let found = gradients(&(&y * weights(&y)).sum(Kind::Float), &ours.leaves());
            let expected =
                gradients(&(&expected * weights(&expected)).sum(Kind::Double), &theirs.leaves());
            for ((found, expected), part) in zip(zip(&found, &expected), ["x", "scale", "shift"]) {
                // A value that rounding moves across a kink has another gradient; there are too few to matter here.
                same(found, expected, 10.0 * ROUNDING, &what(&format!("gradients by {part}")));
            }
        }
    }
}

#[test]
fn a_mean_far_from_zero_costs_no_digits_of_the_variance() {
    let case = |kind| Case::new([16, 8, 20, 20], 4000.0, kind);
    let (ours, theirs) = (case(Kind::Float), case(Kind::Double));
    // float32 itself has 2e-4 left of a distance from such a mean.
    same(&ours.ours(Fused::Identity), &theirs.theirs(Fused::Identity), 2e-4, "values");
    same(&ours.running[1], &theirs.running[1], ROUNDING, "the variance");
}

#[test]
fn a_gradient_that_others_need_stays_as_it_is() {
    let size = [4, 8, 6, 5];
    let (ours, theirs) = (Case::new(size, 1.0, Kind::Float), Case::new(size, 1.0, Kind::Double));
    // The addition passes one gradient on to both of its terms.
    let sum = |case: &Case, y: Tensor| (&y + &case.x) * weights(&y);
    let found = gradients(&sum(&ours, ours.ours(Fused::Relu)).sum(Kind::Float), &ours.leaves());
    let expected =
        gradients(&sum(&theirs, theirs.theirs(Fused::Relu)).sum(Kind::Double), &theirs.leaves());
    for (found, expected) in zip(&found, &expected) {
        same(found, expected, 10.0 * ROUNDING, "a gradient");
    }
}

#[test]
fn what_is_frozen_gets_no_gradient_and_changes_no_other() {
    for frozen in 0..3 {
        let mut case = Case::new([4, 8, 6, 5], 1.0, Kind::Float);
        let y = case.ours(Fused::Relu);
        let all = gradients(&(&y * weights(&y)).sum(Kind::Float), &case.leaves());
        let leaf = [&mut case.x, &mut case.scale, &mut case.shift].into_iter().nth(frozen).unwrap();
        let _ = leaf.f_set_requires_grad(false).unwrap();
        let y = case.ours(Fused::Relu);
        let trained: Vec<&Tensor> =
            case.leaves().into_iter().filter(|leaf| leaf.requires_grad()).collect();
        let found = gradients(&(&y * weights(&y)).sum(Kind::Float), &trained);
        let expected = all.iter().enumerate().filter(|(index, _)| *index != frozen);
        for (found, (_, expected)) in zip(&found, expected) {
            assert!(found.equal(expected), "without {frozen}");
        }
    }
    let case = Case::new([4, 8, 6, 5], 1.0, Kind::Float);
    assert!(!tch::no_grad(|| case.ours(Fused::Relu)).requires_grad());
}

#[test]
fn a_norm_without_scale_and_running_statistics_has_none() {
    let case = Case::new([4, 8, 6, 5], 1.0, Kind::Float);
    let arrays =
        Arrays { scale: None, shift: &case.shift, running: None, momentum: MOMENTUM, eps: EPS };
    let y = batch_norm(&case.x, arrays, Fused::Relu6).unwrap().unwrap();
    let shift = Some(&case.shift);
    let none = None::<&Tensor>;
    let expected =
        case.x.f_batch_norm(none, shift, none, none, true, MOMENTUM, EPS, false).unwrap();
    let expected = expected.f_relu6().unwrap();
    same(&y, &expected, ROUNDING, "values");
    let of = [&case.x, &case.shift];
    let found = gradients(&(&y * weights(&y)).sum(Kind::Float), &of);
    let expected = gradients(&(&expected * weights(&y)).sum(Kind::Float), &of);
    for (found, expected) in zip(&found, &expected) {
        same(found, expected, 10.0 * ROUNDING, "a gradient");
    }
}

#[test]
fn no_bit_depends_on_threads() {
    let run = |threads| {
        let before = tch::get_num_threads();
        tch::set_num_threads(threads);
        let case = Case::new([16, 24, 30, 20], 1.0, Kind::Float);
        let y = case.ours(Fused::Relu);
        let mut all = gradients(&(&y * weights(&y)).sum(Kind::Float), &case.leaves());
        tch::set_num_threads(before);
        all.extend(case.running);
        all.push(y);
        all
    };
    for (one, several) in zip(run(1), run(3)) {
        assert!(one.equal(&several));
    }
}

#[test]
fn what_is_not_a_number_is_not_hidden() {
    for fused in ALL {
        let case = Case::new([2, 4, 3, 3], 1.0, Kind::Float);
        let x = case.x.f_detach().unwrap();
        let _ = x.f_select(1, 2).unwrap().f_fill_(f64::NAN).unwrap();
        let y = case.ours(fused);
        let lost = y.f_isnan().unwrap().f_select(1, 2).unwrap();
        assert!(lost.all().f_int64_value(&[]).unwrap() == 1, "{fused:?}");
        assert_eq!(
            y.f_isnan().unwrap().sum(Kind::Int64).f_int64_value(&[]).unwrap(),
            18,
            "{fused:?}"
        );
    }
}

#[test]
fn other_numbers_and_layouts_are_left_to_libtorch() {
    let case = Case::new([2, 4, 3, 3], 1.0, Kind::Float);
    let arrays =
        Arrays { scale: None, shift: &case.shift, running: None, momentum: MOMENTUM, eps: EPS };
    let refused = |x: &Tensor| batch_norm(x, arrays, Fused::Identity).unwrap().is_none();
    assert!(!refused(&case.x));
    assert!(refused(&case.x.f_contiguous().unwrap()));
    assert!(refused(&case.x.f_to_kind(Kind::Double).unwrap()));
    assert!(refused(&case.x.f_to_kind(Kind::BFloat16).unwrap()));
    assert!(refused(&case.x.f_narrow(1, 0, 3).unwrap()));
    assert!(refused(&case.x.f_narrow(0, 0, 0).unwrap()));
    assert!(refused(&case.x.f_flatten(1, -1).unwrap()));
}

#[test]
fn going_back_twice_is_an_error() {
    let case = Case::new([2, 4, 3, 3], 1.0, Kind::Float);
    let sum = case.ours(Fused::Relu).sum(Kind::Float);
    let _ = gradients(&sum, &case.leaves());
    assert!(Tensor::f_run_backward(&[&sum], &case.leaves(), false, false).is_err());
    let sum = case.ours(Fused::Relu).sum(Kind::Float);
    let twice = Tensor::f_run_backward(&[&sum], &case.leaves(), true, true).unwrap_err();
    assert!(twice.to_string().contains("second derivative"), "{twice}");
}
