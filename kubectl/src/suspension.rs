//! `kubectl arcane suspend` and `resume`: the brake. Nothing but the field `suspended` is written.

use arcane_common::stream::layout::Layout;
use serde_json::json;

use crate::{
    args::SelectionArgs,
    change::{self, Planned},
    cluster::Cluster,
    ending::{Answer, Ending},
    fleet::Stream,
};

/// Suspends or resumes streams.
///
/// # Errors
/// When the cluster can't be asked, or a stream that is named isn't there: then nothing is changed.
pub async fn run(cluster: &Cluster, args: &SelectionArgs, suspend: bool) -> Result<Answer, Ending> {
    let done = if suspend { "suspended" } else { "resumed" };
    change::run(cluster, args, done, |stream| plan(stream, suspend)).await
}

/// What suspends a stream, or lets it go on.
pub fn plan(stream: &Stream, suspend: bool) -> Planned {
    let name = stream.kind_and_name();
    if stream.facts.suspended == suspend {
        return Planned::Nothing(format!(
            "{name} {}",
            if suspend { "is suspended already" } else { "is not suspended" }
        ));
    }
    match Layout::of(&stream.facts.spec) {
        Ok(Layout::Flat) => Planned::Patch(json!({"spec": {"suspended": suspend}})),
        Ok(Layout::ExecutionV1 | Layout::ExecutionV2) => {
            Planned::Patch(json!({"spec": {"execution": {"suspended": suspend}}}))
        }
        Err(violation) => Planned::Impossible(format!("{name} can't be changed: {violation}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::fleet::samples::a_fleet;

    fn with_spec(spec: Value) -> Stream {
        let mut stream = a_fleet().streams.remove(0);
        stream.facts.suspended = arcane_common::stream::layout::is_suspended(&spec);
        stream.facts.spec = std::sync::Arc::new(spec);
        stream
    }

    #[test]
    fn the_field_is_where_the_layout_has_it() {
        let patch = |spec, suspend| match plan(&with_spec(spec), suspend) {
            Planned::Patch(patch) => patch.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(patch(json!({}), true), r#"{"spec":{"suspended":true}}"#);
        assert_eq!(patch(json!({"suspended": true}), false), r#"{"spec":{"suspended":false}}"#);
        let v2 = json!({"execution": {"layoutVersion": "v2"}, "suspended": true});
        assert_eq!(patch(v2, true), r#"{"spec":{"execution":{"suspended":true}}}"#);
        assert!(patch(json!({"execution": {"layoutVersion": "v9"}}), true).contains("Unsupported value"));
    }

    #[test]
    fn what_is_so_already_is_left_alone() {
        assert!(matches!(plan(&with_spec(json!({})), false), Planned::Nothing(_)));
        assert!(matches!(plan(&with_spec(json!({"suspended": true})), true), Planned::Nothing(_)));
    }
}
