//! No modules depend on each other in a cycle: what two of them need stands in a third, below both.
//!
//! A module is a file. It depends on each module whose items it names; a re-export counts as the module that it comes
//! from. Declaring a module and re-exporting from it makes no dependency, and neither do inline modules `tests`.

use std::collections::{BTreeMap, BTreeSet};

use crate::scan::{Kind, Named, paths};
use crate::{module_of, read, root, sources};

/// Dependencies that may still be part of cycles: of a module on another, or on those below it.
const ALLOWED: [(&str, &str); 4] = [
    // The table of all families stands beside what a family is made of.
    ("families", "families"),
    ("families::inception", "families::inception"),
    ("families::xception", "families::xception"),
    // `Graph::new` checks the nodes and parts, which are defined beside it.
    ("graph", "graph"),
];

type Module = Vec<String>;

/// The modules that each one depends on, and the line of the first path that says so.
type Graph = BTreeMap<Module, BTreeMap<Module, usize>>;

#[test]
fn modules_depend_on_each_other_in_no_cycle() {
    let files = sources(&root().join("src")).into_iter().map(|file| {
        let name = file.strip_prefix(root()).expect("a file below the root").display().to_string();
        (module_of(&name), read(&file))
    });
    let mut graph = graph(files.collect());
    for (from, to) in &mut graph {
        to.retain(|to, _| !is_allowed(&text(from), &text(to)));
    }
    let found = cycles(&graph);
    assert!(found.is_empty(), "modules in cycles:\n{}", found.join("\n"));
}

fn is_allowed(from: &str, to: &str) -> bool {
    let is_below = |to: &str, above| to == above || to.starts_with(&format!("{above}::"));
    ALLOWED.iter().any(|&(user, used)| from == user && is_below(to, used))
}

#[test]
fn planted_cycles_are_found() {
    let facade = ("a/mod.rs", "mod b; mod c; pub use b::B; pub(crate) use c::{C as D, E};");
    let planted: [&[(&str, &str)]; 6] = [
        &[("a/b.rs", "use super::c::C;"), ("a/c.rs", "fn f() { super::b::f() }")],
        &[facade, ("a/b.rs", "use super::E;"), ("a/c.rs", "use crate::a::B;")],
        &[facade, ("a/b.rs", "use super::D;"), ("a/c.rs", "use crate::{a, b}; fn f(x: a::B) {}")],
        &[("a/mod.rs", "mod b; pub use b::B; struct A(B);"), ("a/b.rs", "use super::A;")],
        &[("a/mod.rs", "mod b; fn f() { b::f() }"), ("a/b.rs", "use super::*;")],
        &[("a/b.rs", "use super::c;"), ("a/c.rs", "use super::d;"), ("a/d.rs", "use super::b;")],
    ];
    for sources in planted {
        let found = cycles(&graph(parsed(sources)));
        assert_eq!(found.len(), 1, "{sources:?}: {found:?}");
    }
}

#[test]
fn an_order_is_no_cycle() {
    let allowed: [&[(&str, &str)]; 4] = [
        &[("a/mod.rs", "mod b; mod c; pub use b::B;"), ("a/b.rs", "use super::c::C;")],
        &[
            ("a/mod.rs", "mod b; mod c; pub use b::B; use c::C;"),
            ("a/b.rs", "use super::C; use crate::a::c;"),
            ("a/c.rs", "mod tests { use super::super::B; }"),
        ],
        &[("a/mod.rs", "mod b; use b::B; fn f() -> B {}"), ("a/b.rs", "fn f() { self::g() }")],
        &[("a/mod.rs", "pub mod tests;"), ("a/tests.rs", "use super::A;")],
    ];
    for sources in allowed {
        assert_eq!(cycles(&graph(parsed(sources))), [""; 0], "{sources:?}");
    }
}

fn parsed(sources: &[(&str, &str)]) -> BTreeMap<Module, String> {
    sources.iter().map(|(file, source)| (module_of(file), (*source).to_owned())).collect()
}

