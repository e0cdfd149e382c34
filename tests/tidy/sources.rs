//! The project's files, and the parts of Rust's syntax that the checks look at.

use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

use crate::support::project;

/// A text file of the project.
pub(crate) struct File {
    /// The path from the folder that was listed, with `/`.
    pub(crate) name: String,
    pub(crate) text: String,
}

impl File {
    /// Parses the file, without its unit tests.
    pub(crate) fn parse(&self) -> syn::File {
        let mut file = syn::parse_file(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        file.items.retain(|item| !matches!(item, syn::Item::Mod(module) if is_test(&module.attrs)));
        file
    }

    /// Returns true for `<module>.rs` and for every file below `<module>/`. A `module` that ends in `.rs` is one file.
    pub(crate) fn belongs_to(&self, module: &str) -> bool {
        let rest = self.name.strip_prefix(module);
        rest.is_some_and(|rest| rest.is_empty() || rest == ".rs" || rest.starts_with('/'))
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
    })
}

/// Returns every Rust file under `src`.
pub(crate) fn sources() -> Vec<File> {
    files("src")
}

/// Returns every file in a folder of the project, sorted by name.
pub(crate) fn files(folder: &str) -> Vec<File> {
    fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { collect(&path, paths) } else { paths.push(path) }
        }
    }
    let root = project().join(folder);
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let name = |path: &Path| path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
    paths.iter().map(|path| File { name: name(path), text: std::fs::read_to_string(path).unwrap() }).collect()
}

/// Calls `visit` with the token trees of a macro's body and of every group in it.
pub(crate) fn each_group(tokens: TokenStream, visit: &mut impl FnMut(&[TokenTree])) {
    let trees: Vec<_> = tokens.into_iter().collect();
    visit(&trees);
    for tree in trees {
        if let TokenTree::Group(group) = tree {
            each_group(group.stream(), visit);
        }
    }
}

/// Returns the identifier that a token is.
pub(crate) fn ident(tree: Option<&TokenTree>) -> Option<String> {
    match tree {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}
