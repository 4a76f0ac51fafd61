//! AddressSanitizer reports a vector of any instructions that reaches one number too far. Only then does it mean something
//! that the other tests pass under it.

use std::env;
use std::process::Command;

use super::memory::{Target, zeros};
use super::simd::{Instructions, Kernel, Simd};

const WAYS: [&str; 4] = ["load", "load_part", "store", "store_part"];

/// Reads or writes as many numbers as a vector has but one, from a place on.
struct Reach<'a> {
    way: &'a str,
    numbers: Target<'a>,
}

impl Kernel for Reach<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let place = self.numbers.at(0, 0);
        let few = S::LANES - 1;
        // SAFETY: there are `few` numbers. Whole vectors reach beyond, as do parts that are one longer: on purpose.
        unsafe {
            match self.way {
                "load" => return s.numbers(s.load(place), 0.0)[0],
                "load_part" => return s.numbers(s.load_part(place.add(1), few), 0.0)[0],
                "store" => s.store(place, s.splat(1.0)),
                "store_part" => s.store_part(place.add(1), few, s.splat(1.0)),
                "allowed" => s.store_part(place, few, s.load_part(place, few)),
                way => unreachable!("{way}"),
            }
        }
        0.0
    }
}

/// Runs in a process of its own, which the report ends.
#[test]
#[ignore = "a defect on purpose"]
fn reach() {
    let Ok(case) = env::var("CNNZOO_REACH") else { return };
    let [way, instructions, place] = case.split(' ').collect::<Vec<_>>()[..] else { return };
    let is_named = |one: &Instructions| one.name() == instructions;
    let instructions = Instructions::available().into_iter().find(is_named).unwrap();
    let few = instructions.lanes() - 1;
    let mut buffer = zeros(if place == "alone" { few } else { 100 }).unwrap();
    let numbers = buffer.lend(few);
    let number = instructions.run(Reach { way, numbers });
    assert!(!number.is_infinite());
}

#[test]
fn overruns_of_all_instructions_are_reported() {
    let report = |case: &str| {
        let mut test = Command::new(env::current_exe().unwrap());
        test.args(["infer::sanitizer::reach", "--exact", "--ignored"]).env("CNNZOO_REACH", case);
        let output = test.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (!output.status.success()).then_some(text)
    };
    for instructions in Instructions::available() {
        // At the end of a buffer, and of what was lent of it.
        for place in ["alone", "lent"] {
            for way in WAYS {
                let case = format!("{way} {instructions:?} {place}");
                let text = report(&case).unwrap_or_default();
                assert!(text.contains("ERROR: AddressSanitizer"), "{case}: {text}");
            }
            assert_eq!(report(&format!("allowed {instructions:?} {place}")), None);
        }
    }
}
