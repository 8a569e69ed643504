//! BackfillRequests that belong to no stream: what they wait for is said. The others are their streams' business.

use std::time::Instant;

use arcane_common::{api::backfill_request::BackfillRequestPhase, identity::ObjectName};

use crate::{
    caches::Caches,
    context::Context,
    facts::RequestFacts,
    key::Key,
    reconcile::Next,
    resources,
    stream::{MOVED_ON, action::RequestStatus, write_request_status},
    writes::WriteError,
};

/// What is seen of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The request.
    pub request: RequestFacts,
    /// The kind that its class registers; `None` if there is no such class.
    pub kind: Option<String>,
    /// Whether a stream of that kind and name is there.
    pub has_stream: bool,
    /// Whether the class's streams are known.
    pub streams_are_known: bool,
    /// What its class says is wrong with it.
    pub trouble_of_class: Option<String>,
}

/// Decides what a request's status shall say; `None` where that is not for us or is said already.
pub fn plan(observed: &Observed) -> Option<RequestStatus> {
    let request = &observed.request;
    let is_settled = request.phase.as_ref().is_some_and(BackfillRequestPhase::is_final);
    if is_settled || request.deleting || observed.has_stream {
        return None;
    }
    let (phase, reason, message) = match &observed.kind {
        _ if request.completed && request.phase.is_none() => {
            (BackfillRequestPhase::Completed, "CompletedBefore", "it was completed before it was first seen".to_owned())
        }
        _ if request.completed => (
            BackfillRequestPhase::Cancelled,
            "CancelledByUser",
            "spec.completed was set while the backfill was open".to_owned(),
        ),
        // Jobs of a deleted class keep running; what became of them is recorded when the class is back.
        None if matches!(request.phase, Some(BackfillRequestPhase::Running | BackfillRequestPhase::Failed)) => {
            return None;
        }
        None => (
            BackfillRequestPhase::Pending,
            "StreamClassMissing",
            format!(
                "spec.streamClass: Not found: {:?}: there is no StreamClass of this name; create it, or delete this \
                 request and create one that names an existing class",
                request.class
            ),
        ),
        Some(_) if !observed.streams_are_known => match &observed.trouble_of_class {
            Some(trouble) if matches!(request.phase, None | Some(BackfillRequestPhase::Pending)) => (
                BackfillRequestPhase::Pending,
                "StreamClassNotReady",
                format!("waits until StreamClass {} is ready, which says: {trouble}", request.class),
            ),
            _ => return None,
        },
        Some(_) if request.stream_uid.is_some() => {
            (BackfillRequestPhase::Cancelled, "StreamDeleted", "the stream that accepted it was deleted".to_owned())
        }
        Some(kind) => (
            BackfillRequestPhase::Pending,
            "StreamMissing",
            format!(
                "spec.streamId: Not found: {:?}: there is no {kind} of this name in namespace {}; create it, or \
                 delete this request and create one that names an existing stream",
                request.stream, request.name.namespace
            ),
        ),
    };
    let is_said = request.phase.as_ref() == Some(&phase)
        && request.reason.as_deref() == Some(reason)
        && request.message.as_deref() == Some(message.as_str());
    (!is_said).then_some(RequestStatus { phase, reason, message, job_name: None, accepted: false })
}

fn gather(caches: &Caches, name: &ObjectName) -> Option<Observed> {
    let request = (**caches.requests.get(name)?).clone();
    let class = caches.classes.get(&request.class).filter(|class| !class.deleting);
    let streams = class.and_then(|class| caches.kinds.get(&class.kind())).map(|kind| &kind.streams);
    Some(Observed {
        kind: class.map(|class| class.spec.kind_ref.clone()),
        has_stream: streams.is_some_and(|streams| streams.get(&request.stream_name()).is_some()),
        streams_are_known: streams.is_some_and(crate::caches::Table::is_synced),
        trouble_of_class: class.and_then(|class| class.recorded_trouble()).map(ToOwned::to_owned),
        request,
    })
}

