//! The names that a module uses: of other modules, and of crates.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::Visit;
use syn::{Attribute, Item, ItemUse, UseTree};

use super::Module;

/// The modules of `std` that do I/O or start threads.
const STD_IO: [&str; 4] = ["fs", "net", "process", "thread"];

/// The names that a module uses.
pub(super) struct Names<'r> {
    here: &'r Module,
    files: &'r BTreeMap<Module, String>,
    /// Paths below the crate that it names in `use` items, in code, in attributes and in macros.
    pub(super) paths: BTreeSet<Module>,
    /// What each imported name stands for, below the crate.
    pub(super) aliases: BTreeMap<String, Module>,
    /// The crates that it names, and the modules of `std` that do I/O, such as `std::fs`.
    pub(super) crates: BTreeSet<String>,
}

impl<'r> Names<'r> {
    pub(super) fn of(code: &str, here: &'r Module, files: &'r BTreeMap<Module, String>) -> Self {
        let mut names = Self {
            here,
            files,
            paths: BTreeSet::new(),
            aliases: BTreeMap::new(),
            crates: BTreeSet::new(),
        };
        names.visit_file(&syn::parse_file(code).unwrap());
        names
    }

    /// Makes a path absolute; returns nothing if it starts with none of our modules.
    fn absolute(&self, path: &[String]) -> Option<Module> {
        let mut whole = match path[0].as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.here.clone(),
            name => {
                let child = [self.here.as_slice(), &[name.to_owned()]].concat();
                if !self.files.contains_key(&child) {
                    return None;
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
        Some(whole)
    }

    fn note(&mut self, path: &[String]) {
        if let Some(path) = self.absolute(path) {
            self.paths.insert(path);
        } else if is_dependency(&path[0]) && !self.aliases.contains_key(&path[0]) {
            self.crates.insert(path[0].clone());
        } else {
            self.note_std(path);
        }
    }

    fn note_std(&mut self, path: &[String]) {
        if let [first, module, ..] = path
            && first == "std"
            && STD_IO.contains(&module.as_str())
            // Addresses are plain values.
            && !path.last().is_some_and(|item| item.ends_with("Addr"))
        {
            self.crates.insert(format!("std::{module}"));
        }
    }

    fn note_use(&mut self, tree: &UseTree, before: &[String]) {
        let with = |ident: &dyn ToString| [before, &[ident.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.note_use(&path.tree, &with(&path.ident)),
            UseTree::Name(name) => self.note_name(&with(&name.ident), None),
            UseTree::Rename(name) => self.note_name(&with(&name.ident), Some(&name.rename)),
            UseTree::Glob(_) => self.note_name(before, None),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.note_use(tree, before);
                }
            }
        }
    }

    fn note_name(&mut self, path: &[String], rename: Option<&syn::Ident>) {
        let Some(target) = self.absolute(path) else {
            if is_dependency(&path[0]) {
                self.crates.insert(path[0].clone());
            }
            self.note_std(path);
            return;
        };
        let name = rename.map_or_else(|| target.last().cloned(), |name| Some(name.to_string()));
        self.aliases.extend(name.map(|name| (name, target.clone())));
        self.paths.insert(target);
    }

    /// Notes the paths in tokens that `syn` does not parse: those of macros and attributes, also in quotes, such as
    /// `with = "super::later"`.
    fn note_tokens(&mut self, tokens: &impl ToString) {
        let text = tokens.to_string().replace(" :: ", "::");
        for word in text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':') {
            let path = word.trim_start_matches(':').split("::");
            let path: Vec<_> = path.map(str::to_owned).collect();
            self.note_long(&path);
        }
    }

    fn note_long(&mut self, path: &[String]) {
        if path.len() > 1 {
            self.note(path);
        }
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
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
        self.note_use(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts = path.segments.iter();
        let parts: Vec<_> = parts.map(|part| part.ident.to_string()).collect();
        self.note_long(&parts);
        syn::visit::visit_path(self, path);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.note_tokens(&list.tokens);
        }
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        self.note_tokens(&called.tokens);
    }
}

fn is_dependency(name: &str) -> bool {
    let manifest = include_str!("../../../Cargo.toml");
    let (_, rest) = manifest.split_once("[dependencies]").unwrap();
    let (section, _) = rest.split_once("\n[").unwrap();
    let names = section.lines().filter_map(|line| line.split_once(" = "));
    names
        .map(|(name, _)| name.replace('-', "_"))
        .any(|dependency| dependency == name)
}
