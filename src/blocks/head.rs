//! Classifier heads.

use crate::graph::op::{AdaptivePool, Dropout, Flatten, Function, Linear};
use crate::graph::{Builder, NodeId};

/// The names of a classifier's dropout and linear layer.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub dropout: &'static str,
    pub linear: &'static str,
}

/// Global average pooling, dropout and the classifier; without classes, the pooled features.
pub fn pooled_head(
    g: &mut Builder,
    head: Head,
    classes: usize,
    drop_rate: f64,
    x: NodeId,
) -> NodeId {
    let x = g.add("avgpool", AdaptivePool::default(), x);
    let x = g.add("flatten", Flatten {}, x);
    if classes == 0 {
        return x;
    }
    let x = if drop_rate > 0.0 { g.add(head.dropout, Dropout { rate: drop_rate }, x) } else { x };
    g.add(head.linear, Linear { out: classes, ..Linear::default() }, x)
}

/// The names of a fully connected layer, and of the dropout before it if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Dense {
    pub dropout: Option<&'static str>,
    pub linear: &'static str,
}

/// The names of the two hidden layers of 4096 features in the head of the networks before GoogLeNet, each with its
/// activation, and of the classifier.
#[derive(Clone, Copy, Debug)]
pub struct HiddenHead {
    pub hidden: [(Dense, &'static str); 2],
    pub classifier: Dense,
}

/// The number of features in a hidden layer of that head.
pub const HIDDEN: usize = 4096;

/// Flattens the image, then two hidden layers and the classifier; without classes, the second hidden layer.
pub fn hidden_head(
    g: &mut Builder,
    head: &HiddenHead,
    classes: usize,
    drop_rate: f64,
    x: NodeId,
) -> NodeId {
    let mut x = g.add("flatten", Flatten {}, x);
    for (dense, activation) in &head.hidden {
        x = dense_layer(g, *dense, HIDDEN, drop_rate, x);
        x = g.add(*activation, Function::Relu, x);
    }
    if classes == 0 { x } else { dense_layer(g, head.classifier, classes, drop_rate, x) }
}

fn dense_layer(g: &mut Builder, dense: Dense, out: usize, drop_rate: f64, mut x: NodeId) -> NodeId {
    if let Some(name) = dense.dropout.filter(|_| drop_rate > 0.0) {
        x = g.add(name, Dropout { rate: drop_rate }, x);
    }
    g.add(dense.linear, Linear { out, ..Linear::default() }, x)
}

/// The same head with Keras's names.
pub fn keras_head(g: &mut Builder, classes: usize, drop_rate: f64, x: NodeId) -> NodeId {
    let x = g.add("avg_pool", AdaptivePool::default(), x);
    let x = g.add("flatten", Flatten {}, x);
    if classes == 0 {
        return x;
    }
    let x = if drop_rate > 0.0 { g.add("top_dropout", Dropout { rate: drop_rate }, x) } else { x };
    g.add("predictions", Linear { out: classes, ..Linear::default() }, x)
}
