//! `kubectl arcane logs`: what a stream's program says.

use arcane_controller::facts::{JobFacts, PodFacts};
use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::LogParams};

use crate::{
    args::LogsArgs,
    cluster::Cluster,
    ending::{Answer, Ending, note_now, print, why},
    fleet::Stream,
    gather,
};

/// Prints the log of a stream's newest pod.
///
/// # Errors
/// When there is no such stream, no pod of it, or no log of that.
pub async fn run(cluster: &Cluster, args: &LogsArgs) -> Result<Answer, Ending> {
    let (_, stream) = gather::one_stream(cluster, &args.stream).await?;
    let pods = gather::pods(cluster, &stream).await.map_err(Ending::CannotAsk)?;
    let facts: Vec<PodFacts> = pods.iter().map(PodFacts::of).collect();
    let pod = chosen(&stream, &facts, args.backfill).map_err(Ending::Refused)?;
    let container = args.container.clone().or_else(|| {
        let pod = pods.iter().find(|it| it.name_any() == pod.name)?;
        default_container(pod)
    });
    let params = LogParams {
        container,
        follow: args.follow,
        previous: args.previous,
        tail_lines: args.tail,
        timestamps: args.timestamps,
        ..LogParams::default()
    };
    let of = format!("pod {}", pod.name);
    let trouble = pod.trouble.as_ref().map(|trouble| format!("; the pod: {trouble}")).unwrap_or_default();
    let unreadable = |words: String| Ending::Refused(format!("no log of {of}: {words}{trouble}"));
    note_now(&format!("# {of}"));
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &stream.name().namespace);
    let mut lines = api.log_stream(&pod.name, &params).await.map_err(|error| unreadable(why(&error)))?.lines();
    while let Some(line) = lines.try_next().await.map_err(|error| unreadable(error.to_string()))? {
        if print(&format!("{line}\n")).is_err() {
            // Nobody reads any more.
            break;
        }
    }
    Ok(Answer::default())
}

/// The pod whose log is meant: the newest of the Job that streams, or that backfills.
///
/// # Errors
/// When there is none, in words.
fn chosen<'a>(stream: &Stream, pods: &'a [PodFacts], backfill: bool) -> Result<&'a PodFacts, String> {
    let is_meant = |job: &&JobFacts| job.backfilling == backfill;
    let newest =
        |job: &JobFacts| pods.iter().filter(|pod| pod.job.as_ref() == Some(&job.uid)).max_by_key(|pod| pod.created);
    let mut jobs: Vec<&JobFacts> = stream.jobs.iter().filter(is_meant).collect();
    jobs.sort_by_key(|job| std::cmp::Reverse(job.created));
    if let Some(pod) = jobs.iter().find_map(|job| newest(job)) {
        return Ok(pod);
    }
    let name = stream.kind_and_name();
    let what = if backfill { "a backfill" } else { "streaming" };
    Err(match (jobs.first(), stream.jobs.iter().find(|job| job.backfilling != backfill)) {
        (Some(job), _) => {
            format!("Job {} of {name} has no pod: `kubectl arcane explain {name}` tells why", job.name.name)
        }
        (None, Some(other)) if backfill => {
            format!("{name} has no Job for {what}, only {} (without --backfill)", other.name.name)
        }
        (None, Some(other)) => format!("{name} has no Job for {what}, only {}: say --backfill", other.name.name),
        (None, None) if stream.facts.suspended => format!("{name} is suspended, so it has no Job and no log"),
        (None, None) => format!("{name} has no Job: `kubectl arcane explain {name}` tells why"),
    })
}

/// The container that kubectl would take.
fn default_container(pod: &Pod) -> Option<String> {
    let named = pod.annotations().get("kubectl.kubernetes.io/default-container").cloned();
    named.or_else(|| pod.spec.as_ref()?.containers.first().map(|container| container.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::samples::{a_fleet, a_pod};

    fn of(name: &str, pods: &[PodFacts], backfill: bool) -> Result<String, String> {
        let fleet = a_fleet();
        let stream = fleet.streams.iter().find(|stream| stream.name().name == name).unwrap();
        chosen(stream, pods, backfill).map(|pod| pod.name.clone())
    }

    #[test]
    fn the_newest_pod_of_the_job_that_is_meant_speaks() {
        let mut older = a_pod("older", "failed-uid-job", 3);
        older.created = None;
        let pods = [older, a_pod("newer", "failed-uid-job", 3), a_pod("others", "x", 0)];
        assert_eq!(of("failed", &pods, false).as_deref(), Ok("newer"));
    }

    #[test]
    fn where_there_is_none_it_is_said_where_else_to_look() {
        let said = |name, backfill| of(name, &[], backfill).unwrap_err();
        assert!(said("backfills", false).contains("say --backfill"));
        assert!(said("failed", false).contains("has no pod"));
        assert!(said("failed", true).contains("only failed (without --backfill)"));
        assert!(said("sleeps", false).contains("is suspended"));
        assert!(said("unseen", false).contains("explain"));
    }
}
