//! Parameter groups: the learning rate and weight decay of each parameter.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::graph::pattern::{fits, trained};
use crate::graph::{Graph, Parameter, Role};
use crate::torch::Rate;

/// Differences between parameters in an optimiser's learning rate and weight decay.
#[derive(Clone, Debug)]
pub struct RateRules {
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

impl RateRules {
    /// The rate of each parameter of a graph where the optimiser's is 1. Fails with `Error::Argument` where a pattern
    /// matches none.
    pub fn rates(&self, graph: &Graph, parameters: &[Parameter]) -> Result<Vec<Rate>> {
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
        own.map_or(Rate { lr: 1.0, weight_decay: usual }, |group| Rate {
            lr: group.lr_scale,
            weight_decay: group.weight_decay.unwrap_or(usual),
        })
    }
}

/// Rules that are matched with the parameters of a graph once, not at every step.
#[derive(Debug)]
pub struct MatchedRates {
    rules: RateRules,
    last: Mutex<Option<(Arc<Graph>, Vec<Rate>)>>,
}

impl MatchedRates {
    /// Fails with `Error::Argument` where a number is out of range.
    pub fn new(rules: RateRules) -> Result<Self> {
        rules.check()?;
        Ok(Self { rules, last: Mutex::default() })
    }

    /// The rate of each parameter where the optimiser's learning rate is `lr`. Fails as [`RateRules::rates`] does.
    pub fn rates(
        &self,
        lr: f64,
        graph: &Arc<Graph>,
        parameters: &[Parameter],
    ) -> Result<Vec<Rate>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let matched = match last.take() {
            Some((of, rates)) if Arc::ptr_eq(&of, graph) => rates,
            _ => self.rules.rates(graph, parameters)?,
        };
        let rates = matched.iter().map(|rate| Rate { lr: lr * rate.lr, ..*rate }).collect();
        *last = Some((graph.clone(), matched));
        Ok(rates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Builder;
    use crate::graph::op::{Conv, Flatten, Input, Linear};

    /// A convolution and a classifier, called so.
    fn graph(conv: &str, classifier: &str) -> Arc<Graph> {
        let mut g = Builder::new("small", Input { channels: 3, height: 4, width: 4 });
        let x = g.input();
        let x = g.add(conv, Conv { out: 2, bias: true, ..Conv::default() }, x);
        let x = g.add("flatten", Flatten {}, x);
        let x = g.add(classifier, Linear { out: 5, ..Linear::default() }, x);
        Arc::new(g.finish(x).unwrap())
    }

    #[test]
    fn rules_are_matched_again_for_another_graph() {
        let rules = |patterns: &[&str]| RateRules {
            weight_decay: 0.1,
            norm_weight_decay: Some(0.0),
            bias_weight_decay: None,
            layer_decay: None,
            groups: vec![Group {
                patterns: patterns.iter().map(ToString::to_string).collect(),
                lr_scale: 10.0,
                weight_decay: None,
            }],
        };
        let (first, second) = (graph("conv", "fc"), graph("features", "fc"));
        let matched = MatchedRates::new(rules(&["*.bias"])).unwrap();
        for (lr, graph) in [(0.5, &first), (0.25, &first), (0.5, &second), (0.5, &first)] {
            let parameters = graph.parameters();
            let rates = matched.rates(lr, graph, &parameters).unwrap();
            assert_eq!(rates.len(), parameters.len());
            for (rate, parameter) in rates.iter().zip(&parameters) {
                let scaled = parameter.name.rsplit('.').next() == Some("bias");
                let expected = if scaled { 10.0 * lr } else { lr };
                assert_eq!(rate.lr.to_bits(), expected.to_bits(), "{}", parameter.name);
            }
        }
        let matched = MatchedRates::new(rules(&["conv.*"])).unwrap();
        assert!(matched.rates(0.5, &first, &first.parameters()).is_ok());
        assert!(matched.rates(0.5, &second, &second.parameters()).is_err());
        assert!(matched.rates(0.5, &first, &first.parameters()).is_ok());
    }
}
