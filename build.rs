//! Makes the module `i18n` from the texts in `locales/`, so that a missing text is a compile error; and
//! names the build.

use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use leptos_i18n_build::{Config, ParseOptions, TranslationsInfos};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.toml");
    make_texts()?;
    name_build()
}

fn make_texts() -> Result<(), Box<dyn Error>> {
    let module = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("i18n");
    // Titles are plain text, also where they name a room.
    let options = ParseOptions::new().interpolate_display(true);
    let config = Config::new("en")?.add_locale("ko")?.parse_options(options);
    let texts = TranslationsInfos::parse(config)?;
    texts.emit_diagnostics();
    texts.rerun_if_locales_changed();
    texts.generate_i18n_module(module)?;
    Ok(())
}

/// The program and the WASM of one build have the same name, and a changed page has another: the
/// version and a number made from everything that either is made of.
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
    path.to_str().ok_or("a source has an unreadable name")?.hash(hasher);
    std::fs::read(path)?.hash(hasher);
    Ok(())
}
