//! `kubectl arcane backfills`: what was backfilled, and how it went.

use arcane_common::api::BackfillRequest;
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::{
    args::{BackfillsArgs, Format},
    cluster::Cluster,
    ending::{Answer, Ending, Verdict},
    gather,
    screen::{ago, duration, for_machines, table, time},
    status::{ShownBackfill, request_phase, request_told},
};

/// Shows the requests of a stream.
///
/// # Errors
/// When there is no such stream; when the cluster can't be asked.
pub async fn run(cluster: &Cluster, args: &BackfillsArgs) -> Result<Answer, Ending> {
    let (fleet, stream) = gather::one_stream(cluster, &args.stream).await?;
    let text = match args.output {
        Some(format @ (Format::Json | Format::Yaml)) => {
            let shown: Vec<ShownBackfill> = stream.requests.iter().map(ShownBackfill::of).collect();
            for_machines(&shown, format)
        }
        None | Some(Format::Wide) => history(&stream.requests, args.output.is_some(), Timestamp::now()),
    };
    let mut answer = Answer::of(text).noting(fleet.gaps);
    if !answer.notes.is_empty() {
        answer.verdict = Verdict::Unknown;
    } else if stream.requests.is_empty() {
        answer.notes.push(format!("no backfills of {}", stream.kind_and_name()));
    }
    Ok(answer)
}

fn history(requests: &[BackfillRequest], wide: bool, now: Timestamp) -> String {
    if requests.is_empty() {
        return String::new();
    }
    let mut head = vec!["NAME", "PHASE", "CREATED", "STARTED", "TOOK", "JOB", "REASON"];
    if wide {
        head.push("MESSAGE");
    }
    let rows: Vec<Vec<String>> = requests
        .iter()
        .map(|request| {
            let status = request.status.clone().unwrap_or_default();
            let (started, ended) = (status.start_time.map(|time| time.0), status.completion_time.map(|time| time.0));
            let took = started.map(|from| duration(ended.unwrap_or(now).duration_since(from).as_secs()));
            let phase = request_phase(request);
            let told = request_told(request);
            let reason = told.as_ref().map(|told| told.reason.clone()).filter(|reason| reason != phase.as_str());
            let mut row = vec![
                request.name_any(),
                phase.to_string(),
                ago(request.creation_timestamp().map(|time| time.0), now),
                time(started),
                took.map_or_else(
                    || "-".to_owned(),
                    |took| if ended.is_some() { took } else { format!("{took} so far") },
                ),
                status.job_name.unwrap_or_else(|| "-".to_owned()),
                reason.unwrap_or_default(),
            ];
            if wide {
                row.push(told.map(|told| told.message).unwrap_or_default());
            }
            row
        })
        .collect();
    table(&head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::samples::{a_fleet, at};

    #[test]
    fn the_newest_is_on_top() {
        let stream = a_fleet().streams.remove(0);
        insta::assert_snapshot!("history", history(&stream.requests, true, at("12:00:00")));
    }
}
