use std::collections::BTreeMap;

use arcane_tests::{PodBehaviour, PodKind};
use serde_json::json;

use super::{LATER, MANUAL, STREAM, stands, streams};
use crate::place::{Place, a_spec};
use crate::rules::UserDid;

pub(super) fn user_did() -> UserDid {
    let mut spec = a_spec();
    let mut specs = Vec::new();
    for suspended in [true, false, true, false] {
        spec["suspended"] = json!(suspended);
        specs.push(spec.clone());
    }
    spec["sourceTable"] = json!("Customers");
    specs.push(spec);
    UserDid {
        specs: BTreeMap::from([(STREAM.to_owned(), specs)]),
        requests: vec![MANUAL.to_owned(), LATER.to_owned()],
        created_suspended: vec![STREAM.to_owned()],
        withdrawn: vec![MANUAL.to_owned()],
    }
}

pub(super) async fn tell(place: &Place<'_>) -> Result<(), String> {
    let backfills = |generation: u32| {
        format!(
            "stream Backfilling (Ready for Backfilling), its Job is orders-backfill\ngeneration {generation} observed\n\
             request {MANUAL} Running\nJob of {MANUAL} unfinished, of the present spec\npod of a backfill Running"
        )
    };
    let mut spec = a_spec();
    spec["suspended"] = json!(true);
    place.create_stream(STREAM, &spec).await?;
    let suspended = |generation: u32| {
        format!("stream Suspended (Ready for Suspended), its Job is \ngeneration {generation} observed")
    };
    stands(place, "create suspended", &suspended(1)).await?;

    place.change_stream(STREAM, json!({"suspended": false})).await?;
    stands(place, "resume, without a backfill", &streams(2, &[])).await?;

    // What is told to end may do so as if its work were done.
    let polite = PodBehaviour::runs().and(PodBehaviour::ends_politely());
    place.kubelet().set(place.name(), STREAM, PodKind::Backfill, polite);
    place.request_backfill(MANUAL, STREAM).await?;
    stands(place, "backfill", &backfills(2)).await?;

    place.change_stream(STREAM, json!({"suspended": true})).await?;
    stands(place, "suspend in the backfill", &format!("{}\nrequest {MANUAL} Pending", suspended(3))).await?;

    place.change_stream(STREAM, json!({"suspended": false})).await?;
    stands(place, "resume into the backfill", &backfills(4)).await?;

    place.change_stream(STREAM, json!({"sourceTable": "Customers"})).await?;
    stands(place, "spec change in the backfill", &backfills(5)).await?;

    place.withdraw_backfill(MANUAL).await?;
    stands(place, "request deleted in the backfill", &streams(5, &[])).await?;

    place.kubelet().unset(place.name(), STREAM, PodKind::Backfill);
    place.request_backfill(LATER, STREAM).await?;
    stands(place, "another backfill", &streams(5, &[LATER])).await
}