/// Says what a request without a stream waits for.
pub async fn reconcile(context: &Context, name: &ObjectName) -> Result<Next, WriteError> {
    let key = Key::Request(name.clone());
    let observed = {
        let mut caches = context.caches();
        if let Some(wait) = caches.wait_for_own_writes(&key, Instant::now()) {
            return Ok(Next::After(wait));
        }
        gather(&caches, name)
    };
    let Some(observed) = observed else { return Ok(Next::Change) };
    let Some(status) = plan(&observed) else { return Ok(Next::Change) };
    let request = &observed.request;
    match write_request_status(context, &key, request, &status, None).await {
        // It is gone, or somebody else has written it: the watch will say so.
        Err(error) if error.is_not_found() || error.is_conflict() => return Ok(Next::After(MOVED_ON)),
        outcome => outcome?,
    }
    if request.reason.as_deref() != Some(status.reason) {
        let warning = status.phase == BackfillRequestPhase::Pending;
        let resource = resources::backfill_requests();
        context.tell(&resource, name, &request.uid, (status.reason, status.message, warning)).await;
    }
    Ok(Next::Change)
}

#[cfg(test)]
mod tests {
    use arcane_common::identity::Uid;

    use super::*;

    fn request() -> RequestFacts {
        RequestFacts {
            name: ObjectName::new("ns", "r"),
            uid: Uid::new("u"),
            resource_version: "1".into(),
            created: None,
            deleting: false,
            owners: Vec::new(),
            class: "c".into(),
            stream: "s".into(),
            completed: false,
            payload: None,
            spec: serde_json::Value::Null,
            phase: None,
            reason: None,
            message: None,
            job_name: None,
            stream_uid: None,
            start_time: None,
            completed_written: false,
            problem: None,
        }
    }

    fn decided(
        request: RequestFacts,
        kind: Option<&str>,
        has_stream: bool,
    ) -> Option<(BackfillRequestPhase, &'static str)> {
        let kind = kind.map(Into::into);
        let observed = Observed { request, kind, has_stream, streams_are_known: true, trouble_of_class: None };
        plan(&observed).map(|status| (status.phase, status.reason))
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(decided(request(), None, false), Some((BackfillRequestPhase::Pending, "StreamClassMissing")));
        assert_eq!(decided(request(), Some("K"), false), Some((BackfillRequestPhase::Pending, "StreamMissing")));
    }

    /// Its kind can't be watched: nobody knows whether the stream is there.
    #[test]
    fn the_trouble_of_its_class_is_what_it_waits_for() {
        let decide = |phase: Option<BackfillRequestPhase>, trouble: Option<&str>| {
            let request = RequestFacts { phase, ..request() };
            let trouble_of_class = trouble.map(ToOwned::to_owned);
            let kind = Some("K".to_owned());
            plan(&Observed { request, kind, has_stream: false, streams_are_known: false, trouble_of_class })
        };
        let said = decide(None, Some("there is no CustomResourceDefinition"));
        let said = said.map(|status| (status.phase, status.reason, status.message));
        let message = "waits until StreamClass c is ready, which says: there is no CustomResourceDefinition".to_owned();
        assert_eq!(said, Some((BackfillRequestPhase::Pending, "StreamClassNotReady", message)));
        assert_eq!(decide(None, None), None, "the streams are being listed");
        assert_eq!(decide(Some(BackfillRequestPhase::Running), Some("no right to list")), None);
    }

    #[test]
    fn what_belongs_to_a_stream_is_the_streams_business() {
        assert_eq!(decided(request(), Some("K"), true), None);
    }

    #[test]
    fn a_request_is_settled_by_its_user_or_by_the_end_of_its_stream() {
        let completed = RequestFacts { completed: true, ..request() };
        assert_eq!(decided(completed.clone(), None, false), Some((BackfillRequestPhase::Completed, "CompletedBefore")));
        let open = RequestFacts { phase: Some(BackfillRequestPhase::Pending), ..completed };
        assert_eq!(decided(open, Some("K"), false), Some((BackfillRequestPhase::Cancelled, "CancelledByUser")));
        let accepted = RequestFacts { stream_uid: Some(Uid::new("gone")), ..request() };
        assert_eq!(decided(accepted, Some("K"), false), Some((BackfillRequestPhase::Cancelled, "StreamDeleted")));
    }

    #[test]
    fn a_running_backfill_of_a_deleted_class_is_left_alone() {
        let running = RequestFacts { phase: Some(BackfillRequestPhase::Running), ..request() };
        assert_eq!(decided(running, None, false), None);
    }
}
