//! The rooms table of ARCHITECTURE.md holds: who may name whom, and which outside crates.

mod cycles;
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use scan::{Kind, paths};

/// One row of the table. `imports` is none where it says "all".
#[derive(Debug, Default)]
struct Room {
    imports: Option<BTreeSet<String>>,
    crates: BTreeSet<String>,
}

/// The rules that a source file is checked against.
struct Rules {
    rooms: BTreeMap<String, Room>,
    /// Every crate of `[dependencies]`, as Rust spells it.
    crates: BTreeSet<String>,
    /// Names that lib.rs re-exports, and the room each comes from.
    reexports: BTreeMap<String, String>,
}

#[test]
fn every_path_is_allowed_by_the_table() {
    let rules = rules();
    let mut violations = Vec::new();
    for file in sources(&root().join("src")) {
        let name = file.strip_prefix(root()).expect("a file below the root").display().to_string();
        violations.extend(rules.violations(&name, &read(&file)));
    }
    assert!(violations.is_empty(), "ARCHITECTURE.md does not allow:\n{}", violations.join("\n"));
}

#[test]
fn every_room_has_a_row_and_every_row_a_room() {
    let rules = rules();
    let found: BTreeSet<String> = fs::read_dir(root().join("src"))
        .expect("src/")
        .map(|entry| entry.expect("an entry of src/").path())
        .filter_map(|path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .filter(|name| name != "lib")
        .collect();
    assert_eq!(found, rules.rooms.keys().cloned().collect(), "rooms in src/, and in the table");
    for (name, room) in &rules.rooms {
        for import in room.imports.iter().flatten() {
            assert!(found.contains(import), "`{name}` may import `{import}`, which is no room");
        }
    }
}

#[test]
fn every_dependency_has_a_room_and_every_crate_of_the_table_is_a_dependency() {
    let rules = rules();
    let listed: BTreeSet<String> =
        rules.rooms.values().flat_map(|room| room.crates.clone()).collect();
    assert_eq!(rules.crates, listed, "dependencies of Cargo.toml, and crates of the table");
}

/// The reports of the test above, on violations planted for it.
#[test]
fn planted_violations_are_found() {
    let rules = rules();
    let planted = [
        // Each way to write a path to another room.
        ("src/graph/op.rs", "use crate::families::Options;", "families"),
        ("src/graph/op.rs", "use crate::{error::Result, families};", "families"),
        (
            "src/graph/op.rs",
            "use crate::{\n    error::{Error, Result},\n    torch::{self, Store},\n};",
            "torch",
        ),
        ("src/graph/op.rs", "fn f() { crate::weights::init::fill(); }", "weights"),
        ("src/graph/op.rs", "use super::super::weights::init;", "weights"),
        ("src/graph/mod.rs", "use super::weights::init;", "weights"),
        ("src/graph/op.rs", "mod tests { use super::super::super::weights::init; }", "weights"),
        ("src/graph/op.rs", "mod tests { mod inner {} } use super::super::data::Filter;", "data"),
        ("src/blocks.rs", "pub(in crate::families) fn f() {}", "families"),
        ("src/error.rs", "pub use self::super::graph::Graph;", "graph"),
        ("src/error.rs", "macro_rules! m { () => { $crate::graph::f() } }", "graph"),
        ("src/torch/run.rs", "use crate :: /* why */ families :: Variant;", "families"),
        ("src/torch/run.rs", "use crate::r#families::Variant;", "families"),
        // Ways around the table.
        ("src/graph/op.rs", "use crate::*;", "*"),
        ("src/graph/op.rs", "use crate as all;", "all of it"),
        ("src/graph/op.rs", "use crate::{self as all};", "all of it"),
        ("src/graph/op.rs", "use crate::unheard_of;", "unheard_of"),
        // Each way to name an outside crate.
        ("src/graph/op.rs", "use tch::Tensor;", "tch"),
        ("src/graph/op.rs", "use ::tch::Tensor;", "tch"),
        ("src/graph/op.rs", "use {std::fmt, tch as t};", "tch"),
        ("src/graph/op.rs", "extern crate tch;", "tch"),
        ("src/graph/op.rs", "fn f(x: Option<tch::Tensor>) {}", "tch"),
        ("src/graph/op.rs", "#[pyo3::pyclass] struct S;", "pyo3"),
        ("src/graph/op.rs", "#[derive(thiserror::Error)] struct S;", "thiserror"),
        ("src/bindings/mod.rs", "fn f() { torch_sys::at_manual_seed(1) }", "torch_sys"),
        ("src/lib.rs", "pub use tch::Tensor;", "tch"),
        // What could hide one from a careless scanner.
        ("src/graph/op.rs", "const Q: char = '\"'; use tch::Tensor; const R: char = '\"';", "tch"),
        ("src/graph/op.rs", "fn f<'a>(x: &'a str) { tch::f(x, 'b', '\\'') }", "tch"),
        ("src/graph/op.rs", r##"const T: &str = r#"a " quote"#; use tch::Tensor;"##, "tch"),
        ("src/graph/op.rs", "/* a /* nested */ comment */ use tch::Tensor;", "tch"),
    ];
    for (file, source, name) in planted {
        let violations = rules.violations(file, source);
        assert_eq!(violations.len(), 1, "{file}: {source}: {violations:?}");
        assert!(violations[0].contains(&format!("`{name}`")), "{source}: {violations:?}");
    }
}

#[test]
fn what_the_table_allows_is_no_violation() {
    let rules = rules();
    let allowed = [
        ("src/graph/op.rs", "use crate::error::Result; use crate::{Error, graph::shape::Shape};"),
        (
            "src/graph/op.rs",
            "use super::node::Node; mod tests { use super::*; use super::super::Op; }",
        ),
        ("src/graph/mod.rs", "use super::error::Result; pub(crate) mod op; use op::Op;"),
        (
            "src/graph/op.rs",
            "// use tch::Tensor;\n/// [`crate::families`]\nconst T: &str = \"tch::Tensor\";",
        ),
        (
            "src/graph/op.rs",
            "fn f() -> impl Fn() + use<> { let tch = 1; zip.zip::<T>(super::zip::f()) }",
        ),
        (
            "src/weights/pth/mod.rs",
            "pub(in crate::weights) fn f() { super::super::super::graph::f() }",
        ),
        ("src/torch/run.rs", "use tch::{Kind, Tensor}; use ::torch_sys::f;"),
        ("src/bindings/model.rs", "use crate::{families, torch::Store}; use pyo3::prelude::*;"),
        ("src/lib.rs", "pub mod graph; pub use error::{Error, Result};"),
    ];
    for (file, source) in allowed {
        assert_eq!(rules.violations(file, source), [""; 0], "{file}: {source}");
    }
}

// ---- the rules

fn rules() -> Rules {
    let lib = read(&root().join("src/lib.rs"));
    let mut reexports = BTreeMap::new();
    for path in paths(&lib, &[]) {
        if let [room, .., name] = path.segments.as_slice()
            && path.kind == Kind::Reexport
        {
            reexports.insert(name.clone(), room.clone());
        }
    }
    Rules { rooms: table(), crates: dependencies(), reexports }
}

/// The rows of ARCHITECTURE.md whose first cell is a place in src/.
fn table() -> BTreeMap<String, Room> {
    let text = read(&root().join("ARCHITECTURE.md"));
    let rows = text.lines().filter(|line| line.starts_with("| `src/"));
    let rooms: BTreeMap<_, _> = rows.map(row).collect();
    assert!(!rooms.is_empty(), "ARCHITECTURE.md has no rooms table");
    rooms
}

fn row(line: &str) -> (String, Room) {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [place, _, imports, crates] = cells[..] else { panic!("not four cells: {line}") };
    let name = place.trim_matches('`').trim_start_matches("src/");
    let name = name.trim_end_matches(".rs").trim_end_matches('/').to_owned();
    let list = |cell: &str| -> BTreeSet<String> {
        cell.split(',').map(|item| item.trim().to_owned()).filter(|item| item != "-").collect()
    };
    let imports = (imports != "all").then(|| list(imports));
    (name, Room { imports, crates: list(crates) })
}

fn dependencies() -> BTreeSet<String> {
    let manifest = read(&root().join("Cargo.toml"));
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .collect()
}

impl Rules {
    /// One line for each path in `source` that the table does not allow in `file`.
    fn violations(&self, file: &str, source: &str) -> Vec<String> {
        let module = module_of(file);
        let room = module.first();
        let mut violations: Vec<String> = paths(source, &module)
            .iter()
            .filter(|path| path.kind != Kind::Word)
            .filter_map(|path| {
                let refused = match path.segments.as_slice() {
                    [start, rest @ ..] if start == "crate" => self.refused_room(room?, rest),
                    [name, ..] => self.refused_crate(room, name),
                    [] => None,
                }?;
                Some(format!("{file}:{}: {refused}", path.line))
            })
            .collect();
        // A tree names its room once for each leaf.
        violations.dedup();
        violations
    }

    fn refused_room(&self, room: &str, path: &[String]) -> Option<String> {
        let Some(first) = path.first() else {
            return Some(format!("`{room}` names the crate itself, and with it `all of it`"));
        };
        let name = self.reexports.get(first).unwrap_or(first);
        let known = self.rooms.contains_key(name);
        let allowed = match self.rooms.get(room).map(|room| &room.imports) {
            Some(None) => known,
            Some(Some(imports)) => name == room || imports.contains(name),
            None => false,
        };
        (!allowed).then(|| format!("`{room}` names the room `{name}`"))
    }

    fn refused_crate(&self, room: Option<&String>, name: &str) -> Option<String> {
        let allowed = room.and_then(|room| self.rooms.get(room));
        let allowed = allowed.is_some_and(|room| room.crates.contains(name));
        let by = room.map_or("lib", String::as_str);
        (self.crates.contains(name) && !allowed)
            .then(|| format!("`{by}` names the outside crate `{name}`"))
    }
}

// ---- files

/// The module that a file is: `src/graph/op.rs` is graph, op.
fn module_of(file: &str) -> Vec<String> {
    let inside = file.trim_start_matches("src/").trim_end_matches(".rs");
    let module = inside.split('/').filter(|&part| part != "mod" && part != "lib");
    module.map(str::to_owned).collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.expect("an entry of src/").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
