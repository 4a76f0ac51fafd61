//! ViT: a transformer on the patches of an image.
//!
//! Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", ICLR 2021,
//! arXiv:2010.11929. Ti, S and images of 384 pixels: Steiner et al., arXiv:2106.10270.
//! DeiT: Touvron et al., "Training data-efficient image transformers & distillation through attention", ICML 2021,
//! arXiv:2012.12877: the same networks, trained on ImageNet alone; distilled ones have a distillation token with a head
//! of its own, and average both heads.
//!
//! Variants differ in width, depth and heads, the patch size, and the image size, which position embeddings fix: other
//! sizes are built with `image_size`, and weights of one size load into another by interpolating the position
//! embeddings.
//!
//! Sources: torchvision (default for B/16, B/32, L/16, L/32 and H/14) and timm compute the same, with other names and
//! other initial values. torchvision's `dropout`, `drop_rate` here, acts after every layer; timm's before the
//! classifier alone, and stochastic depth is timm's.

mod names;
mod rows;

use super::{Definition, Settings, Source, Variant};
use crate::blocks::classifier;
use crate::error::{Error, Result};
use crate::graph::op::{
    Add, Attention, Average, Concat, Conv, DropPath, Dropout, Embedding, Function, LayerNorm,
    Linear, Op, Pair, SelectToken, Tokens,
};
use crate::graph::{Builder, Graph, NodeId, PartKind};
use names::{Names, TIMM, TORCHVISION};
use rows::{ROWS, Row};

pub(super) fn variants() -> impl Iterator<Item = Variant> {
    ROWS.iter().map(|row| {
        let completed = |&it: &Definition| Definition { deviations: row.deviations, ..it };
        let definitions: Vec<_> = row.definitions.iter().map(completed).collect();
        Variant::new(row.name, row.family, &definitions, |definition, settings| {
            NetworkBuilder::new(row, definition.source, settings)?.build(settings)
        })
    })
}

/// Builds one graph.
struct NetworkBuilder<'a> {
    g: Builder,
    row: &'a Row,
    names: &'static Names,
    /// Patches along each side of the image.
    grid: usize,
    /// Dropout rate after every layer.
    layer_drop: f64,
    /// Dropout rate before the classifier.
    head_drop: f64,
    /// Stochastic depth rate of the last block.
    drop_path: f64,
}

const NORM: LayerNorm = LayerNorm { eps: 1e-6 };

impl<'a> NetworkBuilder<'a> {
    fn new(row: &'a Row, source: Source, settings: &Settings) -> Result<Self> {
        let size = settings.image_size;
        let drop_rate = settings.drop_rate.unwrap_or(0.0);
        let (names, layer_drop, head_drop) = match source {
            Source::Timm => (&TIMM, 0.0, drop_rate),
            Source::Torchvision | Source::Keras | Source::Paper => (&TORCHVISION, drop_rate, 0.0),
        };
        // timm leaves out the pixels that fill no patch; torchvision refuses such an image.
        let whole = source == Source::Timm || size.is_multiple_of(row.patch);
        if size < row.patch || !whole {
            return Err(Error::Argument {
                at: format!("`image_size` of {}", settings.name),
                expected: if whole {
                    format!("at least a patch of {}", row.patch)
                } else {
                    format!("a multiple of {}, the patch", row.patch)
                },
                got: size.to_string(),
            });
        }
        Ok(Self {
            g: settings.builder(),
            row,
            names,
            grid: size / row.patch,
            layer_drop,
            head_drop,
            drop_path: settings.drop_path_rate.unwrap_or(0.0),
        })
    }

    fn build(mut self, settings: &Settings) -> Result<Graph> {
        let begin = self.g.mark();
        let mut x = self.embed();
        self.g.part(PartKind::Stem, "stem", begin);
        for index in 0..self.row.size.depth {
            x = self.block(index, x);
        }
        x = self.g.add(self.names.norm, NORM, x);
        let logits = self.head(settings.classes, x);
        self.g.finish(logits)
    }

