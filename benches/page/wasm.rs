//! Code size of the page's WASM by crate. Reads the name section of the unstripped file, which later build steps remove.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rustc_demangle::demangle;
use serde::{Deserialize, Serialize};
use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

use crate::Outcome;

/// Prefix of the stubs that wasm-bindgen reads and removes.
const REMOVED: &str = "__wbindgen_describe";

/// Code size of one crate, including the instances of its generic functions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CrateRow {
    /// Crate name.
    pub(crate) name: String,
    /// Number of functions.
    pub(crate) functions: u64,
    /// Size in bytes, before `wasm-opt`.
    pub(crate) bytes: u64,
}

/// Returns the crates in a WASM file, the largest first.
pub(crate) fn crates(file: &Path) -> Outcome<Vec<CrateRow>> {
    let wasm = std::fs::read(file)?;
    let (mut names, mut lengths, mut imported) = (HashMap::new(), Vec::new(), 0);
    for payload in Parser::new(0).parse_all(&wasm) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::CodeSectionEntry(body) => lengths.push(body.range().end - body.range().start),
            Payload::CustomSection(section) => {
                let KnownCustom::Name(sections) = section.as_known() else { continue };
                for subsection in sections {
                    let Name::Function(functions) = subsection? else { continue };
                    for function in functions {
                        let function = function?;
                        names.insert(function.index, function.name);
                    }
                }
            }
            _ => {}
        }
    }
    let mut crates = BTreeMap::<String, CrateRow>::new();
    for (index, bytes) in (imported..).zip(lengths) {
        let symbol = names.get(&index).copied().unwrap_or_default();
        if symbol.starts_with(REMOVED) {
            continue;
        }
        let name = crate_of(&format!("{:#}", demangle(symbol))).to_owned();
        let row = crates.entry(name.clone()).or_insert(CrateRow { name, functions: 0, bytes: 0 });
        row.functions += 1;
        row.bytes += bytes;
    }
    let mut rows: Vec<_> = crates.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.bytes));
    Ok(rows)
}

/// Returns the first crate in a path, for example `tachys` in `<T as tachys::view::Render>::build`.
fn crate_of(path: &str) -> &str {
    let end = path.match_indices("::").map(|(at, _)| at);
    let mut names = end.map(|end| {
        let begin = path[..end].rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        &path[begin..end]
    });
    // Types and generic parameters begin with a capital letter; crates do not.
    names.find(|name| name.starts_with(|c: char| c.is_ascii_lowercase())).unwrap_or("others")
}
