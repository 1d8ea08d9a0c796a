//! Enforces the ranks of `src`: imports go downwards only, no role imports another, and there are no import cycles.
//! Test code may import anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Attribute, Item, ItemUse, UseTree};

/// The folders of `src`, from the bottom up.
const RANKS: [&str; 9] = [
    "domain",
    "contract",
    "workflows",
    "engines",
    "roles",
    "operate",
    "app",
    "dev",
    "launch",
];

/// A module's path below the crate, such as `["engines", "kafka"]`.
type Module = Vec<String>;
/// What each module imports.
type Imports = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn imports_go_downwards_only() {
    let rank = |module: &Module| RANKS.iter().position(|name| *name == module[0]).unwrap();
    let mut wrong = Vec::new();
    for (from, to) in edges(&imports()) {
        let is_upward = rank(&to) > rank(&from);
        let is_sideways = from[0] == "roles" && to[0] == "roles" && from.get(1) != to.get(1);
        if is_upward || is_sideways {
            wrong.push(format!("{} imports {}", from.join("::"), to.join("::")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let mut circles = Vec::new();
    for (parent, siblings) in siblings(&imports()) {
        let (_, circle) = floors(&siblings);
        if !circle.is_empty() {
            circles.push(format!("in {parent:?}: {circle:?}"));
        }
    }
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn the_architecture_page_shows_the_map_as_it_is() {
    let map = map(&imports());
    let page = root().join("docs/architecture.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains(&map), "docs/architecture.md lacks:\n{map}");
}

#[test]
fn an_upward_import_and_a_circle_are_found() {
    let code = "
        use crate::roles::{intake::Intake as I, worker};
        use super::sibling;
        fn f() { crate::dev::simulator::start(); }
        #[cfg(test)] mod tests { use crate::app; }
    ";
    let known: BTreeSet<Module> = [
        "roles::intake",
        "roles::worker",
        "engines::sibling",
        "dev::simulator",
        "app",
    ]
    .map(|path| path.split("::").map(str::to_owned).collect())
    .into();
    let here = vec!["engines".to_owned(), "kafka".to_owned()];
    let found = imports_of(code, &here, &known);
    let found: Vec<_> = found.iter().map(|module| module.join("::")).collect();
    assert_eq!(
        found,
        [
            "dev::simulator",
            "engines::sibling",
            "roles::intake",
            "roles::worker"
        ]
    );
    let circle = BTreeMap::from([
        ("a".to_owned(), BTreeSet::from(["b".to_owned()])),
        ("b".to_owned(), BTreeSet::from(["a".to_owned()])),
        ("c".to_owned(), BTreeSet::from(["a".to_owned()])),
    ]);
    assert_eq!(floors(&circle).1, ["a", "b", "c"]);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Reads what every module of the library imports, test code left out.
fn imports() -> Imports {
    let src = root().join("src");
    let mut files = BTreeMap::new();
    collect(&src, &src, &mut files);
    let known: BTreeSet<Module> = files.keys().cloned().collect();
    files
        .iter()
        .map(|(module, code)| (module.clone(), imports_of(code, module, &known)))
        .collect()
}

fn collect(folder: &Path, src: &Path, files: &mut BTreeMap<Module, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, src, files);
        } else if path.extension().is_some_and(|kind| kind == "rs")
            && !["lib", "main"].contains(&name.as_str())
        {
            let module: Module = path
                .strip_prefix(src)
                .unwrap()
                .with_extension("")
                .iter()
                .map(|part| part.to_string_lossy().into_owned())
                .collect();
            if !module
                .iter()
                .any(|part| part == "tests" || part == "testing")
            {
                files.insert(module, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
}

/// Finds the modules that `code`, which is that of the module `here`, names in `use` items and in paths.
fn imports_of(code: &str, here: &Module, known: &BTreeSet<Module>) -> BTreeSet<Module> {
    let mut reader = Reader {
        here,
        known,
        found: BTreeSet::new(),
    };
    reader.visit_file(&syn::parse_file(code).unwrap());
    reader.found
}

struct Reader<'r> {
    here: &'r Module,
    known: &'r BTreeSet<Module>,
    found: BTreeSet<Module>,
}

impl Reader<'_> {
    /// Records the module that a path leads to: the longest prefix of the path that is a known module.
    fn note(&mut self, path: &[String]) {
        let mut whole = match path[0].as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.here.clone(),
            _ => {
                let mut child = self.here.clone();
                child.push(path[0].clone());
                if !self.known.contains(&child) {
                    return;
                }
                self.here.clone()
            }
        };
        for part in path {
            match part.as_str() {
                "crate" | "self" => {}
                "super" => drop(whole.pop()),
                part => whole.push(part.to_owned()),
            }
        }
        while !whole.is_empty() && !self.known.contains(&whole) {
            whole.pop();
        }
        if !whole.is_empty() && whole != *self.here {
            self.found.insert(whole);
        }
    }

    fn note_tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |ident: &dyn ToString| [before, &[ident.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.note_tree(&path.tree, &with(&path.ident)),
            UseTree::Name(name) => self.note(&with(&name.ident)),
            UseTree::Rename(name) => self.note(&with(&name.ident)),
            UseTree::Glob(_) => self.note(before),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.note_tree(tree, before);
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => &[],
        };
        let is_test = |attribute: &Attribute| {
            attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<syn::Path>()
                    .is_ok_and(|path| path.is_ident("test"))
        };
        if !attributes.iter().any(is_test) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.note_tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<_> = path
            .segments
            .iter()
            .map(|part| part.ident.to_string())
            .collect();
        if parts.len() > 1 {
            self.note(&parts);
        }
        syn::visit::visit_path(self, path);
    }
}

/// Returns each import between modules neither of which is in the other.
fn edges(imports: &Imports) -> Vec<(Module, Module)> {
    let all = imports
        .iter()
        .flat_map(|(from, to)| to.iter().map(|to| (from.clone(), to.clone())));
    all.filter(|(from, to)| !from.starts_with(to) && !to.starts_with(from))
        .collect()
}

/// Returns, for each folder, which of its modules import which others; a submodule's imports count for its parent.
fn siblings(imports: &Imports) -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let mut all: BTreeMap<_, BTreeMap<_, BTreeSet<_>>> = BTreeMap::new();
    for (from, to) in edges(imports) {
        let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        let folder = all.entry(from[..shared].join("::")).or_default();
        let imported = folder.entry(from[shared].clone()).or_default();
        imported.insert(to[shared].clone());
        folder.entry(to[shared].clone()).or_default();
    }
    all
}

/// Sorts modules into floors, each above all that it imports; also returns the modules in a cycle or above one.
fn floors(siblings: &BTreeMap<String, BTreeSet<String>>) -> (Vec<Vec<String>>, Vec<String>) {
    let mut left = siblings.clone();
    let mut floors = Vec::new();
    loop {
        let is_free =
            |imported: &BTreeSet<String>| imported.iter().all(|name| !left.contains_key(name));
        let free = left.iter().filter(|(_, imported)| is_free(imported));
        let floor: Vec<_> = free.map(|(name, _)| name.clone()).collect();
        if floor.is_empty() {
            return (floors, left.into_keys().collect());
        }
        left.retain(|name, _| !floor.contains(name));
        floors.push(floor);
    }
}

/// Draws the ranks from the top down, with the floors of each.
fn map(imports: &Imports) -> String {
    let siblings = siblings(imports);
    let mut lines = Vec::new();
    for rank in RANKS.iter().rev() {
        let inside = imports
            .keys()
            .filter(|module| module[0] == *rank && module.len() == 2);
        let mut alone: BTreeSet<_> = inside.map(|module| module[1].clone()).collect();
        let (floors, _) = siblings.get(*rank).map(floors).unwrap_or_default();
        for name in floors.iter().flatten() {
            alone.remove(name);
        }
        let mut rows: Vec<_> = floors.iter().rev().map(|floor| floor.join("  ")).collect();
        if !alone.is_empty() {
            rows.push(alone.into_iter().collect::<Vec<_>>().join("  "));
        }
        if rows.is_empty() {
            rows.push(String::new());
        }
        for (at, row) in rows.iter().enumerate() {
            let name = if at == 0 { rank } else { &"" };
            lines.push(format!("{name:10} {row}").trim_end().to_owned());
        }
    }
    lines.join("\n")
}
