//! The places in the image that a value belongs to: its grid, the tokens before that, and the window of pixels that
//! one cell depends on.

use std::ops::Range;

use super::op::{AdaptivePool, Blur, Border, Conv, Embedding, Padding, Pool, PoolUpTo};
use super::shape::{same_padding, span};
use super::{Graph, NodeId, Op, Shape};
use crate::error::{Error, Result};

/// A value's cells, each of which belongs to a place in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Tokens that come before those of the cells, such as a class token.
    pub before: usize,
    pub height: usize,
    pub width: usize,
}

/// A window of pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

/// An attention between tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionLayer {
    pub node: NodeId,
    /// The node that holds queries, keys and values.
    pub queries: NodeId,
    pub heads: usize,
}

impl Graph {
    /// The attentions between tokens that the output needs, in their order.
    pub fn attentions(&self) -> Vec<AttentionLayer> {
        let needed = self.needed_for(&[self.output()]);
        let layer = |id: NodeId| match &self.node(id).op {
            Op::Attention(op) if needed[id.index()] => {
                Some(AttentionLayer { node: id, queries: self.node(id).inputs[0], heads: op.heads })
            }
            _ => None,
        };
        self.ids().filter_map(layer).collect()
    }

    /// The last value that says where in the image something is: the last image before it is pooled, or the tokens that
    /// the last attention reads, since after it only the class token may have a share in the logits.
    pub fn focus(&self) -> Option<NodeId> {
        let Some(last) = self.attentions().pop() else { return self.pyramid().pop() };
        let node = self.node(last.queries);
        Some(if matches!(node.op, Op::Linear(_)) { node.inputs[0] } else { last.queries })
    }

    /// The grid of a node's value, for images of `height` × `width`; none of a vector.
    pub fn grid(&self, id: NodeId, height: usize, width: usize) -> Result<Option<Grid>> {
        let shapes = self.shapes(height, width, &[id])?;
        Ok(self.grid_of(id, &shapes))
    }

    fn grid_of(&self, wanted: NodeId, shapes: &[Shape]) -> Option<Grid> {
        let needed = self.needed_for(&[wanted]);
        let mut grids: Vec<Option<Grid>> = Vec::with_capacity(shapes.len());
        for id in self.ids() {
            let grid = needed[id.index()].then(|| self.grid_after(id, shapes, &grids)).flatten();
            grids.push(grid);
        }
        grids[wanted.index()]
    }

    /// The grid of a node, from those before it.
    fn grid_after(&self, id: NodeId, shapes: &[Shape], before: &[Option<Grid>]) -> Option<Grid> {
        let node = self.node(id);
        let image = |shape: Shape| match shape {
            Shape::Image { height, width, .. } => Some(Grid { before: 0, height, width }),
            Shape::Tokens { .. } | Shape::Vector { .. } => None,
        };
        if matches!(shapes[id.index()], Shape::Vector { .. }) {
            return None;
        }
        let found = match &node.op {
            Op::Tokens(_) => image(shapes[node.inputs[0].index()]),
            Op::Embedding(Embedding { tokens, grid: Some(grid), .. }) => Some(Grid {
                before: tokens - grid.height * grid.width,
                height: grid.height,
                width: grid.width,
            }),
            Op::Concat(_) => {
                let mut tokens = 0;
                node.inputs.iter().find_map(|input| {
                    let grid = before[input.index()];
                    let grid = grid.map(|grid| Grid { before: grid.before + tokens, ..grid });
                    if let Shape::Tokens { count, .. } = shapes[input.index()] {
                        tokens += count;
                    }
                    grid
                })
            }
            _ => node.inputs.iter().find_map(|input| before[input.index()]),
        };
        image(shapes[id.index()]).or(found)
    }

