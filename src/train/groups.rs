//! Parameter groups: the learning rate and weight decay of each parameter.

use crate::error::{Error, Result};
use crate::graph::pattern::{fits, trained};
use crate::graph::{Graph, Parameter, Role};
use crate::torch::Rate;

/// The learning rates and weight decays of an optimiser.
#[derive(Clone, Debug)]
pub struct Rates {
    pub lr: f64,
    pub weight_decay: f64,
    /// Weight decay of the scales and shifts of norms, if not the same.
    pub norm_weight_decay: Option<f64>,
    /// Weight decay of the biases of layers, if not the same.
    pub bias_weight_decay: Option<f64>,
    /// Layer-wise learning-rate decay: each earlier layer's rate is multiplied by this. None: one rate for all.
    pub layer_decay: Option<f64>,
    /// Groups with settings of their own; the first that matches a parameter counts.
    pub groups: Vec<Group>,
}

/// A parameter group.
#[derive(Clone, Debug)]
pub struct Group {
    /// Patterns for parameter names, one of which must match.
    pub patterns: Vec<String>,
    /// Factor on the optimiser's learning rate.
    pub lr_scale: f64,
    /// Weight decay, if not what it would be without this group.
    pub weight_decay: Option<f64>,
}

impl Rates {
    /// The rate of each parameter of a graph. Fails with `Error::Argument` where a pattern matches none.
    pub fn of(&self, graph: &Graph, parameters: &[Parameter]) -> Result<Vec<Rate>> {
        for pattern in self.groups.iter().flat_map(|group| &group.patterns) {
            trained(parameters, pattern, graph.name())?;
        }
        let mut rates: Vec<Rate> = parameters.iter().map(|parameter| self.one(parameter)).collect();
        if let Some(decay) = self.layer_decay {
            let layers = graph.layers();
            for (rate, parameter) in rates.iter_mut().zip(parameters) {
                let after = layers.count - 1 - layers.of(parameter.node);
                rate.lr *= decay.powi(after as i32);
            }
        }
        Ok(rates)
    }

    /// Fails with `Error::Argument` where a number is out of range.
    pub fn check(&self) -> Result<()> {
        let own = self.groups.iter().flat_map(|group| {
            [("lr_scale", Some(group.lr_scale)), ("weight_decay", group.weight_decay)]
        });
        let mut numbers = vec![
            ("weight_decay", Some(self.weight_decay)),
            ("norm_weight_decay", self.norm_weight_decay),
            ("bias_weight_decay", self.bias_weight_decay),
        ];
        numbers.extend(own);
        if let Some(decay) = self.layer_decay.filter(|decay| !(0.0..=1.0).contains(decay)) {
            return Err(Error::Argument {
                at: "`layer_decay`".into(),
                expected: "a number of 0 to 1".into(),
                got: decay.to_string(),
            });
        }
        for (name, number) in numbers {
            if let Some(number) = number.filter(|number| !(0.0..f64::INFINITY).contains(number)) {
                return Err(Error::Argument {
                    at: format!("`{name}`"),
                    expected: "a number of at least 0".into(),
                    got: number.to_string(),
                });
            }
        }
        Ok(())
    }

    fn one(&self, parameter: &Parameter) -> Rate {
        let usual = match parameter.role {
            Role::NormScale | Role::NormShift => self.norm_weight_decay,
            Role::Bias { .. } => self.bias_weight_decay,
            _ => None,
        };
        let usual = usual.unwrap_or(self.weight_decay);
        let mut groups = self.groups.iter();
        let own = groups.find(|group| group.patterns.iter().any(|p| fits(p, &parameter.name)));
        own.map_or(Rate { lr: self.lr, weight_decay: usual }, |group| Rate {
            lr: self.lr * group.lr_scale,
            weight_decay: group.weight_decay.unwrap_or(usual),
        })
    }
}
