//! Models are built, loaded, saved and converted between sources, without libtorch too.

#![allow(clippy::unwrap_used, reason = "helpers are part of the tests")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use cnnzoo::Error;
use cnnzoo::engine::{Engine, Precision, View};
use cnnzoo::families::{Options, find, variants};
use cnnzoo::graph::Graph;
use cnnzoo::infer::{Instructions, Packed, Pool, Prepared};
use cnnzoo::model::{Loaded, Model, RunOptions, Shared};
use cnnzoo::weights::init::Recipe;
use cnnzoo::weights::{Checkpoint, PlainMemory, Stored, write_safetensors};

/// A convolution, a batch norm and a classifier of three classes.
const TINY: &str = include_str!("weights/tiny.txt");

fn tiny() -> Model {
    Model::from_graph(TINY.parse().unwrap(), "cpu", 1).unwrap()
}

/// The smallest registered network, for CIFAR-10.
fn resnet20(options: Options, seed: u64) -> Model {
    Model::new(find("resnet20", None).unwrap(), options, "cpu", seed).unwrap()
}

fn mobilenet(source: &str, seed: u64) -> Model {
    let options = Options { num_classes: Some(5), ..Options::default() };
    Model::new(find("mobilenet_v2_035", Some(source)).unwrap(), options, "cpu", seed).unwrap()
}

fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/weights").join(name)
}

type Arrays = Vec<(String, Vec<usize>, Stored)>;

fn arrays(model: &Model) -> Arrays {
    model.parameters().unwrap().snapshot().unwrap()
}

fn write(path: &Path, arrays: &Arrays) {
    let items = arrays.iter().map(|(name, shape, stored)| stored.item(name, shape));
    write_safetensors(path, items, &[].into_iter().collect()).unwrap();
}

fn load(model: &mut Model, path: &Path, policy: &str) -> Result<Loaded, Error> {
    let file = Checkpoint::open(path).unwrap();
    let expected = model.expect(&file, policy);
    let loaded = model.fill(&file, "auto", None, policy, "the file");
    assert_eq!(expected.is_ok(), loaded.is_ok(), "what was expected of the shapes alone");
    loaded
}

#[test]
fn every_edition_is_built_with_options() {
    for (variant, edition) in variants().iter().flat_map(|v| v.editions.iter().map(move |e| (v, e)))
    {
        let options = Options { num_classes: Some(7), in_channels: Some(1), ..Options::default() };
        let model = Model::new((variant, edition), options, "meta", 0).unwrap();
        assert_eq!(model.graph().classes(), 7, "{}", variant.name);
        assert_eq!(model.graph().input().channels, 1, "{}", variant.name);
        assert_eq!(model.name(), variant.name);
    }
}

#[test]
fn initial_values_follow_from_the_seed_and_the_options() {
    let first = arrays(&resnet20(Options::default(), 1));
    assert_eq!(first, arrays(&resnet20(Options::default(), 1)));
    assert_ne!(first, arrays(&resnet20(Options::default(), 2)));
    let zero = Options { zero_init_residual: Some(true), ..Options::default() };
    let ends = arrays(&resnet20(zero, 1));
    let ends = ends.iter().filter(|(name, ..)| name.ends_with("bn2.weight"));
    let zeros = ends.filter(|(_, shape, values)| *values == Stored::Floats(vec![0.0; shape[0]]));
    assert_eq!(zeros.count(), 9);
}

#[test]
fn what_is_saved_is_loaded_bit_for_bit() {
    let (path, model) = (temporary("saved.safetensors"), resnet20(Options::default(), 1));
    let metadata = [("note".to_owned(), "of ours".to_owned())].into_iter().collect();
    model.save(&path, &metadata).unwrap();
    assert_eq!(*Checkpoint::open(&path).unwrap().metadata(), metadata);
    let mut other = resnet20(Options::default(), 2);
    let loaded = load(&mut other, &path, "strict").unwrap();
    assert_eq!(loaded.outcome.loaded.len(), arrays(&model).len());
    assert_eq!(arrays(&other), arrays(&model));
    assert_eq!(arrays(&other.duplicate().unwrap()), arrays(&model));
}

/// The files are `torch.save`'s, in both of its formats; the first array counts from 0 in eighths, the next from 1, and
/// so on.
#[test]
fn files_of_torch_are_loaded() {
    for file in ["tiny.pth", "tiny_legacy.pth"] {
        let mut model = tiny();
        let loaded = load(&mut model, &kept(file), "strict").unwrap();
        assert_eq!(loaded.outcome.loaded.len(), 8);
        for (start, (name, shape, values)) in arrays(&model).into_iter().enumerate() {
            let count: usize = shape.iter().product();
            let counted: Vec<f32> = (0..count).map(|n| start as f32 + n as f32 / 8.0).collect();
            let expected = match name.as_str() {
                "norm.num_batches_tracked" => Stored::Count(5),
                _ => Stored::Floats(counted),
            };
            assert_eq!(values, expected, "{file}: {name}");
        }
    }
}

