//! Raw results: one JSON file an experiment, which BENCHMARKS.md is made from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::machine::{self, Machine};

/// What an experiment measured, and where.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results<T> {
    /// When, UTC.
    pub(crate) date: String,
    /// What was typed.
    pub(crate) command: String,
    /// Where.
    pub(crate) machine: Machine,
    /// What, and what with.
    pub(crate) versions: BTreeMap<String, String>,
    /// The measurements.
    pub(crate) blocks: Vec<T>,
}

/// The folder of results. Quick ones do not take the place of thorough ones.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The folder, made where it is missing.
    pub(crate) fn open(quick: bool) -> Outcome<Self> {
        let folder =
            if quick { machine::target().join("bench-quick") } else { machine::project().join("benches/results") };
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Keeps what an experiment measured.
    pub(crate) fn write<T: Serialize>(&self, name: &str, command: &str, blocks: Vec<T>) -> Outcome<()> {
        let date = machine::said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_default();
        let (machine, versions) = (Machine::look()?, machine::versions());
        let results = Results { date, command: command.to_owned(), machine, versions, blocks };
        let mut text = serde_json::to_string_pretty(&results)?;
        text.push('\n');
        Ok(std::fs::write(self.0.join(format!("{name}.json")), text)?)
    }

    /// What an experiment measured, if it ever ran.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> Outcome<Option<Results<T>>> {
        match std::fs::read(self.0.join(format!("{name}.json"))) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