fn graph(files: BTreeMap<Module, String>) -> Graph {
    let scans: BTreeMap<Module, Vec<Named>> = files
        .into_iter()
        .map(|(module, source)| {
            let named = paths(&source, &module).into_iter().filter(|named| !named.in_tests);
            (module.clone(), named.collect())
        })
        .collect();
    let modules = Modules { scans: &scans };
    let mut graph = Graph::new();
    for (module, scan) in &scans {
        let words: BTreeSet<&String> = scan
            .iter()
            .filter(|named| !named.is_import())
            .map(|named| &named.segments[0])
            .collect();
        let to = graph.entry(module.clone()).or_default();
        for named in scan {
            // A single name is an import's, or a local one. A module may hand on a name without a use for it.
            let idle = named.kind == Kind::Word
                || named.kind == Kind::Reexport && !words.contains(&named.name);
            if !idle
                && let Some(target) = modules.target(module, named)
                && target != *module
            {
                to.entry(target).or_insert(named.line);
            }
        }
    }
    graph
}

struct Modules<'a> {
    scans: &'a BTreeMap<Module, Vec<Named>>,
}

impl Modules<'_> {
    /// The module that has what a path names; none where that is no module of ours.
    fn target(&self, module: &Module, named: &Named) -> Option<Module> {
        let path = self.absolute(module, &named.segments, !named.is_import())?;
        self.owner(&[], &path, 0)
    }

    /// A path as from the root of the crate. Its first segment may be a module below `module`, or a name imported there.
    fn absolute(&self, module: &Module, path: &[String], imports: bool) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        if first == "crate" {
            return Some(rest.to_vec());
        }
        let inner = [module.as_slice(), std::slice::from_ref(first)].concat();
        if self.scans.contains_key(&inner) {
            return Some([module.as_slice(), path].concat());
        }
        let named = self.import(module, first).filter(|_| imports && !rest.is_empty())?;
        let home = self.absolute(module, &named.segments, false)?;
        Some([&home, rest].concat())
    }

    fn import(&self, module: &[String], name: &str) -> Option<&Named> {
        let scan = self.scans.get(module)?;
        scan.iter().find(|named| named.is_import() && named.name == name)
    }

    /// Follows a path from a module on, through modules and re-exports, to where its item is defined.
    fn owner(&self, from: &[String], path: &[String], depth: usize) -> Option<Module> {
        let Some((first, rest)) = path.split_first() else { return Some(from.to_vec()) };
        let inner = [from, std::slice::from_ref(first)].concat();
        if self.scans.contains_key(&inner) || self.scans.keys().any(|key| key.starts_with(&inner)) {
            return self.owner(&inner, rest, depth);
        }
        if let Some(named) = self.import(from, first).filter(|_| depth < 8) {
            let home = self.absolute(&from.to_vec(), &named.segments, false);
            return home.and_then(|home| self.owner(&[], &[&home, rest].concat(), depth + 1));
        }
        Some(from.to_vec()).filter(|from| self.scans.contains_key(from))
    }
}

impl Named {
    fn is_import(&self) -> bool {
        matches!(self.kind, Kind::Import | Kind::Reexport)
    }
}

/// One text for each group of modules of which every one depends on every other.
fn cycles(graph: &Graph) -> Vec<String> {
    let reach: BTreeMap<&Module, BTreeSet<&Module>> =
        graph.keys().map(|module| (module, reached(graph, module))).collect();
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for module in graph.keys().filter(|module| reach[module].contains(module)) {
        let group: Vec<&Module> = graph
            .keys()
            .filter(|other| reach[module].contains(other) && reach[other].contains(module))
            .collect();
        if seen.insert(group.clone()) {
            let lines = group.iter().flat_map(|from| {
                let inside = graph[*from].iter().filter(|(to, _)| group.contains(to));
                inside.map(|(to, line)| format!("    {}:{line} -> {}", text(from), text(to)))
            });
            found.push(lines.collect::<Vec<_>>().join("\n"));
        }
    }
    found
}

fn reached<'a>(graph: &'a Graph, from: &'a Module) -> BTreeSet<&'a Module> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        for next in graph.get(module).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(next) {
                open.push(next);
            }
        }
    }
    found
}

fn text(module: &Module) -> String {
    if module.is_empty() { "lib".into() } else { module.join("::") }
}
