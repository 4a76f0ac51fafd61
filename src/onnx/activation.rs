//! Activations.

use super::network::Attribute;
use super::site::Site;
use crate::graph::op::Function;

pub(super) fn activation(site: &mut Site<'_, '_>, function: Function) -> String {
    let x = site.x();
    match function {
        Function::Relu => site.last("Relu", [x], Vec::new()),
        Function::Relu6 => {
            let (least, most) = (site.float("least", 0.0), site.float("most", 6.0));
            site.last("Clip", [x, least, most], Vec::new())
        }
        Function::Silu => {
            let gate = site.step("sigmoid", "Sigmoid", [x.clone()], Vec::new());
            site.last("Mul", [x, gate], Vec::new())
        }
        Function::Sigmoid => site.last("Sigmoid", [x], Vec::new()),
        Function::Tanh => site.last("Tanh", [x], Vec::new()),
        Function::Gelu => gelu(site, x),
        Function::HardSigmoid => {
            let (slope, middle) = (Attribute::Float(1.0 / 6.0), Attribute::Float(0.5));
            site.last("HardSigmoid", [x], vec![("alpha", slope), ("beta", middle)])
        }
        Function::HardSwish => site.last("HardSwish", [x], Vec::new()),
    }
}

/// x · (1 + erf(x / √2)) / 2, which is one operator from version 20 on.
fn gelu(site: &mut Site<'_, '_>, x: String) -> String {
    const GELU: usize = 20;
    if site.opset() >= GELU {
        return site.last("Gelu", [x], Vec::new());
    }
    let root = site.float("root", std::f64::consts::SQRT_2);
    let (one, half) = (site.float("one", 1.0), site.float("half", 0.5));
    let scaled = site.step("scaled", "Div", [x.clone(), root], Vec::new());
    let erf = site.step("erf", "Erf", [scaled], Vec::new());
    let above = site.step("above", "Add", [erf, one], Vec::new());
    let twice = site.step("twice", "Mul", [x, above], Vec::new());
    site.last("Mul", [twice, half], Vec::new())
}
