//! `kubectl arcane restart`: a new value of the annotation that restarts a stream.

use arcane_common::api::well_known;
use jiff::{Timestamp, Unit};
use serde_json::json;

use crate::{
    args::SelectionArgs,
    change::{self, Planned},
    cluster::Cluster,
    ending::{Answer, Ending},
    fleet::Stream,
};

/// Restarts streams.
///
/// # Errors
/// When the cluster can't be asked, or a stream that is named isn't there: then nothing is changed.
pub async fn run(cluster: &Cluster, args: &SelectionArgs) -> Result<Answer, Ending> {
    let now = Timestamp::now();
    change::run(cluster, args, "restarts", |stream| plan(stream, now)).await
}

/// What restarts a stream.
pub fn plan(stream: &Stream, now: Timestamp) -> Planned {
    if stream.facts.suspended {
        let name = stream.kind_and_name();
        return Planned::Nothing(format!("{name} is suspended: `kubectl arcane resume {name}` starts it"));
    }
    let now = now.round(Unit::Millisecond).unwrap_or(now);
    Planned::Patch(json!({"metadata": {"annotations": {well_known::ANNOTATION_RESTARTED_AT: now.to_string()}}}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::samples::{a_fleet, at};

    #[test]
    fn a_restart_is_an_annotation_and_none_for_what_is_suspended() {
        let planned = |name: &str| {
            let fleet = a_fleet();
            plan(fleet.streams.iter().find(|stream| stream.name().name == name).unwrap(), at("12:00:00"))
        };
        let patch = json!({"metadata": {"annotations": {"arcane/restarted-at": "2026-01-02T12:00:00Z"}}});
        assert_eq!(planned("failed"), Planned::Patch(patch));
        assert!(matches!(planned("sleeps"), Planned::Nothing(_)));
    }
}