    /// The learned tokens, then a token for each patch, all with position embeddings.
    fn embed(&mut self) -> NodeId {
        let Row { size, patch, distilled, .. } = *self.row;
        let (names, grid) = (self.names, self.grid);
        let learned = if distilled { 2 } else { 1 };
        let token = Embedding { width: size.width, ..Embedding::default() };
        let positions = Embedding {
            tokens: learned + grid * grid,
            width: size.width,
            grid: Some(Pair::from(grid)),
        };
        let proj = Conv {
            out: size.width,
            kernel: patch.into(),
            stride: patch.into(),
            bias: true,
            ..Conv::default()
        };

        let g = &mut self.g;
        let mut sequence = vec![g.add(names.class_token, token.clone(), [])];
        let first = names.positions_come_first;
        let early = first.then(|| g.add(names.positions, positions.clone(), []));
        if distilled {
            sequence.push(g.add("dist_token", token, []));
        }
        let image = g.input();
        let x = g.add(names.patches, proj, image);
        sequence.push(g.add(names.tokens, Tokens {}, x));
        let x = g.add(names.concat, Concat {}, sequence);
        let positions = early.unwrap_or_else(|| g.add(names.positions, positions, []));
        let x = g.add(names.add, Add {}, [x, positions]);
        self.drop(names.position_drop.into(), self.layer_drop, x)
    }

    fn block(&mut self, index: usize, input: NodeId) -> NodeId {
        let (names, size) = (self.names, self.row.size);
        let path = |name: &str| format!("{}{index}.{name}", names.block);
        let dense = |out| Linear { out, ..Linear::default() };
        let [mlp, act, drop, out, out_drop] = names.mlp;
        let drop_path = self.drop_path * index as f64 / (size.depth - 1) as f64;

        let begin = self.g.mark();
        let x = self.g.add(path(names.norms[0]), NORM, input);
        let x = self.g.add(path(names.qkv), dense(3 * size.width), x);
        if let Some(begin) = names.qkv_arrays {
            self.g.name_arrays(x, path(begin));
        }
        let x = self.g.add(path(names.attention), Attention { heads: size.heads }, x);
        let x = self.g.add(path(names.attention_out), dense(size.width), x);
        let x = self.drop(path(names.attention_drop), self.layer_drop, x);
        let x = self.drop_path(path("drop_path1"), drop_path, x);
        let input = self.g.add(path("add"), Add {}, [x, input]);

        let x = self.g.add(path(names.norms[1]), NORM, input);
        let x = self.g.add(path(mlp), dense(4 * size.width), x);
        let x = self.g.add(path(act), Function::Gelu, x);
        let x = self.drop(path(drop), self.layer_drop, x);
        let x = self.g.add(path(out), dense(size.width), x);
        let x = self.drop(path(out_drop), self.layer_drop, x);
        let x = self.drop_path(path("drop_path2"), drop_path, x);
        let x = self.g.add(path("add_1"), Add {}, [input, x]);
        self.g.part(PartKind::Block, format!("{}{index}", names.block), begin);
        x
    }

    /// A head on the class token, and in distilled networks another on the distillation token.
    fn head(&mut self, classes: usize, x: NodeId) -> NodeId {
        let begin = self.g.mark();
        let class = self.g.add("getitem", SelectToken { index: 0 }, x);
        let teacher =
            self.row.distilled.then(|| self.g.add("getitem_1", SelectToken { index: 1 }, x));
        let pooled =
            teacher.map_or(class, |other| self.g.add("pre_logits", Average {}, [class, other]));
        self.g.part(PartKind::Embedding, "embedding", begin);
        let (g, rate) = (&mut self.g, self.head_drop);
        let x = if classes == 0 {
            pooled
        } else {
            let logits = classifier(g, "head_drop", self.names.head, classes, rate, class);
            teacher.map_or(logits, |other| {
                let other = classifier(g, "head_drop_1", "head_dist", classes, rate, other);
                g.add("logits", Average {}, [logits, other])
            })
        };
        self.g.part(PartKind::Head, "head", begin);
        x
    }

    fn drop(&mut self, name: String, rate: f64, x: NodeId) -> NodeId {
        self.unless_zero(name, rate, Dropout { rate }, x)
    }

    fn drop_path(&mut self, name: String, rate: f64, x: NodeId) -> NodeId {
        self.unless_zero(name, rate, DropPath { rate }, x)
    }

    fn unless_zero(&mut self, name: String, rate: f64, op: impl Into<Op>, x: NodeId) -> NodeId {
        if rate > 0.0 { self.g.add(name, op, x) } else { x }
    }
}
