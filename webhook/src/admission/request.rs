use std::collections::BTreeMap;

use arcane_common::{api::well_known, identity::GroupKind};
use serde_json::Value;

/// A write that somebody asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What the answer must repeat.
    pub uid: String,
    /// The object's group and kind.
    pub kind: GroupKind,
    /// The version that the object is written in.
    pub version: String,
    /// The plural name of its kind.
    pub resource: String,
    /// The subresource, e.g. `status`; empty for the object itself.
    pub subresource: String,
    /// The object's namespace; empty for a cluster's object.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// What is to be done to it.
    pub operation: Operation,
    /// Who asks.
    pub user: User,
    /// The object as it shall be; null for a deletion.
    pub object: Value,
    /// The object as it is; null for a creation.
    pub old_object: Value,
    /// The client, as it calls itself.
    pub field_manager: Option<String>,
}

/// What is to be done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is created.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
    /// Something else, e.g. a connection.
    Other,
}

impl Operation {
    /// As the API server calls it; empty for what isn't judged.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Other => "",
        }
    }
}

/// Who asks: everything that authorization may depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub username: String,
    /// The UID; empty where there is none.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// What an authenticator has added.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Request {
    /// The spec as it shall be.
    pub fn spec(&self) -> &Value {
        self.object.get("spec").unwrap_or(&Value::Null)
    }

    /// The spec as it is.
    pub fn old_spec(&self) -> &Value {
        self.old_object.get("spec").unwrap_or(&Value::Null)
    }

    /// Whether the deletion of the object is under way.
    pub fn is_being_deleted(&self) -> bool {
        let is_deleted = |object: &Value| object.pointer("/metadata/deletionTimestamp").is_some_and(|it| !it.is_null());
        is_deleted(&self.object) || is_deleted(&self.old_object)
    }

    /// Whether the request changes nothing that is judged: metadata or finalizers only.
    pub fn leaves_spec_as_it_is(&self) -> bool {
        self.operation == Operation::Update && self.spec() == self.old_spec()
    }

    /// The class that the object's label names.
    pub fn class_label(&self) -> Option<&str> {
        class_label(&self.object)
    }

    /// The class that the object's label has named so far.
    pub fn old_class_label(&self) -> Option<&str> {
        class_label(&self.old_object)
    }

    /// The value of an annotation, as it shall be.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.object.pointer("/metadata/annotations")?.get(key)?.as_str()
    }

    /// When the object was created; absent in some creations.
    pub fn created(&self) -> Option<&str> {
        self.object.pointer("/metadata/creationTimestamp")?.as_str()
    }
}

fn class_label(object: &Value) -> Option<&str> {
    let labels = object.pointer("/metadata/labels")?;
    labels.get(well_known::LABEL_STREAM_CLASS)?.as_str().filter(|label| !label.is_empty())
}