    /// The pixels that the cell at (`row`, `column`) of a node's grid depends on, in an image of `height` × `width`; none
    /// where these are all. As in `Cost`, a gate only scales.
    ///
    /// Fails with `Error::Argument` where the node has no such cell.
    pub fn field(
        &self,
        id: NodeId,
        cell: (usize, usize),
        (height, width): (usize, usize),
    ) -> Result<Option<Field>> {
        let shapes = self.shapes(height, width, &[id])?;
        let grid = self.grid_of(id, &shapes);
        let (row, column) = cell;
        if !grid.is_some_and(|grid| row < grid.height && column < grid.width) {
            let size = |grid: Grid| format!("a cell of its {}×{}", grid.height, grid.width);
            return Err(Error::Argument {
                at: format!("{}, node `{}`", self.name(), self.node(id).name),
                expected: grid.map_or("a value with places in the image".into(), size),
                got: grid.map_or("a vector".into(), |_| format!("({row}, {column})")),
            });
        }
        let mut seen = vec![Seen::Nothing; shapes.len()];
        seen[id.index()] = Seen::Part(Field { rows: row..row + 1, columns: column..column + 1 });
        for at in self.ids().rev().take_while(|at| *at != self.image()) {
            let whole = std::mem::replace(&mut seen[at.index()], Seen::Nothing);
            for (place, input) in self.node(at).inputs.iter().enumerate() {
                let read = whole.read(&self.node(at).op, place, shapes[input.index()]);
                let before = &mut seen[input.index()];
                *before = std::mem::replace(before, Seen::Nothing).with(read);
            }
        }
        let everything = Field { rows: 0..height, columns: 0..width };
        Ok(match std::mem::replace(&mut seen[0], Seen::Nothing) {
            Seen::Nothing => Some(Field { rows: 0..0, columns: 0..0 }),
            Seen::Part(field) if field != everything => Some(field),
            Seen::Part(_) | Seen::All => None,
        })
    }
}

/// The part of a value that a cell after it depends on.
#[derive(Clone, Debug)]
enum Seen {
    Nothing,
    Part(Field),
    All,
}

impl Seen {
    fn with(self, other: Self) -> Self {
        let hull = |a: Range<usize>, b: Range<usize>| a.start.min(b.start)..a.end.max(b.end);
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Nothing, seen) | (seen, Self::Nothing) => seen,
            (Self::Part(a), Self::Part(b)) => Self::Part(Field {
                rows: hull(a.rows, b.rows),
                columns: hull(a.columns, b.columns),
            }),
        }
    }

    /// The part of the input at `place`, of this shape, that this part of the operation's value depends on.
    fn read(&self, op: &Op, place: usize, input: Shape) -> Self {
        let field = match self {
            Self::Part(field) => field,
            Self::Nothing => return Self::Nothing,
            Self::All => return Self::All,
        };
        let (height, width) = match input {
            Shape::Image { height, width, .. } => (height, width),
            // On tokens, no operation moves cells.
            Shape::Tokens { .. } | Shape::Vector { .. } => (usize::MAX, usize::MAX),
        };
        let slide = |rows: Window, columns: Window| {
            let rows = rows.of(&field.rows, height);
            let columns = columns.of(&field.columns, width);
            if rows.is_empty() || columns.is_empty() {
                return Self::Nothing;
            }
            Self::Part(Field { rows, columns })
        };
        match op {
            Op::Conv(conv) => {
                slide(Window::of_conv(conv, true, height), Window::of_conv(conv, false, width))
            }
            Op::Pool(pool) => {
                slide(Window::of_pool(pool, true, height), Window::of_pool(pool, false, width))
            }
            Op::Blur(blur) => slide(Window::of_blur(blur, true), Window::of_blur(blur, false)),
            Op::Pad(pad) => slide(Window::shifted(pad.top), Window::shifted(pad.left)),
            Op::AdaptivePool(AdaptivePool { size }) => Self::Part(Field {
                rows: bins(&field.rows, height, size.height),
                columns: bins(&field.columns, width, size.width),
            }),
            Op::PoolUpTo(PoolUpTo { size }) => Self::Part(Field {
                rows: bins(&field.rows, height, size.height.max(height)),
                columns: bins(&field.columns, width, size.width.max(width)),
            }),
            // A gate depends on the whole image, but only scales channels.
            Op::Gate(_) if place == 1 => Self::Nothing,
            Op::MultiQueryAttention(_) if place > 0 => Self::All,
            Op::GroupNorm(_) | Op::Flatten(_) | Op::Attention(_) | Op::SelectToken(_) => Self::All,
            Op::Input(_)
            | Op::BatchNorm(_)
            | Op::LayerNorm(_)
            | Op::Activation(_)
            | Op::Lrn(_)
            | Op::Linear(_)
            | Op::Add(_)
            | Op::Average(_)
            | Op::Multiply(_)
            | Op::Affine(_)
            | Op::Gate(_)
            | Op::Concat(_)
            | Op::Dropout(_)
            | Op::DropPath(_)
            | Op::Tokens(_)
            | Op::Embedding(_)
            | Op::MultiQueryAttention(_)
            | Op::LayerScale(_) => self.clone(),
        }
    }
}

