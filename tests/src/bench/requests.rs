//! What somebody asked of the API server, counted from its audit log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::audit_log::AuditedRequest;

/// Numbers of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Creations, changes and deletions; events, Leases and classes don't count.
    pub writes: usize,
    /// Writes about classes, which say how many streams they have: not for each stream, but every few seconds.
    pub classes: usize,
    /// Single objects and lists.
    pub reads: usize,
    /// Watches that were started.
    pub watches: usize,
    /// Events.
    pub events: usize,
    /// What was asked for a Lease.
    pub leases: usize,
    /// Those that ended with 409: somebody else had written.
    pub conflicts: usize,
    /// Each kind of request with its number, e.g. `patch streams/status`.
    pub kinds: BTreeMap<String, usize>,
}

impl Requests {
    /// Counts these. All kinds of streams, which are those whose plural is among `streams`, count as one.
    pub fn count(requests: &[AuditedRequest], streams: &[String]) -> Self {
        let mut counted = Self::default();
        for request in requests {
            let number = match (request.resource.as_str(), request.verb.as_str()) {
                ("leases", _) => &mut counted.leases,
                ("events", _) => &mut counted.events,
                (_, "watch") => &mut counted.watches,
                (_, "get" | "list" | "head") => &mut counted.reads,
                ("streamclasses", _) => &mut counted.classes,
                _ => &mut counted.writes,
            };
            *number += 1;
            counted.conflicts += usize::from(request.code == 409);
            *counted.kinds.entry(kind(request, streams)).or_default() += 1;
        }
        counted
    }

    /// All of them.
    pub fn all(&self) -> usize {
        self.writes + self.classes + self.reads + self.watches + self.events + self.leases
    }
}

/// The verb and what it is about.
pub(super) fn kind(request: &AuditedRequest, streams: &[String]) -> String {
    let resource = match request.resource.as_str() {
        "" => request.uri.split('?').next().unwrap_or_default(),
        resource if streams.iter().any(|plural| plural == resource) => "streams",
        resource => resource,
    };
    match request.subresource.as_str() {
        "" => format!("{} {resource}", request.verb),
        subresource => format!("{} {resource}/{subresource}", request.verb),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(verb: &str, resource: &str, subresource: &str, code: u16) -> AuditedRequest {
        AuditedRequest {
            user: "operator".into(),
            verb: verb.into(),
            uri: "/x?limit=500".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            group: String::new(),
            namespace: String::new(),
            name: String::new(),
            stage: "ResponseComplete".into(),
            code,
            at: jiff::Timestamp::UNIX_EPOCH,
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn each_request_counts_once_as_what_it_is() {
        let requests = [
            request("patch", "benchstreams0", "status", 200),
            request("patch", "benchstreams1", "status", 409),
            request("patch", "streamclasses", "status", 200),
            request("get", "streamclasses", "", 200),
            request("create", "events", "", 201),
            request("update", "leases", "", 200),
            request("list", "jobs", "", 200),
            request("watch", "jobs", "", 200),
            request("get", "", "", 200),
        ];
        let counted = Requests::count(&requests, &["benchstreams0".into(), "benchstreams1".into()]);
        let numbers = [counted.writes, counted.classes, counted.reads, counted.watches, counted.events, counted.leases];
        assert_eq!((numbers, counted.conflicts, counted.all()), ([2, 1, 3, 1, 1, 1], 1, 9));
        assert_eq!(counted.kinds["patch streams/status"], 2);
        assert_eq!(counted.kinds["get /x"], 1);
    }
}
