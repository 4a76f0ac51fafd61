//! Random graphs: single operations of any size, and what networks are made of, which the plan fuses and joins.

use super::super::kernel::tests::Dice;
use crate::graph::op::{
    Activation, AdaptivePool, Add, Affine, Attention, Average, BatchNorm, Blur, Border, Concat,
    Conv, DropPath, Dropout, Embedding, Flatten, Function, Gate, GroupNorm, Input, LayerNorm,
    LayerScale, Linear, Lrn, MultiQueryAttention, Multiply, Pad, Padding, Pair, Pool, PoolKind,
    PoolUpTo, SelectToken, Tokens,
};
use crate::graph::shape::output_shape;
use crate::graph::{Builder, Graph, NodeId, Op, Shape};

/// A graph for images of one size.
pub(super) struct Drawn {
    pub graph: Graph,
    pub batch: usize,
    /// The output, and sometimes nodes before it.
    pub wanted: Vec<NodeId>,
}

/// A graph whose batch needs about so many multiply-adds at most.
pub(super) fn draw(dice: &mut Dice, budget: usize) -> Drawn {
    let most = dice.pick(&[3, 9, 20, 40]);
    let (height, width) = (dice.within(1, most), dice.within(1, most));
    let channels = if dice.once_in(2) { 3 } else { dice.channels() };
    let batch = if dice.once_in(2) { 1 } else { dice.within(2, 9) };
    let input = Input { channels, height, width };
    let builder = Builder::new("fuzzed", input);
    let mut hand = Hand {
        budget: budget / batch,
        nodes: vec![(builder.input(), Shape::Image { channels, height, width })],
        builder,
        dice,
    };
    for _ in 0..hand.dice.within(1, 9) {
        hand.phrase();
    }
    let Hand { builder, nodes, dice, .. } = hand;
    let output = nodes[nodes.len() - 1].0;
    let mut wanted = vec![output];
    while dice.once_in(2) {
        let node = dice.pick(&nodes).0;
        if !wanted.contains(&node) {
            wanted.push(node);
        }
    }
    Drawn { graph: builder.finish(output).unwrap(), batch, wanted }
}

struct Hand<'a> {
    dice: &'a mut Dice,
    builder: Builder,
    nodes: Vec<(NodeId, Shape)>,
    /// Multiply-adds that are left for an image.
    budget: usize,
}

/// A node and its shape.
type Drawing = (NodeId, Shape);

