//! The import graph of `src`: for each file, the files that define what it names.
//!
//! A path counts whether it is imported by `use` or written in place, and inside macros too. A re-export is resolved
//! to the file that defines the item, so a module that only re-exports its parts depends on none of them. Two uses do
//! not count: those of unit tests, and a submodule's use of a parent's type that it extends with an `impl` block.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::sources::{self, File};

/// The modules from the crate's root to a file or item.
type Path = Vec<String>;

/// Files by name, each with the files that it names and one path by which it does.
pub(crate) type Graph = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Default)]
struct Module {
    file: String,
    /// Names that the file defines.
    defined: BTreeSet<String>,
    /// Names that it imports, as absolute paths.
    imported: BTreeMap<String, Path>,
    /// Modules that it imports with `*`.
    globs: Vec<Path>,
    /// Paths that it names, as absolute paths.
    named: BTreeSet<Path>,
    /// Types for which it has an `impl` block.
    extended: BTreeSet<String>,
}

/// Builds the graph.
pub(crate) fn graph(files: &[File]) -> Graph {
    let paths: BTreeSet<Path> = files.iter().map(|file| module_path(&file.name)).collect();
    let modules: BTreeMap<Path, Module> = files
        .iter()
        .map(|file| {
            let at = module_path(&file.name);
            let mut reader = Reader { at: at.clone(), paths: &paths, module: Module::default() };
            reader.module.file = file.name.clone();
            reader.visit_file(&file.parse());
            (at, reader.module)
        })
        .collect();
    modules
        .iter()
        .map(|(at, module)| {
            let mut uses = BTreeMap::new();
            for path in &module.named {
                let defined_in = resolve(&modules, path.clone(), &mut BTreeSet::new());
                let is_extended = at.starts_with(&defined_in)
                    && path.get(defined_in.len()).is_some_and(|name| module.extended.contains(name));
                if defined_in != *at && !is_extended {
                    uses.entry(modules[&defined_in].file.clone()).or_insert_with(|| path.join("::"));
                }
            }
            (module.file.clone(), uses)
        })
        .collect()
}

fn module_path(file: &str) -> Path {
    match file {
        "lib.rs" => vec![],
        _ => file.trim_end_matches(".rs").split('/').map(str::to_owned).collect(),
    }
}

/// Returns the module that defines the item at a path.
fn resolve(modules: &BTreeMap<Path, Module>, path: Path, seen: &mut BTreeSet<Path>) -> Path {
    let depth = (0..=path.len()).rev().find(|&depth| modules.contains_key(&path[..depth])).unwrap();
    let (at, rest) = path.split_at(depth);
    let module = &modules[at];
    let Some(name) = rest.first().filter(|_| seen.insert(path.clone())) else { return at.to_vec() };
    if module.defined.contains(name) {
        return at.to_vec();
    }
    if let Some(target) = module.imported.get(name) {
        return resolve(modules, [target, &rest[1..]].concat(), seen);
    }
    let through_glob = module.globs.iter().find_map(|glob| {
        let target = resolve(modules, [glob.as_slice(), rest].concat(), seen);
        modules[&target].defined.contains(name).then_some(target)
    });
    through_glob.unwrap_or_else(|| at.to_vec())
}

struct Reader<'a> {
    at: Path,
    paths: &'a BTreeSet<Path>,
    module: Module,
}

