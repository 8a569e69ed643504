use std::collections::BTreeMap;
use std::time::Duration;

use arcane_tests::{PodBehaviour, PodKind};
use serde_json::json;

use super::{STREAM, TTL, stands, streams};
use crate::place::{Place, a_spec};
use crate::rules::UserDid;

pub(super) fn user_did() -> UserDid {
    let spec = a_spec();
    let mut changed = spec.clone();
    changed["sourceTable"] = json!("Customers");
    UserDid { specs: BTreeMap::from([(STREAM.to_owned(), vec![spec, changed])]), ..UserDid::default() }
}

pub(super) async fn tell(place: &Place<'_>) -> Result<(), String> {
    place.create_stream(STREAM, &a_spec()).await?;
    stands(place, "create", &streams(1, &["initial"])).await?;

    place.delete_template("streaming").await?;
    let outdated = |generation: u32, spec: &str| {
        let stream = "stream Running (Ready for Running), its Job is orders\nstream not up to date for TemplateMissing";
        let streams = streams(generation, &["initial"]).replace("of the present spec", spec);
        streams.replacen("stream Running (Ready for Running), its Job is orders", stream, 1)
    };
    stands(place, "template deleted", &outdated(1, "of the present spec")).await?;

    place.change_stream(STREAM, json!({"sourceTable": "Customers"})).await?;
    stands(place, "spec change without the template", &outdated(2, "of an earlier spec")).await?;

    place.create_streaming_template().await?;
    stands(place, "template created again", &streams(2, &["initial"])).await?;

    let fails = PodBehaviour::exits(3, Duration::from_millis(100));
    place.kubelet().set(place.name(), STREAM, PodKind::Streaming, fails);
    let failed = format!(
        "stream Failed (not ready for JobFailed), its Job is orders\nstream Stalled\ngeneration 2 observed\n\
         request initial Completed, completed, written\nJob of initial complete, goes after {TTL} s\n\
         Job of the stream failed"
    );
    stands(place, "Job fails", &failed).await?;

    place.kubelet().unset(place.name(), STREAM, PodKind::Streaming);
    place.restart_stream(STREAM, "1").await?;
    stands(place, "restart", &streams(2, &["initial"])).await
}
