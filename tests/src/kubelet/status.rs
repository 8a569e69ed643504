//! The statuses that a kubelet would write.

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use serde_json::{Value, json};

fn now() -> Value {
    json!(Time(jiff::Timestamp::now()))
}

pub(super) fn of_node() -> Value {
    let room = json!({"cpu": "1000", "memory": "4Ti", "pods": "10000"});
    json!({
        "capacity": room,
        "allocatable": room,
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Simulated", "message": "there is no machine behind it",
            "lastTransitionTime": now(), "lastHeartbeatTime": now(),
        }],
    })
}

pub(super) fn image_pull_back_off(pod: &Pod) -> Value {
    let statuses = containers(pod, |container| {
        let image = container.image.as_deref().unwrap_or_default();
        let waiting = json!({
            "reason": "ImagePullBackOff",
            "message": format!("Back-off pulling image \"{image}\""),
        });
        (false, json!({"waiting": waiting}))
    });
    json!({
        "phase": "Pending",
        "startTime": now(),
        "conditions": conditions(false, Some("ContainersNotReady")),
        "containerStatuses": statuses,
    })
}

pub(super) fn running(pod: &Pod) -> Value {
    json!({
        "phase": "Running",
        "startTime": now(),
        "hostIP": "127.0.0.1",
        "podIP": "127.0.0.1",
        "podIPs": [{"ip": "127.0.0.1"}],
        "conditions": conditions(true, None),
        "containerStatuses": containers(pod, |_| (true, json!({"running": {"startedAt": now()}}))),
        "initContainerStatuses": init_containers(pod),
    })
}

pub(super) fn succeeded(pod: &Pod) -> Value {
    ended(pod, "Succeeded", "PodCompleted", json!({"exitCode": 0, "reason": "Completed"}))
}

pub(super) fn failed(pod: &Pod, exit_code: i32, message: Option<&str>) -> Value {
    let mut terminated = json!({"exitCode": exit_code, "reason": "Error"});
    if let Some(message) = message {
        terminated["message"] = json!(message);
    }
    ended(pod, "Failed", "PodFailed", terminated)
}

fn ended(pod: &Pod, phase: &str, reason: &str, mut terminated: Value) -> Value {
    terminated["startedAt"] = json!(pod.status.as_ref().and_then(|status| status.start_time.clone()));
    terminated["finishedAt"] = now();
    json!({
        "phase": phase,
        "conditions": conditions(false, Some(reason)),
        "containerStatuses": containers(pod, |_| (false, json!({"terminated": terminated}))),
    })
}

fn conditions(ready: bool, reason: Option<&str>) -> Value {
    let status = if ready { "True" } else { "False" };
    json!([
        {"type": "Initialized", "status": "True", "lastTransitionTime": now()},
        {"type": "ContainersReady", "status": status, "reason": reason, "lastTransitionTime": now()},
        {"type": "Ready", "status": status, "reason": reason, "lastTransitionTime": now()},
    ])
}

fn containers(pod: &Pod, state: impl Fn(&Container) -> (bool, Value)) -> Vec<Value> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .map(|container| {
            let (ready, state) = state(container);
            container_status(pod, container, ready, &state)
        })
        .collect()
}

fn init_containers(pod: &Pod) -> Vec<Value> {
    let completed =
        json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now(), "finishedAt": now()}});
    let containers = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    containers.map(|container| container_status(pod, container, true, &completed)).collect()
}

fn container_status(pod: &Pod, container: &Container, ready: bool, state: &Value) -> Value {
    let waiting = state.get("waiting").is_some();
    let mut status = json!({
        "name": container.name,
        "image": container.image.as_deref().unwrap_or_default(),
        "imageID": "",
        "ready": ready,
        "started": state.get("running").is_some(),
        "restartCount": 0,
        "state": state,
    });
    if !waiting {
        status["containerID"] = json!(format!("simulated://{}/{}", pod.uid().unwrap_or_default(), container.name));
    }
    status
}
