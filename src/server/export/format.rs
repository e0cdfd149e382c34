//! The formats of an export.

/// A format of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For programs: JSON Lines, described in PROTOCOL.md
    #[default]
    Jsonl,
    /// For people: one HTML file that needs nothing else
    Html,
}

impl Format {
    /// The format with this name, as the query of a URL and the command line have it.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Jsonl, Self::Html].into_iter().find(|format| format.name() == name)
    }

    /// The name, which is also the extension of a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Html => "html",
        }
    }

    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jsonl => "application/jsonl; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
        }
    }
}
