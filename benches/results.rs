//! Raw results: one JSON file per experiment. BENCHMARKS.md is generated from them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::machine::{self, Machine};

/// The measurements of one experiment and the conditions they were taken under.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results<T> {
    /// Date and time in UTC.
    pub(crate) date: String,
    /// The command that measured.
    pub(crate) command: String,
    /// The machine it ran on.
    pub(crate) machine: Machine,
    /// Versions of everything measured, by name.
    pub(crate) versions: BTreeMap<String, String>,
    /// One entry per block.
    pub(crate) blocks: Vec<T>,
}

/// The folder of results. Quick runs have their own, so they never overwrite full results.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Opens the folder and creates it if it is missing.
    pub(crate) fn open(quick: bool) -> Outcome<Self> {
        let folder =
            if quick { machine::target().join("bench-quick") } else { machine::project().join("benches/results") };
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// Path of the folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Stores the results of an experiment.
    pub(crate) fn write<T: Serialize>(&self, name: &str, command: &str, blocks: Vec<T>) -> Outcome<()> {
        let date = machine::first_line_of("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_default();
        let (machine, versions) = (Machine::detect()?, machine::versions());
        let results = Results { date, command: command.to_owned(), machine, versions, blocks };
        let mut text = serde_json::to_string_pretty(&results)?;
        text.push('\n');
        Ok(std::fs::write(self.0.join(format!("{name}.json")), text)?)
    }

    /// Reads the results of an experiment, or `None` if it has never run.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> Outcome<Option<Results<T>>> {
        match std::fs::read(self.0.join(format!("{name}.json"))) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
