//! Turns the compiled client into the files that a browser loads: `noom-wasm INPUT.wasm OUTPUT_FOLDER NAME`.
//!
//! Splits the module at its `#[wasm_split]` functions, then generates the JavaScript bindings of the main part.
//! cargo-leptos does the same with the same libraries, but takes several minutes to build. The names of the
//! output files are those that Leptos expects.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use wasm_bindgen_cli_support::Bindgen;

/// The loader of the split-off parts, as `leptos::hydration` names it.
const LOADER: &str = "./__wasm_split.______________________.js";
/// The parts that have to be preloaded for each split-off function; Leptos reads it when the server starts.
const MANIFEST: &str = "__wasm_split_manifest.json";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [input, output, name] = arguments.as_slice() else {
        return Err("usage: noom-wasm INPUT.wasm OUTPUT_FOLDER NAME".into());
    };
    let output = Path::new(output);
    fs::create_dir_all(output)?;
    let main = split(Path::new(input), output, name)?;
    bindgen(&main, output, name)?;
    Ok(())
}

/// Writes the split-off parts, their loader and the manifest. Returns the path of the main part.
fn split(input: &Path, output: &Path, name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let module = fs::read(input).with_context(|| format!("cannot read {}", input.display()))?;
    let main = input.with_file_name(format!("{name}_split.wasm"));
    let bindings = format!("./{name}.js");
    let mut options = wasm_split_cli_support::Options::new(&module);
    options.output_dir = output;
    options.main_out_path = &main;
    options.main_module = &bindings;
    options.link_name = LOADER;
    let parts = wasm_split_cli_support::transform(options)?;
    fs::write(output.join(MANIFEST), serde_json::to_vec(&parts.prefetch_map)?)?;
    Ok(main)
}

/// Writes the JavaScript bindings and the main part beside them.
fn bindgen(main: &Path, output: &Path, name: &str) -> anyhow::Result<()> {
    Bindgen::new()
        .input_path(main)
        .out_name(name)
        .web(true)?
        // The split-off parts refer to exports and names of the main part.
        .keep_lld_exports(true)
        .demangle(false)
        .generate(output)?;
    // Leptos looks for the module without wasm-bindgen's suffix.
    fs::rename(output.join(format!("{name}_bg.wasm")), output.join(format!("{name}.wasm")))?;
    Ok(())
}
