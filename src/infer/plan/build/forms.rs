//! The forms of values: those that layers of int8 or bfloat16 read and write are of such numbers.

use super::super::super::form::{Form, Scale};
use super::super::super::kernel::is_clamp;
use super::super::super::layout::Layout;
use super::super::super::simd::Element;
use super::super::choose::{Algorithm, Layer};
use super::Builder;
use super::convolution::{is_depthwise, window};
use crate::engine::Precision;
use crate::graph::{NodeId, Op, Shape};

/// Numbers in a word, of the form with most of them.
const MOST_PER_WORD: usize = 4;

impl Builder<'_> {
    /// The bytes that stand for the values of a node, in int8.
    pub(super) fn scale(&self, id: NodeId) -> Option<Scale> {
        let quantization = self.choices.quantization()?;
        let (low, high) = quantization.range(id)?;
        Scale::between(low, high)
    }

    /// Whether a layer runs in int8.
    pub(super) fn is_quantized(&self, id: NodeId) -> bool {
        let Some(quantization) = self.choices.quantization() else { return false };
        let Some(&input) = self.inputs(id).first() else { return false };
        if !quantization.is_quantized(id) || self.scale(input).is_none() {
            return false;
        }
        match (self.op(id), self.shape(input)) {
            (Op::Conv(conv), Shape::Image { channels, .. }) => {
                // Groups of channels are whole words. A depthwise convolution computes with float32 numbers, but reads
                // and writes bytes.
                let (within, each) = (channels / conv.groups, conv.out / conv.groups);
                conv.groups == 1
                    || within.is_multiple_of(4) && each.is_multiple_of(4)
                    || (within, each) == (1, 1) && channels.is_multiple_of(4)
            }
            (Op::Linear(_), _) => true,
            _ => false,
        }
    }

    /// Whether a layer reads and writes values of several numbers in a word.
    pub(super) fn is_narrow(&self, id: NodeId) -> bool {
        match self.choices.precision {
            Precision::Float32 => false,
            Precision::Int8 => self.is_quantized(id),
            Precision::BFloat16 => self.reads_and_writes_pairs(id),
        }
    }

    /// Whether a layer reads and writes bfloat16 numbers: it multiplies pairs of them, is a depthwise convolution, or has
    /// tiles of Winograd's algorithm. Attention is such a layer.
    fn reads_and_writes_pairs(&self, id: NodeId) -> bool {
        let Some(&input) = self.inputs(id).first() else { return false };
        let out = Layout::of(self.shape(id)).channels;
        let input = Layout::of(self.shape(self.before_flattening(input)));
        let layer = match self.op(id) {
            Op::Conv(conv) if is_depthwise(conv, input.channels) => {
                return out.is_multiple_of(2);
            }
            // Groups of channels are whole words.
            Op::Conv(conv) if conv.groups > 1 && !(out / conv.groups).is_multiple_of(2) => {
                return false;
            }
            Op::Conv(conv) => Layer::new(&window(conv, &input), conv.groups, &input, out),
            Op::Linear(_) => Layer::pointwise(&input, out),
            Op::Attention(op) => {
                return self.kind_of_attention(out / op.heads).1 == Element::BFloat16;
            }
            _ => return false,
        };
        match self.choices.algorithm(&layer) {
            (Algorithm::Direct, element) => element == Element::BFloat16,
            // A stride becomes channels of a copy in float32.
            (Algorithm::Winograd(_), _) => {
                layer.stride == [1, 1] && input.channels.is_multiple_of(2) && out.is_multiple_of(2)
            }
            (Algorithm::Strassen, _) => false,
        }
    }

    /// The image of which a vector is another view, or the node itself.
    fn before_flattening(&self, id: NodeId) -> NodeId {
        match (self.op(id), self.inputs(id)) {
            (Op::Flatten(_), &[input]) if matches!(self.shape(input), Shape::Tokens { .. }) => id,
            (Op::Flatten(_) | Op::Dropout(_) | Op::DropPath(_), &[input]) => {
                self.before_flattening(input)
            }
            _ => id,
        }
    }

    /// The form of the value of a node that has a place of its own.
    pub(super) fn form(&self, id: NodeId) -> Form {
        let fits = self.is_for_gaining(id) && self.is_read_narrow(id) && self.writes_narrow(id);
        self.narrow_if(id, fits)
    }

    /// The form of a concatenation that is no part of another, whose parts are written in place.
    pub(super) fn form_of_concatenation(&self, id: NodeId) -> Form {
        let fits = self.is_for_gaining(id) && self.is_read_narrow(id) && self.has_whole_words(id);
        self.narrow_if(id, fits)
    }

    /// Whether the parts of a concatenation of images begin with words.
    fn has_whole_words(&self, id: NodeId) -> bool {
        self.inputs(id).iter().all(|&part| match self.shape(part) {
            Shape::Image { channels, .. } => channels.is_multiple_of(MOST_PER_WORD),
            Shape::Tokens { .. } | Shape::Vector { .. } => false,
        })
    }

    fn narrow_if(&self, id: NodeId, fits: bool) -> Form {
        let form = match self.choices.precision {
            Precision::Float32 => None,
            Precision::BFloat16 => Some(Form::BFloat16),
            Precision::Int8 => self.scale(id).map(Form::Byte),
        };
        let channels = Layout::of(self.shape(id)).channels;
        let fits = |form: &Form| fits && channels.is_multiple_of(form.per_word());
        form.filter(fits).unwrap_or(Form::Float32)
    }

    /// Whether all that read a value read it in a form of several numbers in a word.
    fn is_read_narrow(&self, id: NodeId) -> bool {
        let users = self.uses.users(id);
        !users.is_empty()
            && !self.uses.is_wanted(id)
            && users.iter().all(|&user| self.reads_narrow(user))
    }

    fn reads_narrow(&self, id: NodeId) -> bool {
        match self.op(id) {
            Op::Conv(_) | Op::Linear(_) | Op::Attention(_) => self.is_narrow(id),
            Op::Add(_)
            | Op::Average(_)
            | Op::Activation(_)
            | Op::BatchNorm(_)
            | Op::LayerScale(_)
            | Op::Multiply(_)
            | Op::Affine(_)
            | Op::Gate(_)
            | Op::Pool(_)
            | Op::AdaptivePool(_)
            | Op::PoolUpTo(_)
            | Op::Concat(_) => true,
            Op::Dropout(_) | Op::DropPath(_) | Op::Flatten(_) => self.is_read_narrow(id),
            _ => false,
        }
    }

    /// Finds the nodes that gain by reading a value of several numbers in a word: layers, and nodes between it and one.
    pub(super) fn find_gaining(&mut self, nodes: &[NodeId]) {
        for &id in nodes.iter().rev() {
            let gains = match self.op(id) {
                Op::Conv(_) | Op::Linear(_) | Op::Attention(_) => self.is_narrow(id),
                Op::AdaptivePool(_) => false,
                _ => self.is_for_gaining(id),
            };
            if gains {
                self.gaining.insert(id);
            }
        }
    }

    fn is_for_gaining(&self, id: NodeId) -> bool {
        self.uses.users(id).iter().any(|user| self.gaining.contains(user))
    }

    /// Whether the step that computes a value, with what is fused into it, can write it so.
    pub(super) fn writes_narrow(&self, id: NodeId) -> bool {
        let first = || self.inputs(id).first().is_some_and(|&input| self.writes_with(input));
        match self.op(id) {
            Op::Conv(_) | Op::Linear(_) | Op::Attention(_) => self.is_narrow(id),
            Op::LayerNorm(_) => self.choices.precision == Precision::BFloat16,
            // Where tiles store pairs, they compute the function first; elsewhere it would be of a rounded number.
            Op::Activation(op) => {
                (is_clamp(op.function) || self.choices.has_tiles_of_pairs()) && first()
            }
            Op::BatchNorm(_) | Op::LayerScale(_) | Op::Multiply(_) | Op::Affine(_) => first(),
            Op::Add(_) => self.inputs(id).iter().all(|&input| self.writes_with(input)),
            Op::Average(_) | Op::Gate(_) | Op::Pool(_) | Op::AdaptivePool(_) | Op::PoolUpTo(_) => {
                true
            }
            Op::Concat(_) => self.has_whole_words(id),
            _ => false,
        }
    }

    /// Whether a step that computes this value, and one that reads it, can write so. Other steps than layers can.
    fn writes_with(&self, id: NodeId) -> bool {
        let is_fused = self.uses.sole(id).is_some();
        match self.op(id) {
            Op::Conv(_) | Op::Linear(_) => !is_fused || self.is_narrow(id),
            Op::BatchNorm(_)
            | Op::LayerScale(_)
            | Op::Multiply(_)
            | Op::Affine(_)
            | Op::Dropout(_)
            | Op::DropPath(_)
            | Op::Add(_)
                if is_fused =>
            {
                self.inputs(id).iter().all(|&input| self.writes_with(input))
            }
            _ => true,
        }
    }
}