#[test]
fn what_does_not_fit_leaves_the_model_as_it_was() {
    let path = temporary("another.safetensors");
    let mut file = arrays(&tiny());
    file[0].0 = "another.weight".into();
    write(&path, &file);
    let mut model = Model::from_graph(TINY.parse().unwrap(), "cpu", 2).unwrap();
    let before = arrays(&model);
    let error = load(&mut model, &path, "strict").unwrap_err().to_string();
    assert!(error.contains("1 missing: `conv.weight`; 1 unexpected: `another.weight`"), "{error}");
    assert_eq!(arrays(&model), before);
    let loaded = load(&mut model, &path, "lenient").unwrap();
    assert_eq!(loaded.outcome.matched.missing, ["conv.weight"]);
    assert_eq!(loaded.outcome.matched.unexpected, ["another.weight"]);
    assert_eq!((&arrays(&model)[0], &arrays(&model)[1..]), (&before[0], &file[1..]));
    let error = model.expect(&Checkpoint::open(&path).unwrap(), "loose").unwrap_err().to_string();
    assert_eq!(error, "`policy`: expected strict, lenient or pretrained, got loose");
}

#[test]
fn trained_weights_fit_other_classes_and_channels() {
    let (path, trained) = (temporary("trained.safetensors"), resnet20(Options::default(), 1));
    trained.save(&path, &[].into_iter().collect()).unwrap();
    let options = Options { num_classes: Some(3), in_channels: Some(1), ..Options::default() };
    let mut model = resnet20(options, 2);
    let fresh: HashMap<_, _> = named(arrays(&model));
    assert!(load(&mut model, &path, "strict").is_err());
    let loaded = load(&mut model, &path, "pretrained").unwrap();
    let adapted: Vec<_> = loaded.outcome.matched.adapted.iter().map(|m| &m.name[..]).collect();
    assert_eq!(adapted, ["conv1.weight"]);
    let (trained, model) = (named(arrays(&trained)), named(arrays(&model)));
    for (name, values) in &model {
        match name.as_str() {
            "fc.weight" | "fc.bias" => assert_eq!(values, &fresh[name], "{name}"),
            "conv1.weight" => assert_ne!(values, &fresh[name], "{name}"),
            _ => assert_eq!(values, &trained[name], "{name}"),
        }
    }
}

fn named(arrays: Arrays) -> HashMap<String, Stored> {
    arrays.into_iter().map(|(name, _, values)| (name, values)).collect()
}

#[test]
fn weights_are_converted_between_sources() {
    let (path, timm) = (temporary("keras_names.safetensors"), mobilenet("timm", 1));
    let values = named(arrays(&timm));
    let there = timm.names_in("keras").unwrap();
    let items = there.iter().map(|name| values[&name.own].item(&name.theirs, &name.shape));
    write_safetensors(&path, items, &[].into_iter().collect()).unwrap();
    // Keras's edition takes it under its own names, and timm's knows them by the names.
    for source in ["keras", "timm"] {
        let mut model = mobilenet(source, 2);
        let loaded = load(&mut model, &path, "strict").unwrap();
        let naming = if source == "timm" { "keras" } else { "own" };
        assert_eq!(loaded.outcome.naming.to_string(), naming);
        let own = named(arrays(&model));
        for name in &there {
            let here = if source == "timm" { &name.own } else { &name.theirs };
            assert_eq!(own[here], values[&name.own], "{here}");
        }
    }
    let error = timm.names_in("paper").unwrap_err().to_string();
    assert!(error.contains("one of timm, keras, got \"paper\""), "{error}");
    let variables = timm.keras_variables().unwrap();
    assert_eq!(variables[0].path, "Conv1/kernel");
    assert_eq!(variables[0].shape, [3, 3, 3, 16]);
}