/// A window that slides along one axis.
#[derive(Clone, Copy)]
struct Window {
    span: usize,
    stride: usize,
    /// The number of values of the border before the image.
    border: usize,
    mirrors: bool,
}

impl Window {
    fn new(span: usize, stride: usize, padding: Option<usize>, size: usize) -> Self {
        let border = padding.unwrap_or_else(|| same_padding(size, span, stride).0);
        Self { span, stride, border, mirrors: false }
    }

    fn of_conv(conv: &Conv, rows: bool, size: usize) -> Self {
        let along = |pair: super::op::Pair| if rows { pair.height } else { pair.width };
        let span = span(along(conv.kernel), along(conv.dilation));
        Self::new(span, along(conv.stride), both(conv.padding).map(along), size)
    }

    fn of_pool(pool: &Pool, rows: bool, size: usize) -> Self {
        let along = |pair: super::op::Pair| if rows { pair.height } else { pair.width };
        Self::new(along(pool.kernel), along(pool.stride), both(pool.padding).map(along), size)
    }

    fn of_blur(blur: &Blur, rows: bool) -> Self {
        let along = |pair: super::op::Pair| if rows { pair.height } else { pair.width };
        let (stride, border) = (along(blur.stride), along(blur.padding));
        Self { span: blur.size, stride, border, mirrors: blur.border == Border::Mirror }
    }

    fn shifted(border: usize) -> Self {
        Self { span: 1, stride: 1, border, mirrors: false }
    }

    /// The values of an axis of `size` that those of `range` after the window depend on.
    fn of(self, range: &Range<usize>, size: usize) -> Range<usize> {
        let (size, border) = (size as i64, self.border as i64);
        let first = (range.start * self.stride) as i64 - border;
        let last = ((range.end - 1) * self.stride + self.span - 1) as i64 - border;
        let (mut start, mut end) = (first.clamp(0, size), (last + 1).clamp(0, size));
        if self.mirrors {
            end = end.max((1 - first).min(size));
            start = start.min((2 * (size - 1) - last).max(0));
        }
        start as usize..end as usize
    }
}

fn both(padding: Padding) -> Option<super::op::Pair> {
    match padding {
        Padding::Both(border) => Some(border),
        Padding::Same => None,
    }
}

