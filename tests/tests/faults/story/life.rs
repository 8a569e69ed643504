use std::collections::BTreeMap;

use serde_json::json;

use super::{MANUAL, STREAM, TTL, stands, streams};
use crate::place::{Place, a_spec};
use crate::rules::UserDid;

pub(super) fn user_did() -> UserDid {
    let spec = a_spec();
    let mut suspended = spec.clone();
    suspended["suspended"] = json!(true);
    let mut resumed = spec.clone();
    resumed["suspended"] = json!(false);
    let mut changed = resumed.clone();
    changed["sourceTable"] = json!("Customers");
    UserDid {
        specs: BTreeMap::from([(STREAM.to_owned(), vec![spec, suspended, resumed, changed])]),
        requests: vec![MANUAL.to_owned()],
        ..UserDid::default()
    }
}

pub(super) async fn tell(place: &Place<'_>) -> Result<(), String> {
    place.create_stream(STREAM, &a_spec()).await?;
    stands(place, "create", &streams(1, &["initial"])).await?;

    place.change_stream(STREAM, json!({"suspended": true})).await?;
    let suspended = format!(
        "stream Suspended (Ready for Suspended), its Job is \ngeneration 2 observed\n\
         request initial Completed, completed, written\nJob of initial complete, goes after {TTL} s"
    );
    stands(place, "suspend", &suspended).await?;

    place.change_stream(STREAM, json!({"suspended": false})).await?;
    stands(place, "resume", &streams(3, &["initial"])).await?;

    place.request_backfill(MANUAL, STREAM).await?;
    stands(place, "manual backfill", &streams(3, &["initial", MANUAL])).await?;

    place.change_stream(STREAM, json!({"sourceTable": "Customers"})).await?;
    stands(place, "spec change", &streams(4, &["initial", MANUAL])).await
}