#[test]
fn a_prefix_is_found_or_given() {
    let (path, mut file) = (temporary("prefix.safetensors"), arrays(&tiny()));
    for (name, ..) in &mut file {
        name.insert_str(0, "module.");
    }
    write(&path, &file);
    let mut model = Model::from_graph(TINY.parse().unwrap(), "cpu", 2).unwrap();
    assert_eq!(load(&mut model, &path, "strict").unwrap().prefix, "module.");
    assert_eq!(arrays(&model), arrays(&tiny()));
    let file = Checkpoint::open(&path).unwrap();
    let loaded = model.fill(&file, "own", Some("module"), "strict", "the file").unwrap();
    assert_eq!(loaded.prefix, "module.");
    let error = model.fill(&file, "own", Some("net."), "strict", "the file").unwrap_err();
    assert!(error.to_string().contains("expected names that begin with `net.`"), "{error}");
}

#[test]
fn a_new_classifier_leaves_the_rest() {
    let mut model = resnet20(Options::default(), 1);
    model.set_labels(Some((0..10).map(|class| class.to_string()).collect())).unwrap();
    let before = arrays(&model);
    model.reset_classifier(3, 2).unwrap();
    let after = arrays(&model);
    assert_eq!((model.graph().classes(), model.labels()), (3, None));
    assert_eq!(model.options().num_classes, Some(3));
    let kept = before.len() - 2;
    assert_eq!(after[..kept], before[..kept]);
    assert_eq!(after[kept].1, [3, 64]);
    assert!(model.set_labels(Some(vec!["cat".into()])).is_err());
}

#[test]
fn a_model_without_parameters_gets_them_later() {
    let graph: Graph = TINY.parse().unwrap();
    let mut model = Model::from_graph(graph.clone(), "meta", 0).unwrap();
    assert_eq!(model.device(), "meta");
    assert!(matches!(model.parameters().err(), Some(Error::Device { .. })));
    model.allocate("cpu", Some(1)).unwrap();
    assert_eq!((model.device(), arrays(&model)), ("cpu".into(), arrays(&tiny())));
    // Whoever fills all of them needs no random numbers.
    model.allocate("cpu", None).unwrap();
    let is_zero = |stored: &Stored| match stored {
        Stored::Floats(values) => values.iter().all(|value| *value == 0.0),
        Stored::Count(_) => false,
    };
    let mut convolutions = arrays(&model).into_iter().filter(|(_, shape, _)| shape.len() == 4);
    assert!(convolutions.all(|(_, _, stored)| is_zero(&stored)));
    assert!(matches!(Model::from_graph(graph, "disk", 0), Err(Error::Device { .. })));
    assert!(matches!(model.to_device("disk"), Err(Error::Device { .. })));
}

/// The native engine needs no libtorch. Builds with debug assertions check the bounds of its kernels.
#[test]
fn a_model_runs_with_all_instructions() {
    let side = 32;
    let values: Vec<f32> = (0..2 * 3 * side * side).map(|at| (at as f32 * 0.37).sin()).collect();
    let shape = [2, 3, side, side];
    let x = View { shape: &shape, values: &values };
    for (model, classes) in [(resnet20(Options::default(), 1), 10), (mobilenet("timm", 1), 5)] {
        let (graph, parameters) = (model.graph(), model.parameters().unwrap());
        let found = model.output(x, RunOptions::default()).unwrap();
        assert_eq!(found.shape, [2, classes]);
        let largest = found.values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        for instructions in Instructions::available() {
            let (wanted, mut packed, pool) = ([graph.output()], Packed::default(), Pool::new(2));
            let other = Prepared::new(
                graph,
                parameters,
                &shape,
                &wanted,
                &instructions.into(),
                (&mut packed, &pool),
            )
            .and_then(|prepared| prepared.run(x, &pool))
            .unwrap()
            .remove(0);
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * largest;
            assert!(found.values.iter().zip(&other.values).all(near), "{instructions:?}");
        }
    }
}

#[test]
fn plain_memory_says_that_it_runs_nothing_itself() {
    let graph: Graph = TINY.parse().unwrap();
    let parameters = PlainMemory::new(&graph, Recipe::RESNET, 1).unwrap();
    let x = View { shape: &[1, 3, 8, 8], values: &[0.0; 192] };
    let error = parameters.infer(&graph, x, &[graph.output()], Precision::Float32).unwrap_err();
    assert!(error.to_string().contains("expected an engine that runs tiny"), "{error}");
}

#[test]
fn a_function_that_holds_the_model_is_refused_and_no_other() {
    let model = Shared::from(tiny());
    let asking = model.asking("in a training step", "a loss that does not run it");
    assert!(matches!(model.read(), Err(Error::Argument { .. })));
    assert!(matches!(model.write(), Err(Error::Argument { .. })));
    std::thread::scope(|scope| scope.spawn(|| assert!(model.read().is_ok())).join().unwrap());
    drop(asking);
    assert_eq!(model.prepared(RunOptions::default()).unwrap().device(), "cpu");
}