impl Reader<'_> {
    /// Returns the absolute path of one that begins with `crate`, `self`, `super` or a submodule; `None` for paths
    /// into other crates and into items of the file itself.
    fn absolute(&self, segments: &[String]) -> Option<Path> {
        let first = segments.first()?.as_str();
        let supers = segments.iter().take_while(|segment| *segment == "super").count();
        match first {
            "crate" => Some(segments[1..].to_vec()),
            "self" => Some([&self.at, &segments[1..]].concat()),
            "super" => Some([&self.at[..self.at.len().checked_sub(supers)?], &segments[supers..]].concat()),
            _ => {
                let inside = [&self.at, segments].concat();
                self.paths.contains(&inside[..self.at.len() + 1]).then_some(inside)
            }
        }
    }

    fn name(&mut self, segments: &[String]) {
        if segments.len() > 1
            && let Some(path) = self.absolute(segments)
        {
            self.module.named.insert(path);
        }
    }

    /// Reads `use` declarations. A re-export does not count as a use.
    fn import(&mut self, prefix: &[String], tree: &syn::UseTree, is_reexport: bool) {
        let joined = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.import(&joined(&path.ident), &path.tree, is_reexport),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(prefix, tree, is_reexport));
            }
            syn::UseTree::Name(name) if name.ident == "self" => {
                let alias = prefix.last().cloned().unwrap_or_default();
                self.import_as(prefix.to_vec(), alias, is_reexport);
            }
            syn::UseTree::Name(name) => self.import_as(joined(&name.ident), name.ident.to_string(), is_reexport),
            syn::UseTree::Rename(rename) => {
                self.import_as(joined(&rename.ident), rename.rename.to_string(), is_reexport);
            }
            syn::UseTree::Glob(_) => {
                if let Some(path) = self.absolute(prefix) {
                    if !is_reexport {
                        self.module.named.insert(path.clone());
                    }
                    self.module.globs.push(path);
                }
            }
        }
    }

    fn import_as(&mut self, segments: Path, alias: String, is_reexport: bool) {
        if let Some(path) = self.absolute(&segments) {
            if !is_reexport {
                self.module.named.insert(path.clone());
            }
            self.module.imported.insert(alias, path);
        }
    }

    fn read_tokens(&mut self, tokens: TokenStream) {
        const DEFINES: [&str; 7] = ["struct", "enum", "fn", "const", "static", "trait", "type"];
        sources::each_group(tokens, &mut |trees| {
            let is_separator =
                |tree: Option<&TokenTree>| matches!(tree, Some(TokenTree::Punct(p)) if p.as_char() == ':');
            let mut index = 0;
            while index < trees.len() {
                let mut segments: Path = sources::ident(trees.get(index)).into_iter().collect();
                index += 1;
                if segments.is_empty() {
                    continue;
                }
                if DEFINES.contains(&segments[0].as_str()) {
                    self.module.defined.extend(sources::ident(trees.get(index)));
                }
                while is_separator(trees.get(index)) && is_separator(trees.get(index + 1)) {
                    let Some(next) = sources::ident(trees.get(index + 2)) else { break };
                    segments.push(next);
                    index += 3;
                }
                self.name(&segments);
            }
        });
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let defined = match item {
            syn::Item::Const(item) => Some(&item.ident),
            syn::Item::Enum(item) => Some(&item.ident),
            syn::Item::Fn(item) => Some(&item.sig.ident),
            syn::Item::Macro(item) => item.ident.as_ref(),
            syn::Item::Static(item) => Some(&item.ident),
            syn::Item::Struct(item) => Some(&item.ident),
            syn::Item::Trait(item) => Some(&item.ident),
            syn::Item::Type(item) => Some(&item.ident),
            _ => None,
        };
        self.module.defined.extend(defined.map(ToString::to_string));
        visit::visit_item(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let syn::Type::Path(path) = &*item.self_ty {
            self.module.extended.extend(path.path.segments.last().map(|segment| segment.ident.to_string()));
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.import(&[], &item.tree, !matches!(item.vis, syn::Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Path = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.name(&segments);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        self.read_tokens(invocation.tokens.clone());
    }

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

/// Returns the circles: sets of files of which each reaches each.
pub(crate) fn circles(graph: &Graph) -> Vec<BTreeSet<&str>> {
    let reachable: BTreeMap<&str, BTreeSet<&str>> = graph
        .keys()
        .map(|start| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![start.as_str()]);
            while let Some(file) = open.pop() {
                open.extend(graph[file].keys().map(String::as_str).filter(|&next| seen.insert(next)));
            }
            (start.as_str(), seen)
        })
        .collect();
    let mut circles = Vec::<BTreeSet<&str>>::new();
    for (file, reached) in &reachable {
        let is_known = circles.iter().any(|circle| circle.contains(file));
        if reached.contains(file) && !is_known {
            circles.push(reached.iter().copied().filter(|other| reachable[other].contains(file)).collect());
        }
    }
    circles
}
