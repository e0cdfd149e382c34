//! Generates the module `i18n` from `locales/`, so that a missing text is a compile error, and the name of the build.

use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use leptos_i18n_parser::parse_locales::options::{Config, ParseOptions};
use leptos_i18n_parser::parse_locales::parse_locales;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.toml");
    generate_texts()?;
    name_build()
}

// The crate leptos_i18n_build is a wrapper of these two crates that also compiles ICU4X's data tools and an HTTP client.
fn generate_texts() -> Result<(), Box<dyn Error>> {
    let module = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("i18n");
    // Needed by `td_string!` with values, as in page titles.
    let options = ParseOptions::new().interpolate_display(true);
    let texts = parse_locales(None, Config::new("en")?.add_locale("ko")?.parse_options(options))?;
    for warning in texts.diag.warnings().iter() {
        println!("cargo::warning={warning}");
    }
    for error in texts.diag.errors().iter() {
        println!("cargo::error={error}");
    }
    for file in texts.tracked_files.iter().flatten() {
        println!("cargo::rerun-if-changed={file}");
    }
    let (crate_path, emits_diagnostics, attributes, has_docs) = (None, false, None, true);
    let code = leptos_i18n_codegen::gen_code(&texts, crate_path, emits_diagnostics, attributes, has_docs)?;
    std::fs::create_dir_all(&module)?;
    Ok(std::fs::write(module.join("mod.rs"), code.to_string())?)
}

/// The build name is the version and a hash of all inputs. The server and the WASM of one build share it, and any change
/// to a page changes it.
fn name_build() -> Result<(), Box<dyn Error>> {
    let mut hasher = DefaultHasher::new();
    for root in ["src", "locales", "style", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={root}");
        hash_all(Path::new(root), &mut hasher)?;
    }
    println!("cargo::rustc-env=NOOM_BUILD={}-{:08x}", env!("CARGO_PKG_VERSION"), hasher.finish() as u32);
    Ok(())
}

fn hash_all(path: &Path, hasher: &mut DefaultHasher) -> Result<(), Box<dyn Error>> {
    if path.is_dir() {
        let mut inside =
            std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        inside.sort();
        return inside.iter().try_for_each(|path| hash_all(path, hasher));
    }
    path.to_str().ok_or("the name of a source file is not valid UTF-8")?.hash(hasher);
    std::fs::read(path)?.hash(hasher);
    Ok(())
}
