//! What the workers have recorded: the truth about who wrote when.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, LogParams, PostParams};
use serde_json::{Value, json};

use crate::wait;
use crate::works::SOON;
use crate::world::{WORKS, World};

/// The records of streams, those of each in the order in which they were made. A pod on the node reads them to us.
pub async fn of(world: &World, streams: &[&str]) -> Vec<Value> {
    let told = reader(world, "records", streams).await;
    let records = told.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    records.unwrap_or_else(|error| panic!("the records can't be read: {error}\n{told}"))
}

/// Forgets the records of streams.
pub async fn forget(world: &World, streams: &[&str]) {
    reader(world, "forget", streams).await;
}

/// Those of an event.
pub fn events<'r>(records: &'r [Value], event: &str) -> Vec<&'r Value> {
    records.iter().filter(|record| record["event"] == event).collect()
}

/// Where two workers of one stream met: by the lock, or because one began before the one before had ended.
///
/// Only for streams none of whose workers was killed: such a worker leaves no end.
pub fn meetings(records: &[Value]) -> Vec<&Value> {
    let mut at_work: std::collections::BTreeMap<&str, &str> = std::collections::BTreeMap::new();
    let mut meetings = Vec::new();
    for record in records {
        let of = |field: &str| record[field].as_str().unwrap_or_default();
        match of("event") {
            "begin" => {
                if at_work.insert(of("stream"), of("pod")).is_some() {
                    meetings.push(record);
                }
            }
            "end" => {
                if at_work.remove(of("stream")) != Some(of("pod")) {
                    meetings.push(record);
                }
            }
            _ => meetings.push(record),
        }
    }
    meetings
}

async fn reader(world: &World, what: &str, streams: &[&str]) -> String {
    let arguments = [&[what], streams].concat();
    let pods: Api<Pod> = Api::namespaced(world.client(), WORKS);
    let pod: Pod = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "reader-"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{
                "name": "reader", "image": world.images.worker(), "imagePullPolicy": "IfNotPresent", "args": arguments,
                "volumeMounts": [{"name": "records", "mountPath": "/records"}],
            }],
            "volumes": [{
                "name": "records",
                "hostPath": {"path": "/var/lib/kubelet/arcane-e2e-records", "type": "DirectoryOrCreate"},
            }],
        },
    }))
    .unwrap_or_else(|error| panic!("{error}"));
    let pod = pods.create(&PostParams::default(), &pod).await.unwrap_or_else(|error| panic!("no reader: {error}"));
    let name = pod.name_any();
    wait::until(SOON, "end of the reader", || async {
        let phase = pods.get(&name).await.map_err(|error| error.to_string())?.status.and_then(|status| status.phase);
        if phase.as_deref() == Some("Succeeded") { Ok(()) } else { Err(format!("{phase:?}")) }
    })
    .await;
    let told =
        pods.logs(&name, &LogParams::default()).await.unwrap_or_else(|error| panic!("the reader's log: {error}"));
    let _ = pods.delete(&name, &DeleteParams::default()).await;
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(event: &str, pod: &str) -> Value {
        json!({"stream": "orders", "event": event, "pod": pod})
    }

    #[test]
    fn workers_one_after_the_other_do_not_meet() {
        let records = [record("begin", "a"), record("end", "a"), record("begin", "b"), record("end", "b")];
        assert_eq!(meetings(&records), Vec::<&Value>::new());
    }

    #[test]
    fn a_worker_that_begins_before_the_other_has_ended_meets_it_with_or_without_a_lock() {
        let overlapping = [record("begin", "a"), record("begin", "b"), record("end", "b"), record("end", "a")];
        assert_eq!(meetings(&overlapping), [&overlapping[1], &overlapping[3]]);
        let locked_out = [record("begin", "a"), record("second-writer", "b"), record("end", "a")];
        assert_eq!(meetings(&locked_out), [&locked_out[1]]);
    }
}
