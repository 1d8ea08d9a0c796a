//! Enforces the ranks of `src`: imports go downwards only, no role imports another, there are no import cycles, and
//! the lower ranks use no crate, and no module of `std`, that does I/O. A name that a module re-exports counts as an
//! import of the module that defines it. Test code may import anything.

mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use self::names::Names;

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

/// The crates that the lower ranks may use.
const CRATES: [(&str, &[&str]); 3] = [
    (
        "domain",
        &[
            "base64",
            "chrono",
            "lettre",
            "parking_lot",
            "ring",
            "serde",
            "serde_json",
            "strsim",
            "thiserror",
            "toml",
            "url",
            "uuid",
        ],
    ),
    (
        "contract",
        &[
            "anyhow",
            "apache_avro",
            "base64",
            "ring",
            "serde",
            "serde_json",
            "temporalio_common",
            "temporalio_macros",
            "temporalio_sdk",
            "thiserror",
            "url",
            "uuid",
        ],
    ),
    (
        "workflows",
        &[
            "anyhow",
            "futures",
            "serde",
            "temporalio_common",
            "temporalio_macros",
            "temporalio_sdk",
        ],
    ),
];

/// A path below the crate, such as `["engines", "kafka"]`, of a module or of an item in one.
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
fn the_lower_ranks_use_no_crate_that_does_io() {
    let wrong = forbidden(&sources());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_one_module_has_unsafe_code() {
    // The compiler denies it; a module that has some must say so with this name of the lint.
    let files = sources().into_iter();
    let has_some = files.filter(|(_, code)| code.contains("unsafe_code"));
    let modules: Vec<_> = has_some.map(|(module, _)| module.join("::")).collect();
    assert_eq!(modules, ["engines::kafka::connection::admin_token"]);
}

#[test]
fn no_module_has_more_than_400_lines() {
    let files = sources().into_iter();
    let lengths = files.map(|(module, code)| (module.join("::"), code.lines().count()));
    let long: Vec<_> = lengths.filter(|(_, lines)| *lines > 400).collect();
    assert!(
        long.is_empty(),
        "move a part to a module of its own: {long:?}"
    );
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
    let modules = [
        ("engines", "pub use self::sibling::Thing; mod sibling;"),
        ("engines::sibling", "pub struct Thing;"),
        (
            "engines::kafka",
            "
            use crate::roles::{intake::Intake as I, worker};
            use super::Thing;
            fn f() { crate::dev::simulator::start(); assert!(crate::launch::run()); }
            struct Record { #[serde(with = \"crate::operate::text\")] field: u8 }
            #[cfg(test)] mod tests { use crate::app; }
            ",
        ),
        ("roles::intake", ""),
        ("roles::worker", ""),
        ("dev::simulator", ""),
        ("operate", ""),
        ("launch", ""),
        ("app", ""),
    ];
    let found = resolve(&planted(&modules))
        .remove(["engines", "kafka"].map(str::to_owned).as_slice())
        .unwrap();
    let found: Vec<_> = found.iter().map(|module| module.join("::")).collect();
    let expected = [
        "dev::simulator",
        "engines::sibling",
        "launch",
        "operate",
        "roles::intake",
        "roles::worker",
    ];
    assert_eq!(found, expected);
    let circle = BTreeMap::from([
        ("a".to_owned(), BTreeSet::from(["b".to_owned()])),
        ("b".to_owned(), BTreeSet::from(["a".to_owned()])),
        ("c".to_owned(), BTreeSet::from(["a".to_owned()])),
    ]);
    assert_eq!(floors(&circle).1, ["a", "b", "c"]);
}

#[test]
fn crates_and_modules_that_do_io_are_found_also_without_a_use() {
    let code = "
        use std::{collections::BTreeMap, io::Read, net::{IpAddr, TcpStream}};
        use serde_json::Value;
        #[derive(apache_avro::AvroSchema)]
        struct Record;
        fn f() { reqwest::get(url()); ::lettre::address::f(); assert!(::tokio::spawn(g())); std::process::exit(1); }
        fn g() -> std::fs::File { local::open() }
        #[cfg(test)] mod tests { use std::thread; fn f() { rdkafka::f(); } }
    ";
    let modules = [
        ("domain::late", code),
        ("domain::late::local", ""),
        ("engines", code),
    ];

    let found = forbidden(&planted(&modules));

    let expected = [
        "apache_avro",
        "reqwest",
        "std::fs",
        "std::net",
        "std::process",
        "tokio",
    ];
    assert_eq!(
        found,
        expected.map(|name| format!("domain::late uses {name}"))
    );
}

/// Returns modules as [`sources`] does.
fn planted(modules: &[(&str, &str)]) -> BTreeMap<Module, String> {
    let path = |text: &str| text.split("::").map(str::to_owned).collect();
    let modules = modules.iter();
    modules
        .map(|(module, code)| (path(module), (*code).to_owned()))
        .collect()
}

/// Returns what the modules of the lower ranks use and may not.
fn forbidden(files: &BTreeMap<Module, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (module, code) in files {
        let Some((_, allowed)) = CRATES.iter().find(|(rank, _)| *rank == module[0]) else {
            continue;
        };
        let used = Names::of(code, module, files).crates;
        let other = used.iter().filter(|used| !allowed.contains(&used.as_str()));
        wrong.extend(other.map(|other| format!("{} uses {other}", module.join("::"))));
    }
    wrong
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Reads what every module of the library imports, test code left out.
fn imports() -> Imports {
    resolve(&sources())
}

/// Returns the code of every module of the library.
fn sources() -> BTreeMap<Module, String> {
    let src = root().join("src");
    let mut files = BTreeMap::new();
    collect(&src, &src, &mut files);
    files
}

/// Finds the modules that each module imports, re-exports followed to the module that defines the name.
fn resolve(files: &BTreeMap<Module, String>) -> Imports {
    let read: BTreeMap<_, _> = files
        .iter()
        .map(|(module, code)| (module, Names::of(code, module, files)))
        .collect();
    let defined = |module: &Module| {
        let mut path = module.clone();
        // A chain of re-exports is short; a longer one is a circle, which the compiler refuses.
        for _ in 0..8 {
            let home = home(&path, files);
            let Some(name) = path.get(home.len()) else {
                break;
            };
            let Some(target) = read.get(&home).and_then(|names| names.aliases.get(name)) else {
                break;
            };
            path = [
                target.as_slice(),
                path.get(home.len() + 1..).unwrap_or_default(),
            ]
            .concat();
        }
        home(&path, files)
    };
    let imports = read.iter().map(|(here, names)| {
        let modules = names.paths.iter().map(defined);
        let others = modules.filter(|module| !module.is_empty() && module != *here);
        ((*here).clone(), others.collect())
    });
    imports.collect()
}

/// Returns the longest beginning of `path` that is a module.
fn home(path: &[String], files: &BTreeMap<Module, String>) -> Module {
    let mut path = path.to_vec();
    while !path.is_empty() && !files.contains_key(&path) {
        path.pop();
    }
    path
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
