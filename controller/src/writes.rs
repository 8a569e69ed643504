//! The few kinds of write that the controller makes.
//!
//! Each one asks first whether this process still leads, and is remembered until the watch shows it.

use arcane_common::identity::{ObjectName, Uid};
use arcane_process::{cluster::briefly, leadership::NotLeading};
use kube::{
    Api, Error, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy},
    core::{ApiResource, DynamicObject, params::Preconditions},
};
use serde_json::Value;

use crate::{caches::Watched, context::Context, key::Key, metrics::Outcome};

/// The name under which our writes stand in `managedFields`.
pub const FIELD_MANAGER: &str = "arcane-controller";

/// Why a write was not made.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// This process doesn't lead (any more).
    #[error(transparent)]
    NotLeading(#[from] NotLeading),
    /// The API server said no, or could not be asked.
    #[error("{what}: {}", briefly(.source))]
    Api {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: Box<Error>,
    },
    /// What was to be sent is not an object; a mistake in this program.
    #[error("{what} is not an object of Kubernetes: {source}")]
    Malformed {
        /// What was to be sent.
        what: String,
        /// Why it is none.
        source: serde_json::Error,
    },
}

impl WriteError {
    /// The HTTP status code of the API server's answer.
    pub fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// The API server's words.
    pub fn words(&self) -> Option<&str> {
        self.status().map(|status| status.message.as_str())
    }

    /// Whether the object exists already.
    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(|status| status.reason == "AlreadyExists")
    }

    /// Whether the object was changed by somebody else meanwhile.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409) && !self.is_already_exists()
    }

    /// Whether the object isn't there.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Whether it is forbidden: by rights, a quota, a policy, or because its namespace is on its way out.
    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    /// Whether trying the same again leads to the same answer until somebody changes something.
    pub fn is_refusal(&self) -> bool {
        matches!(self.code(), Some(400 | 403 | 404 | 422)) || self.status().is_some_and(|s| s.reason == "Invalid")
    }

    /// Whether the API server may have done what it was asked for all the same: it gave no answer, or said that it is in
    /// trouble.
    pub fn may_have_been_done(&self) -> bool {
        match self {
            Self::Api { .. } => self.code().is_none_or(|code| code >= 500),
            Self::NotLeading(_) | Self::Malformed { .. } => false,
        }
    }

    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Where a write goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The resource.
    pub resource: &'a ApiResource,
    /// The kind of watch that will show the write.
    pub watched: Watched,
    /// Namespace and name; the namespace of a cluster-scoped object is empty.
    pub name: &'a ObjectName,
    /// Who waits until the watch shows the write.
    pub key: &'a Key,
}

/// Which part of an object a patch changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The object itself.
    Main,
    /// Its status.
    Status,
}

impl Context {
    /// Creates an object.
    pub async fn create(&self, target: Target<'_>, object: Value, dry_run: bool) -> Result<(), WriteError> {
        let what = target.what(if dry_run { "try" } else { "create" });
        let object: DynamicObject =
            serde_json::from_value(object).map_err(|source| WriteError::Malformed { what: what.clone(), source })?;
        let params = PostParams { dry_run, field_manager: Some(FIELD_MANAGER.to_owned()) };
        self.leadership.may_write()?;
        let created = self.api(target).create(&params, &object).await;
        let created = self.done("create", target, what, created)?;
        if !dry_run {
            self.note(target, &created);
        }
        Ok(())
    }

    /// Changes some fields by a merge patch: what the patch doesn't name stays as it is.
    pub async fn merge(&self, target: Target<'_>, part: Part, patch: Value) -> Result<(), WriteError> {
        self.patch(target, part, Patch::Merge(patch)).await
    }

    /// Changes some fields by a JSON patch.
    pub async fn json_patch(&self, target: Target<'_>, patch: json_patch::Patch) -> Result<(), WriteError> {
        self.patch(target, Part::Main, Patch::<Value>::Json(patch)).await
    }

    async fn patch(&self, target: Target<'_>, part: Part, patch: Patch<Value>) -> Result<(), WriteError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = self.api(target);
        let name = &target.name.name;
        self.leadership.may_write()?;
        let (verb, patched) = match part {
            Part::Main => ("patch", api.patch(name, &params, &patch).await),
            Part::Status => ("patch-status", api.patch_status(name, &params, &patch).await),
        };
        let patched = self.done(verb, target, target.what(verb), patched)?;
        self.note(target, &patched);
        Ok(())
    }

    /// Deletes exactly the object of this UID, after its dependents, and if a version is given, only while it is at that
    /// one. Tells whether it goes now; one that isn't there (any more) is fine, and so is one that has changed: the watch will
    /// say so.
    pub async fn delete_in_foreground(
        &self,
        target: Target<'_>,
        uid: &Uid,
        version: Option<&str>,
    ) -> Result<bool, WriteError> {
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Foreground),
            preconditions: Some(Preconditions {
                uid: Some(uid.to_string()),
                resource_version: version.map(ToOwned::to_owned),
            }),
            ..DeleteParams::default()
        };
        self.leadership.may_write()?;
        let deleted = self.api(target).delete(&target.name.name, &params).await;
        match self.done("delete", target, target.what("delete"), deleted) {
            Ok(outcome) => {
                if let Some(deleting) = outcome.left() {
                    self.note(target, &deleting);
                }
                Ok(true)
            }
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn api(&self, target: Target<'_>) -> Api<DynamicObject> {
        if target.name.namespace.is_empty() {
            Api::all_with(self.client.clone(), target.resource)
        } else {
            Api::namespaced_with(self.client.clone(), &target.name.namespace, target.resource)
        }
    }

    fn done<T>(
        &self,
        verb: &'static str,
        target: Target<'_>,
        what: String,
        result: Result<T, Error>,
    ) -> Result<T, WriteError> {
        let result = result.map_err(|source| WriteError::Api { what, source: Box::new(source) });
        let outcome = match &result {
            Ok(_) => Outcome::Success,
            Err(error) if error.code() == Some(409) => Outcome::Conflict,
            Err(_) => Outcome::Failure,
        };
        self.metrics.api_write(verb, &target.resource.plural, outcome);
        result
    }

    fn note(&self, target: Target<'_>, object: &DynamicObject) {
        let (Some(uid), Some(version)) = (object.uid(), object.resource_version()) else { return };
        self.caches().note_own_write(target.watched, Uid::new(uid), &version, target.key);
    }
}

impl Target<'_> {
    fn what(&self, verb: &str) -> String {
        format!("{verb} {} {}", self.resource.kind, self.name)
    }
}
