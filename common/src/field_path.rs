//! Where in an object something is.
//!
//! One path, two prints: `spec.jobTemplateRef.name` for people (the form that
//! the API server uses) and `/spec/jobTemplateRef/name` for JSON pointers.

use std::fmt;

use serde_json::Value;

/// The path of a field inside an object, from the object's root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Segment {
    Field(String),
    Key(String),
    Index(usize),
}

impl FieldPath {
    /// A path that starts at the top-level field `name`.
    pub fn root(name: impl Into<String>) -> Self {
        Self(vec![Segment::Field(name.into())])
    }

    /// The path of the field `name` below this one.
    #[must_use]
    pub fn child(&self, name: impl Into<String>) -> Self {
        self.with(Segment::Field(name.into()))
    }

    /// The path of the element `index` of this list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// The path of the entry `key` of this map (labels, annotations).
    #[must_use]
    pub fn key(&self, key: impl Into<String>) -> Self {
        self.with(Segment::Key(key.into()))
    }

    /// The path reached from this one by a chain of field names.
    #[must_use]
    pub fn descend(&self, names: &[&str]) -> Self {
        names.iter().fold(self.clone(), |path, name| path.child(*name))
    }

    /// The path reached from this one by a JSON pointer (RFC 6901) into `value`, the value at this path.
    ///
    /// Whether a segment is a place in a list or a field only the value can tell.
    #[must_use]
    pub fn follow(&self, value: &Value, pointer: &str) -> Self {
        let mut path = self.clone();
        let mut here = Some(value);
        for segment in pointer.split('/').skip(1) {
            let name = segment.replace("~1", "/").replace("~0", "~");
            (path, here) = match (here, name.parse::<usize>()) {
                (Some(Value::Array(elements)), Ok(index)) => (path.index(index), elements.get(index)),
                (here, _) => {
                    let below = here.and_then(|here| here.get(&name));
                    (if name.contains(['.', '/', '[']) { path.key(name) } else { path.child(name) }, below)
                }
            };
        }
        path
    }

    /// Whether this path is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The path without its places in lists: the same for all elements of a list.
    #[must_use]
    pub fn without_indexes(&self) -> Self {
        Self(self.0.iter().filter(|segment| !matches!(segment, Segment::Index(_))).cloned().collect())
    }

    /// The path as a JSON pointer (RFC 6901).
    pub fn pointer(&self) -> String {
        let mut pointer = String::new();
        for segment in &self.0 {
            pointer.push('/');
            match segment {
                Segment::Field(name) | Segment::Key(name) => {
                    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                }
                Segment::Index(index) => pointer.push_str(&index.to_string()),
            }
        }
        pointer
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(name) if position == 0 => write!(f, "{name}")?,
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Key(key) => write!(f, "[{key}]")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::FieldPath;

    #[test]
    fn one_path_has_two_prints() {
        let path = FieldPath::root("spec").descend(&["template", "containers"]).index(2).child("env");
        assert_eq!(path.to_string(), "spec.template.containers[2].env");
        assert_eq!(path.pointer(), "/spec/template/containers/2/env");
        assert_eq!(path.without_indexes().to_string(), "spec.template.containers.env");
    }

    #[test]
    fn a_pointer_becomes_a_path() {
        let value = serde_json::json!({"list": [{"labels": {"a/b": 1}}], "map": {"0": 1}});
        let spec = FieldPath::root("spec");
        assert_eq!(spec.follow(&value, "/list/0/labels/a~1b").to_string(), "spec.list[0].labels[a/b]");
        assert_eq!(spec.follow(&value, "/map/0").to_string(), "spec.map.0");
        assert_eq!(spec.follow(&value, "").to_string(), "spec");
        assert!(spec.child("a").is_within(&spec) && !spec.is_within(&spec.child("a")));
    }

    #[test]
    fn keys_are_bracketed_and_escaped() {
        let path = FieldPath::root("metadata").child("labels").key("arcane/stream-class");
        assert_eq!(path.to_string(), "metadata.labels[arcane/stream-class]");
        assert_eq!(path.pointer(), "/metadata/labels/arcane~1stream-class");
    }
}