/// The values of an axis of `size` that bins of an adaptive pool to `count` bins average.
fn bins(range: &Range<usize>, size: usize, count: usize) -> Range<usize> {
    range.start * size / count..(range.end * size).div_ceil(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(lines: &str, side: usize) -> Graph {
        let head = format!("graph small\ninput = input() height={side} width={side}\n");
        format!("{head}{lines}").parse().unwrap()
    }

    fn field(graph: &Graph, node: &str, cell: (usize, usize), side: usize) -> Option<Field> {
        graph.field(graph.find(node).unwrap(), cell, (side, side)).unwrap()
    }

    fn square(range: Range<usize>) -> Field {
        Field { rows: range.clone(), columns: range }
    }

    const CONVOLUTIONS: &str = "\
        first = conv(input) out=4 kernel=3 stride=2 padding=1\n\
        pool = pool(first) kernel=3 stride=2 padding=1\n\
        last = conv(pool) out=4 kernel=3 dilation=2 padding=2\n\
        whole = adaptive_pool(last)\n\
        flat = flatten(whole)\n\
        fc = linear(flat) out=2\n\
        output fc\n";

    #[test]
    fn windows_are_cut_at_the_border_and_grow_from_layer_to_layer() {
        let graph = graph(CONVOLUTIONS, 64);
        assert_eq!(field(&graph, "input", (5, 5), 64), Some(square(5..6)));
        assert_eq!(field(&graph, "first", (0, 0), 64), Some(square(0..2)));
        assert_eq!(field(&graph, "first", (7, 7), 64), Some(square(13..16)));
        // Rows 2·7 - 1 to 2·7 + 1 of `first`, so 2·13 - 1 to 2·15 + 1 of the image.
        assert_eq!(field(&graph, "pool", (7, 7), 64), Some(square(25..32)));
        assert_eq!(field(&graph, "last", (7, 7), 64), Some(square(17..40)));
        assert_eq!(field(&graph, "last", (15, 15), 64), Some(square(49..64)));
        assert_eq!(field(&graph, "whole", (0, 0), 64), None);
        let wrong = graph.field(graph.find("last").unwrap(), (16, 0), (64, 64)).unwrap_err();
        assert!(wrong.to_string().contains("a cell of its 16×16, got (16, 0)"), "{wrong}");
        let wrong = graph.field(graph.find("fc").unwrap(), (0, 0), (64, 64)).unwrap_err();
        assert!(wrong.to_string().contains("got a vector"), "{wrong}");
    }

    #[test]
    fn same_padding_puts_the_odd_pixel_after_the_image_and_a_mirror_reads_pixels_inside() {
        let lines = "\
            same = conv(input) out=3 kernel=3 stride=2 padding=same\n\
            blur = blur(same) size=4 stride=1 padding=3\n\
            pad = pad(blur) top=2 left=1\n\
            flat = flatten(pad)\n\
            fc = linear(flat) out=2\n\
            output fc\n";
        let graph = graph(lines, 16);
        assert_eq!(field(&graph, "same", (1, 1), 16), Some(square(2..5)));
        // Its window reads -3 to 0 of `same`, mirrored 3 to 0.
        assert_eq!(field(&graph, "blur", (0, 0), 16), Some(square(0..9)));
        let shifted = Field { rows: 0..9, columns: 0..9 };
        assert_eq!(field(&graph, "pad", (2, 1), 16), Some(shifted));
        assert_eq!(field(&graph, "pad", (0, 0), 16), Some(Field { rows: 0..0, columns: 0..0 }));
    }

    #[test]
    fn tokens_keep_their_places_after_those_that_have_none() {
        let lines = "\
            patches = conv(input) out=6 kernel=4 stride=4\n\
            tokens = tokens(patches)\n\
            class = embedding() tokens=1 width=6\n\
            all = concat(class, tokens)\n\
            where = embedding() tokens=17 width=6 grid=4\n\
            sum = add(all, where)\n\
            norm = layer_norm(sum)\n\
            qkv = linear(norm) out=18\n\
            mixed = attention(qkv) heads=2\n\
            first = select_token(mixed)\n\
            fc = linear(first) out=2\n\
            output fc\n";
        let graph = graph(lines, 16);
        let grid = |name: &str| graph.grid(graph.find(name).unwrap(), 16, 16).unwrap();
        let cells = |before| Some(Grid { before, height: 4, width: 4 });
        assert_eq!([grid("patches"), grid("tokens"), grid("class")], [cells(0), cells(0), None]);
        for name in ["all", "where", "sum", "norm", "qkv", "mixed"] {
            assert_eq!(grid(name), cells(1), "{name}");
        }
        assert_eq!([grid("first"), grid("fc")], [None, None]);
        let patch = Some(Field { rows: 4..8, columns: 8..12 });
        assert_eq!(field(&graph, "qkv", (1, 2), 16), patch);
        assert_eq!(field(&graph, "mixed", (1, 2), 16), None);
        assert_eq!(graph.focus(), graph.find("norm"));
        let found: Vec<_> = graph.attentions().into_iter().map(|of| (of.node, of.heads)).collect();
        assert_eq!(found, [(graph.find("mixed").unwrap(), 2)]);
    }

    #[test]
    fn the_focus_of_a_convolutional_network_is_the_last_image_before_its_pooling() {
        let graph = graph(CONVOLUTIONS, 64);
        assert_eq!(graph.focus(), graph.find("last"));
        assert!(graph.attentions().is_empty());
    }
}
