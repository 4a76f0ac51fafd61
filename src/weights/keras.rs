//! Keras's names and layouts for the arrays of its layers: both images and kernels are channels-last there.

use crate::graph::{Graph, Op, Parameter, Role, Shape};

/// A variable of a Keras model and its parameter here: `ours.reshape(view).transpose(axes)`, reshaped to `shape`, is
/// Keras's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub own: String,
    pub own_shape: Vec<usize>,
    /// Keras's `Variable.path`, such as `conv1_conv/kernel`.
    pub path: String,
    pub view: Vec<usize>,
    pub axes: Vec<usize>,
    pub shape: Vec<usize>,
}

/// Classifiers that are convolutions of the pooled image in Keras, and linear layers here.
const CONVOLUTIONS: [&str; 2] = ["conv_preds", "logits"];

/// The variables of the Keras model of `graph`, layer by layer. Keras has no batch counts.
pub fn variables(graph: &Graph) -> Vec<Variable> {
    graph.parameters().iter().filter_map(|parameter| variable(graph, parameter)).collect()
}

fn variable(graph: &Graph, parameter: &Parameter) -> Option<Variable> {
    let node = graph.node(parameter.node);
    // A separable convolution is two here.
    let (layer, separable) = match node.name.rsplit_once('.') {
        Some((layer, part)) => (layer, Some(part)),
        None => (node.name.as_str(), None),
    };
    let shape = &parameter.shape;
    let depthwise = parameter.groups > 1 && shape.get(1) == Some(&1);
    let name = match parameter.role {
        Role::ConvWeight => match separable {
            Some("depthwise") => "depthwise_kernel",
            Some("pointwise") => "pointwise_kernel",
            _ => "kernel",
        },
        Role::LinearWeight => "kernel",
        Role::Bias { .. } => "bias",
        Role::NormScale => "gamma",
        Role::NormShift => "beta",
        Role::RunningMean => "moving_mean",
        Role::RunningVariance => "moving_variance",
        Role::Embedding | Role::Position { .. } | Role::BatchCount => return None,
    };
    let (view, axes): (Vec<usize>, Vec<usize>) = match parameter.role {
        // (C·M, 1, H, W) is (H, W, C, M) there.
        Role::ConvWeight if depthwise => {
            let groups = parameter.groups;
            (vec![groups, shape[0] / groups, shape[2], shape[3]], vec![2, 3, 0, 1])
        }
        // (O, I, H, W) is (H, W, I, O) there.
        Role::ConvWeight => (shape.clone(), vec![2, 3, 1, 0]),
        // (O, C·H·W) is (H·W·C, O) there, for a flattened image, or (I, O).
        Role::LinearWeight => match flattened(graph, parameter) {
            Some([channels, height, width]) => {
                (vec![shape[0], channels, height, width], vec![2, 3, 1, 0])
            }
            None => (shape.clone(), vec![1, 0]),
        },
        _ => (shape.clone(), vec![0]),
    };
    let kept = if parameter.role == Role::LinearWeight && !CONVOLUTIONS.contains(&layer) {
        vec![shape[1], shape[0]]
    } else {
        axes.iter().map(|&axis| view[axis]).collect()
    };
    let path = format!("{layer}/{name}");
    let (own, own_shape) = (parameter.name.clone(), shape.clone());
    Some(Variable { own, own_shape, path, view, axes, shape: kept })
}

/// Channels, height and width of the flattened image that a linear layer reads.
fn flattened(graph: &Graph, parameter: &Parameter) -> Option<[usize; 3]> {
    let mut id = *graph.node(parameter.node).inputs.first()?;
    while let Op::Dropout(_) = graph.node(id).op {
        id = *graph.node(id).inputs.first()?;
    }
    let Op::Flatten(_) = graph.node(id).op else { return None };
    match graph.drawn_shapes()[graph.node(id).inputs.first()?.index()] {
        Shape::Image { channels, height, width } => Some([channels, height, width]),
        Shape::Tokens { .. } | Shape::Vector { .. } => None,
    }
}
