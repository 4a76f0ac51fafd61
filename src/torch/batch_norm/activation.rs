//! Activations that are fused with batch norm, by libtorch's definitions, NaN included. None of them branches, so that
//! loops over them are vectorised.

#![allow(
    clippy::inline_always,
    reason = "what is not inlined is not compiled for the instructions of its caller"
)]

use crate::graph::op::Function;

/// An activation that is recomputed faster than it is stored.
pub(super) trait Activation {
    fn value(z: f32) -> f32;

    /// The gradient of `z` from that of the value.
    fn gradient(z: f32, cotangent: f32) -> f32;
}

/// The activations that can be fused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::torch) enum Fused {
    Identity,
    Relu,
    Relu6,
    HardSwish,
}

impl Fused {
    /// None for a function that cannot be fused.
    pub(in crate::torch) fn of(function: Function) -> Option<Self> {
        match function {
            Function::Relu => Some(Self::Relu),
            Function::Relu6 => Some(Self::Relu6),
            Function::HardSwish => Some(Self::HardSwish),
            Function::Silu
            | Function::Sigmoid
            | Function::Tanh
            | Function::Gelu
            | Function::HardSigmoid => None,
        }
    }
}

pub(super) struct Identity;

impl Activation for Identity {
    #[inline(always)]
    fn value(z: f32) -> f32 {
        z
    }

    #[inline(always)]
    fn gradient(_: f32, cotangent: f32) -> f32 {
        cotangent
    }
}

pub(super) struct Relu;

impl Activation for Relu {
    #[inline(always)]
    fn value(z: f32) -> f32 {
        at_least(0.0, z)
    }

    #[inline(always)]
    fn gradient(z: f32, cotangent: f32) -> f32 {
        if z <= 0.0 { 0.0 } else { cotangent }
    }
}

pub(super) struct Relu6;

impl Activation for Relu6 {
    #[inline(always)]
    fn value(z: f32) -> f32 {
        at_most(6.0, at_least(0.0, z))
    }

    #[inline(always)]
    fn gradient(z: f32, cotangent: f32) -> f32 {
        if z <= 0.0 || z >= 6.0 { 0.0 } else { cotangent }
    }
}

pub(super) struct HardSwish;

impl Activation for HardSwish {
    #[inline(always)]
    fn value(z: f32) -> f32 {
        z * at_most(6.0, at_least(0.0, z + 3.0)) / 6.0
    }

    #[inline(always)]
    fn gradient(z: f32, cotangent: f32) -> f32 {
        let slope = if z < 3.0 { z / 3.0 + 0.5 } else { 1.0 };
        if z <= -3.0 { 0.0 } else { cotangent * slope }
    }
}

/// The maximum of `z` and `low`.
#[inline(always)]
fn at_least(low: f32, z: f32) -> f32 {
    if low > z { low } else { z }
}

/// The minimum of `z` and `high`.
#[inline(always)]
fn at_most(high: f32, z: f32) -> f32 {
    if high < z { high } else { z }
}
