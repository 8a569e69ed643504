use std::fmt;

use serde::Serialize;

/// Where a manifest is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// The file; `-` for stdin.
    pub file: String,
    /// Which document of it, from 1.
    pub document: usize,
    /// The line where it begins, from 1.
    pub line: usize,
}

/// What a manifest is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Object {
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for what is in none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It would be refused.
    Error,
    /// Whether it would be refused couldn't be found out.
    Unknown,
    /// It would be let in with a warning.
    Warning,
}

/// Something that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad.
    pub level: Level,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// The object; absent where it can't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Object>,
    /// The field, as people write it; empty where it is about no single one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What kind of mistake it is, as the API server calls it; `Warning` for warnings.
    pub rule: &'static str,
    /// What is wrong and what to do, the field included.
    pub message: String,
}

impl Finding {
    /// By place, the worst first.
    pub fn order(&self) -> (&Place, Level) {
        (&self.place, self.level)
    }
}

impl Level {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} (document {})", self.file, self.line, self.document)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}
