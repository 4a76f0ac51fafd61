//! Classifier heads.

use crate::graph::op::{AdaptivePool, Dropout, Flatten, Function, Linear};
use crate::graph::{Builder, Mark, NodeId, PartKind};

/// The names of a classifier's dropout and linear layer.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub dropout: &'static str,
    pub linear: &'static str,
}

impl Head {
    /// Pool, flattening, dropout and linear layer.
    pub fn layers(self) -> [&'static str; 4] {
        ["avgpool", "flatten", self.dropout, self.linear]
    }
}

/// Global average pooling, dropout and the classifier; without classes, the pooled features.
pub fn pooled_head(
    g: &mut Builder,
    head: Head,
    classes: usize,
    drop_rate: f64,
    x: NodeId,
) -> NodeId {
    let begin = g.mark();
    pooled(g, begin, head.layers(), classes, drop_rate, x)
}

/// The same by the names of its four layers, of a head that begins with other layers.
pub fn pooled(
    g: &mut Builder,
    begin: Mark,
    [pool, flatten, dropout, linear]: [&str; 4],
    classes: usize,
    drop_rate: f64,
    x: NodeId,
) -> NodeId {
    let pooling = g.mark();
    let x = g.add(pool, AdaptivePool::default(), x);
    let x = g.add(flatten, Flatten {}, x);
    g.part(PartKind::Embedding, "embedding", pooling);
    let x = classifier(g, dropout, linear, classes, drop_rate, x);
    g.part(PartKind::Head, "head", begin);
    x
}

/// Dropout and the linear layer over classes; without classes, nothing.
pub fn classifier(
    g: &mut Builder,
    dropout: &str,
    linear: &str,
    classes: usize,
    drop_rate: f64,
    mut x: NodeId,
) -> NodeId {
    let begin = g.mark();
    if classes > 0 {
        if drop_rate > 0.0 {
            x = g.add(dropout, Dropout { rate: drop_rate }, x);
        }
        x = g.add(linear, Linear { out: classes, ..Linear::default() }, x);
    }
    g.part(PartKind::Classifier, "classifier", begin);
    x
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
    let begin = g.mark();
    let mut x = g.add("flatten", Flatten {}, x);
    for (dense, activation) in &head.hidden {
        x = dense_layer(g, *dense, HIDDEN, drop_rate, x);
        x = g.add(*activation, Function::Relu, x);
    }
    g.part(PartKind::Embedding, "embedding", begin);
    let last = g.mark();
    if classes > 0 {
        x = dense_layer(g, head.classifier, classes, drop_rate, x);
    }
    g.part(PartKind::Classifier, "classifier", last);
    g.part(PartKind::Head, "head", begin);
    x
}

fn dense_layer(g: &mut Builder, dense: Dense, out: usize, drop_rate: f64, mut x: NodeId) -> NodeId {
    if let Some(name) = dense.dropout.filter(|_| drop_rate > 0.0) {
        x = g.add(name, Dropout { rate: drop_rate }, x);
    }
    g.add(dense.linear, Linear { out, ..Linear::default() }, x)
}

pub const KERAS_HEAD: [&str; 4] = ["avg_pool", "flatten", "top_dropout", "predictions"];

/// The same head with Keras's names.
pub fn keras_head(g: &mut Builder, classes: usize, drop_rate: f64, x: NodeId) -> NodeId {
    let begin = g.mark();
    pooled(g, begin, KERAS_HEAD, classes, drop_rate, x)
}
