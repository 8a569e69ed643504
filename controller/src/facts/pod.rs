use arcane_common::identity::Uid;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use kube::{Resource, ResourceExt};

/// A pod of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// Its name.
    pub name: String,
    /// The node it is bound to.
    pub node: Option<String>,
    /// The Job that controls it.
    pub job: Option<Uid>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Whether all its containers have ended for good.
    pub finished: bool,
    /// Whether it has ended well, and by itself: one that is told to end may say so, too.
    pub succeeded: bool,
    /// Whether its deletion was asked for.
    pub deleting: bool,
    /// Whether its containers have yet to start.
    pub pending: bool,
    /// What is to be said of it: a container's exit code or waiting reason, why it has no node.
    pub trouble: Option<String>,
}

impl PodFacts {
    /// Reads a pod.
    pub fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or_default();
        Self {
            name: pod.name_any(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            job: pod
                .owner_references()
                .iter()
                .find(|owner| owner.controller == Some(true))
                .map(|owner| Uid::new(&owner.uid)),
            created: pod.meta().creation_timestamp.as_ref().map(|time| time.0),
            finished: matches!(phase, "Succeeded" | "Failed"),
            succeeded: phase == "Succeeded" && pod.meta().deletion_timestamp.is_none(),
            deleting: pod.meta().deletion_timestamp.is_some(),
            pending: matches!(phase, "" | "Pending"),
            trouble: trouble(pod),
        }
    }
}

fn trouble(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let of_containers = containers.filter_map(trouble_of_container).next();
    of_containers.or_else(|| told(status.reason.as_ref()?, status.message.as_ref())).or_else(|| {
        let scheduled = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled")?;
        (scheduled.status == "False").then(|| told(scheduled.reason.as_ref()?, scheduled.message.as_ref()))?
    })
}

fn told(reason: &String, message: Option<&String>) -> Option<String> {
    Some(match message {
        Some(message) => format!("{reason}: {message}"),
        None => reason.clone(),
    })
}

fn trouble_of_container(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    if let Some(terminated) = state.terminated.as_ref().filter(|terminated| terminated.exit_code != 0) {
        return Some(format!("container {} {}", container.name, how_it_ended(terminated)));
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    if reason == "CrashLoopBackOff" {
        // Its message tells how long the pause is, another each time; how the last run ended is what helps.
        let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
        let last = last.map(|last| format!(" after it {}", how_it_ended(last)));
        return Some(format!("container {} waits: {reason}{}", container.name, last.unwrap_or_default()));
    }
    (!matches!(reason, "ContainerCreating" | "PodInitializing")).then(|| match &waiting.message {
        Some(message) => format!("container {} waits: {reason}: {message}", container.name),
        None => format!("container {} waits: {reason}", container.name),
    })
}

fn how_it_ended(terminated: &ContainerStateTerminated) -> String {
    let reason = terminated.reason.as_deref().unwrap_or("Error");
    match terminated.signal {
        Some(signal) if signal != 0 => format!("was ended by signal {signal} ({reason})"),
        _ => format!("ended with exit code {} ({reason})", terminated.exit_code),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case::no_node(
        json!({"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available",
        }]}),
        (true, Some("Unschedulable: 0/3 nodes are available"))
    )]
    #[case::no_secret(
        json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}], "containerStatuses": [{
            "name": "stream", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"keys\" not found"}},
        }]}),
        (true, Some("container stream waits: CreateContainerConfigError: secret \"keys\" not found"))
    )]
    #[case::crashes(
        json!({"phase": "Running", "containerStatuses": [{
            "name": "stream", "image": "", "imageID": "", "ready": false, "restartCount": 4,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}},
        }]}),
        (false, Some("container stream waits: CrashLoopBackOff after it ended with exit code 3 (Error)"))
    )]
    #[case::out_of_memory(
        json!({"phase": "Failed", "containerStatuses": [{
            "name": "stream", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        }]}),
        (false, Some("container stream ended with exit code 137 (OOMKilled)"))
    )]
    #[case::runs(json!({"phase": "Running", "conditions": [{"type": "PodScheduled", "status": "True"}]}), (false, None))]
    fn what_is_said_of_a_pod(#[case] status: Value, #[case] (pending, trouble): (bool, Option<&str>)) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap_or_default();
        let facts = PodFacts::of(&pod);
        assert_eq!((facts.pending, facts.trouble.as_deref()), (pending, trouble));
    }
}