impl Hand<'_> {
    /// Adds a node, unless its inputs do not fit or it would take too long; then the first input stands for it.
    fn add(&mut self, op: impl Into<Op>, inputs: &[Drawing]) -> Drawing {
        let op = op.into();
        let shapes: Vec<Shape> = inputs.iter().map(|input| input.1).collect();
        let Ok(shape) = output_shape(&op, &shapes) else { return inputs[0] };
        let each = match (&op, shapes.first()) {
            (Op::Conv(conv), Some(input)) => {
                input.channels() / conv.groups * conv.kernel.height * conv.kernel.width
            }
            (Op::Linear(_), Some(input)) => input.channels(),
            (Op::Pool(pool), _) => pool.kernel.height * pool.kernel.width,
            (Op::Blur(blur), _) => blur.size * blur.size,
            (Op::Attention(_), Some(Shape::Tokens { count, .. })) => 2 * count,
            (Op::MultiQueryAttention(_), _) => 2 * shapes[1].elements(),
            _ => 1,
        };
        let cost = shape.elements() * each;
        if shape.elements() == 0 || cost > self.budget {
            return inputs.first().copied().unwrap_or(self.nodes[0]);
        }
        self.budget -= cost;
        let ids: Vec<NodeId> = inputs.iter().map(|input| input.0).collect();
        let id = self.builder.add(format!("n{}", self.nodes.len()), op, &ids[..]);
        self.nodes.push((id, shape));
        (id, shape)
    }

    /// Mostly the last value, sometimes an earlier one.
    fn any(&mut self) -> Drawing {
        if self.dice.once_in(5) {
            return self.dice.pick(&self.nodes);
        }
        self.nodes[self.nodes.len() - 1]
    }

    /// Another value of this shape, if there is one, or the same.
    fn alike(&mut self, shape: Shape) -> Option<Drawing> {
        let alike: Vec<Drawing> =
            self.nodes.iter().copied().filter(|node| node.1 == shape).collect();
        (!alike.is_empty()).then(|| self.dice.pick(&alike))
    }

    fn phrase(&mut self) {
        let x = self.any();
        match x.1 {
            Shape::Image { channels, height, width } => {
                self.image(x, [channels, height, width]);
            }
            Shape::Tokens { count, width } => self.tokens(x, count, width),
            Shape::Vector { .. } => self.vector(x),
        }
    }

    fn image(&mut self, x: Drawing, size: [usize; 3]) {
        let [channels, height, width] = size;
        match self.dice.within(0, 26) {
            0..=4 => {
                let conv = self.conv(channels);
                let y = self.add(conv, &[x]);
                self.tail(y);
            }
            5..=7 => {
                let y = self.depthwise(x, channels);
                self.tail(y);
            }
            8..=10 => self.block(x, channels),
            11 => {
                let y = self.gate(x, channels);
                self.tail(y);
            }
            12..=13 => {
                let pool = self.pool();
                self.add(pool, &[x]);
            }
            14 => {
                let mut side = |size: usize| self.dice.within(1, size + 2);
                let size = Pair { height: side(height), width: side(width) };
                if self.dice.once_in(2) {
                    self.add(PoolUpTo { size }, &[x]);
                } else {
                    self.add(AdaptivePool { size }, &[x]);
                }
            }
            15 => {
                let (size, stride) = (self.dice.within(1, 5), self.dice.within(1, 3).into());
                let padding =
                    Pair { height: self.dice.within(0, 2), width: self.dice.within(0, 2) };
                let border = self.dice.pick(&[Border::Mirror, Border::Zeros]);
                self.add(Blur { size, stride, padding, border }, &[x]);
            }
            16 => {
                let mut side = || self.dice.within(0, 3);
                let (top, bottom, left, right) = (side(), side(), side(), side());
                let channels = side();
                self.add(Pad { top, bottom, left, right, channels }, &[x]);
            }
            17 => {
                let op = self.norm(channels);
                self.add(op, &[x]);
            }
            18 => {
                let op = self.scale(channels);
                self.add(op, &[x]);
            }
            19 => self.sum(x),
            20..=21 => self.branches(x, channels),
            22 => self.dense(x),
            23 if height * width <= 150 => {
                if self.dice.once_in(2) {
                    self.multi_query(x);
                } else {
                    self.add(Tokens {}, &[x]);
                }
            }
            24 if channels * height * width <= 600 && self.dice.once_in(2) => {
                self.add(Flatten {}, &[x]);
            }
            25..=26 => self.wide(x),
            _ => {
                let op = self.function();
                self.add(op, &[x]);
            }
        }
    }

    fn function(&mut self) -> Activation {
        Activation { function: self.dice.function().unwrap_or(Function::Relu) }
    }

    /// Mostly few, sometimes enough for Winograd's algorithm, and rarely so many that pixels are set apart.
    fn outputs(&mut self) -> usize {
        match self.dice.within(0, 30) {
            0..=4 => self.dice.pick(&[32, 48, 64, 65]),
            5 => 1024,
            _ => self.dice.channels(),
        }
    }

    fn border(&mut self, kernel: Pair, dilation: Pair) -> Padding {
        let Pair { height, width } = kernel;
        match self.dice.within(0, 3) {
            0 => Padding::Same,
            1 => {
                let (height, width) = (self.dice.within(0, height), self.dice.within(0, width));
                Padding::Both(Pair { height, width })
            }
            _ => Padding::Both(Pair {
                height: (height - 1) * dilation.height / 2,
                width: (width - 1) * dilation.width / 2,
            }),
        }
    }

    fn conv(&mut self, channels: usize) -> Conv {
        let usual = self.dice.once_in(2);
        let kernel = if usual {
            self.dice.pick(&[1, 3, 3]).into()
        } else {
            Pair { height: self.dice.within(1, 7), width: self.dice.within(1, 7) }
        };
        let (mut stride, mut dilation) = (Pair::ONE, Pair::ONE);
        if !usual && self.dice.once_in(2) {
            stride = Pair { height: self.dice.within(1, 3), width: self.dice.within(1, 3) };
        }
        if !usual && self.dice.once_in(3) {
            dilation = Pair { height: self.dice.within(1, 3), width: self.dice.within(1, 3) };
        }
        let divisors: Vec<usize> =
            (2..=channels).filter(|by| channels.is_multiple_of(*by)).collect();
        let is_grouped = self.dice.once_in(4) && !divisors.is_empty();
        let groups = if is_grouped { self.dice.pick(&divisors) } else { 1 };
        let out = if is_grouped { groups * self.dice.within(1, 3) } else { self.outputs() };
        let padding = self.border(kernel, dilation);
        Conv { out, kernel, stride, padding, dilation, groups, bias: self.dice.once_in(2) }
    }

    fn depthwise(&mut self, x: Drawing, channels: usize) -> Drawing {
        let kernel: Pair = match self.dice.within(0, 5) {
            0 => Pair { height: self.dice.within(1, 5), width: self.dice.within(1, 5) },
            _ => self.dice.pick(&[3, 3, 5, 7]).into(),
        };
        let stride = self.dice.pick(&[1, 1, 2, 3]).into();
        let dilation = if self.dice.once_in(5) { self.dice.within(1, 3).into() } else { Pair::ONE };
        let padding = self.border(kernel, dilation);
        let (out, bias) = (channels, self.dice.once_in(3));
        self.add(Conv { out, kernel, stride, padding, dilation, groups: channels, bias }, &[x])
    }

    /// Nodes that may follow a layer of an image: norms, scales, a sum, an activation.
    fn tail(&mut self, x: Drawing) -> Drawing {
        let mut y = x;
        if !self.dice.once_in(3) {
            let scale = !self.dice.once_in(6);
            y = self.add(BatchNorm { scale, ..BatchNorm::default() }, &[y]);
        }
        if self.dice.once_in(6) {
            let op = self.scale(y.1.channels());
            y = self.add(op, &[y]);
        }
        if self.dice.once_in(5) {
            y = self.add(DropPath { rate: 0.1 }, &[y]);
        }
        if self.dice.once_in(3)
            && let Some(other) = self.alike(y.1)
        {
            let inputs = if self.dice.once_in(2) { [y, other] } else { [other, y] };
            y = self.add(Add {}, &inputs);
        }
        if !self.dice.once_in(3) {
            let op = self.function();
            y = self.add(op, &[y]);
        }
        y
    }

    fn pointwise(&mut self, x: Drawing, out: usize) -> Drawing {
        let bias = self.dice.once_in(2);
        self.add(Conv { out, bias, ..Conv::default() }, &[x])
    }

    /// Windows of 3×3 on so many channels, of such images, that Winograd's algorithm may be chosen.
    fn wide(&mut self, x: Drawing) {
        let (within, out) = (self.dice.pick(&[24, 32, 64]), self.dice.pick(&[43, 64, 65]));
        let (height, width) = (self.dice.pick(&[5, 9, 12]), self.dice.within(4, 13));
        let y = self.add(AdaptivePool { size: Pair { height, width } }, &[x]);
        let y = self.pointwise(y, within);
        let padding = self.dice.within(0, 2).into();
        let y = self.add(Conv { out, kernel: 3.into(), padding, ..Conv::default() }, &[y]);
        self.tail(y);
    }

    /// MobileNet's, with a gate at times.
    fn block(&mut self, x: Drawing, channels: usize) {
        // Those on small images are not joined.
        let mut side = |least: usize, most: usize| self.dice.within(least, most);
        let size = Pair { height: side(14, 20), width: side(1, 20) };
        let x = if self.dice.once_in(2) { self.add(PoolUpTo { size }, &[x]) } else { x };
        let mut y = x;
        if !self.dice.once_in(4) {
            let out = channels * self.dice.within(1, 4);
            y = if self.dice.once_in(4) {
                let padding = self.border(3.into(), Pair::ONE);
                self.add(Conv { out, kernel: 3.into(), padding, ..Conv::default() }, &[y])
            } else {
                self.pointwise(y, out)
            };
            y = self.tail(y);
        }
        y = self.depthwise(y, y.1.channels());
        y = self.tail(y);
        if self.dice.once_in(4) {
            y = self.gate(y, y.1.channels());
        }
        let out = if self.dice.once_in(2) { channels } else { self.dice.channels() };
        y = self.pointwise(y, out);
        y = self.add(BatchNorm::default(), &[y]);
        if y.1 == x.1 {
            self.add(Add {}, &[x, y]);
        }
    }

    fn gate(&mut self, x: Drawing, channels: usize) -> Drawing {
        let mut gate = self.add(AdaptivePool::default(), &[x]);
        let within = self.dice.channels();
        gate = self.pointwise(gate, within);
        let op = self.function();
        gate = self.add(op, &[gate]);
        gate = self.pointwise(gate, channels);
        gate = self.add(Function::Sigmoid, &[gate]);
        self.add(Gate {}, &[x, gate])
    }

    fn pool(&mut self) -> Pool {
        let mut side = || self.dice.within(1, 4);
        let kernel = Pair { height: side(), width: side() };
        let stride = Pair { height: side(), width: side() };
        let padding = if self.dice.once_in(3) {
            Padding::Same
        } else {
            let mut border = |kernel: usize| self.dice.within(0, kernel / 2);
            Padding::Both(Pair { height: border(kernel.height), width: border(kernel.width) })
        };
        let kind = self.dice.pick(&[PoolKind::Max, PoolKind::Average]);
        let (ceil, count_padding) = (self.dice.once_in(2), self.dice.once_in(2));
        Pool { kind, kernel, stride, padding, ceil, count_padding }
    }

    fn norm(&mut self, channels: usize) -> Op {
        // Little variance makes rounding large.
        let eps = self.dice.pick(&[1e-3, 0.1]);
        match self.dice.within(0, 2) {
            0 => {
                let (size, alpha) = (self.dice.within(1, 6), self.dice.pick(&[1e-4, 0.3]));
                let (beta, k) = (self.dice.pick(&[0.75, 0.5]), self.dice.pick(&[1.0, 2.0]));
                Lrn { size, alpha, beta, k }.into()
            }
            1 => BatchNorm::default().into(),
            _ => {
                let groups = (1..=channels).filter(|by| channels.is_multiple_of(*by));
                let groups = self.dice.pick(&groups.collect::<Vec<_>>());
                GroupNorm { groups, eps }.into()
            }
        }
    }

    fn scale(&mut self, channels: usize) -> Op {
        match self.dice.within(0, 3) {
            0 => LayerScale {}.into(),
            1 => {
                let mut numbers = || (0..channels).map(|_| f64::from(self.dice.float())).collect();
                Affine { scale: numbers(), shift: numbers() }.into()
            }
            2 => Dropout { rate: 0.1 }.into(),
            _ => Multiply { by: f64::from(self.dice.float()) }.into(),
        }
    }

    /// A sum or an average of values of one shape, some of which may be the same.
    fn sum(&mut self, x: Drawing) {
        let mut inputs = vec![x];
        for _ in 0..self.dice.within(0, 3) {
            inputs.extend(self.alike(x.1));
        }
        let y = if self.dice.once_in(3) {
            self.add(Average {}, &inputs)
        } else {
            self.add(Add {}, &inputs)
        };
        if self.dice.once_in(2) {
            let op = self.function();
            self.add(op, &[y]);
        }
    }

    /// Some ways through an image, side by side.
    fn branches(&mut self, x: Drawing, channels: usize) {
        let mut ends = Vec::new();
        for _ in 0..self.dice.within(1, 4) {
            let y = match self.dice.within(0, 4) {
                0 => x,
                1 => {
                    let (kernel, padding) = (3.into(), 1.into());
                    let pool = Pool { kernel, padding, ..self.pool() };
                    self.add(Pool { stride: Pair::ONE, ceil: false, ..pool }, &[x])
                }
                _ => {
                    let conv = self.conv(channels);
                    let conv = Conv { stride: Pair::ONE, padding: Padding::Same, ..conv };
                    let y = self.add(conv, &[x]);
                    self.tail(y)
                }
            };
            ends.push(y);
        }
        let y = self.add(Concat {}, &ends);
        if self.dice.once_in(2) {
            self.tail(y);
        }
        // A part is read as tokens too.
        if self.dice.once_in(6) {
            let part = self.dice.pick(&ends);
            let tokens = self.add(Tokens {}, &[part]);
            match tokens.1 {
                Shape::Tokens { count, width } => self.tokens(tokens, count, width),
                Shape::Image { .. } | Shape::Vector { .. } => {}
            }
        }
    }

    /// A dense block, which concatenates its values again and again.
    fn dense(&mut self, x: Drawing) {
        let mut all = vec![x];
        for _ in 0..self.dice.within(1, 3) {
            let joined = if all.len() > 1 { self.add(Concat {}, &all) } else { x };
            let normal = self.tail(joined);
            let conv = self.conv(normal.1.channels());
            let conv = Conv { stride: Pair::ONE, padding: Padding::Same, ..conv };
            all.push(self.add(conv, &[normal]));
        }
        self.add(Concat {}, &all);
    }

    fn multi_query(&mut self, x: Drawing) {
        let (heads, depth, width) =
            (self.dice.within(1, 3), self.dice.within(1, 6), self.dice.channels());
        let queries = self.pointwise(x, heads * depth);
        let mut source = x;
        if self.dice.once_in(2) {
            let pool = self.pool();
            source = self.add(pool, &[x]);
        }
        let (keys, values) = (self.pointwise(source, depth), self.pointwise(source, width));
        let y = self.add(MultiQueryAttention { heads }, &[queries, keys, values]);
        self.tail(y);
    }

    fn tokens(&mut self, x: Drawing, count: usize, width: usize) {
        match self.dice.within(0, 9) {
            0..=1 => {
                let eps = self.dice.pick(&[1e-3, 0.1]);
                self.add(LayerNorm { eps }, &[x]);
            }
            2..=3 => {
                let (out, bias) = (self.dice.channels(), self.dice.once_in(2));
                let y = self.add(Linear { out, bias }, &[x]);
                self.end(y);
            }
            4..=5 => {
                let heads = self.dice.within(1, 3);
                let all = heads * self.dice.within(1, 9);
                let parts = self.add(Linear { out: 3 * all, bias: true }, &[x]);
                let mixed = self.add(Attention { heads }, &[parts]);
                let y = self.add(Linear { out: width, bias: true }, &[mixed]);
                self.end(y);
            }
            6 => {
                let tokens = self.dice.within(1, 3);
                let embedding = self.add(Embedding { tokens, width, grid: None }, &[]);
                let mut inputs = vec![x, embedding];
                if self.dice.once_in(3) {
                    inputs.push(x);
                }
                let by = self.dice.within(0, inputs.len() - 1);
                inputs.rotate_left(by);
                let y = self.add(Concat {}, &inputs);
                let Shape::Tokens { count: tokens, .. } = y.1 else { return };
                if self.dice.once_in(2) {
                    let position = self.add(Embedding { tokens, width, grid: None }, &[]);
                    self.add(Add {}, &[y, position]);
                }
            }
            7 => {
                self.add(SelectToken { index: self.dice.0 as usize % count }, &[x]);
            }
            8 if count * width <= 600 => {
                self.add(Flatten {}, &[x]);
            }
            _ => self.end(x),
        }
    }

    fn vector(&mut self, x: Drawing) {
        match self.dice.within(0, 5) {
            0 => {
                let eps = self.dice.pick(&[1e-3, 0.1]);
                self.add(LayerNorm { eps }, &[x]);
            }
            1 => {
                self.add(Flatten {}, &[x]);
            }
            2 => self.end(x),
            3 => self.sum(x),
            _ => {
                let (out, bias) = (self.outputs(), self.dice.once_in(2));
                let y = self.add(Linear { out, bias }, &[x]);
                self.end(y);
            }
        }
    }

    /// Nodes that may follow a layer of tokens or a vector.
    fn end(&mut self, x: Drawing) {
        let mut y = x;
        if self.dice.once_in(4) {
            let by = f64::from(self.dice.float());
            y = self.add(Multiply { by }, &[y]);
        }
        if self.dice.once_in(4) {
            y = self.add(Dropout { rate: 0.1 }, &[y]);
        }
        if self.dice.once_in(2)
            && let Some(other) = self.alike(y.1)
        {
            y = self.add(Add {}, &[other, y]);
        }
        if self.dice.once_in(2) {
            let op = self.function();
            self.add(op, &[y]);
        }
    }
}
