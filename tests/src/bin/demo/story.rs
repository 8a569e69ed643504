//! The life of the users guide's streams, step by step.

use std::time::Duration;

use arcane_tests::{PodBehaviour, PodKind, eventually};

use crate::screen::{OUTPUT_WIDTH, Screen, Unseen};
use crate::seen::{JobState, NAMESPACE, Seen};
use crate::stage::{Stage, kubectl, unseen};
use crate::text::{table_without, words, wrapped};

/// The guide's streams. A Job is named like its stream, a backfill's like this.
const ORDERS: &str = "orders-stream";
const ORDERS_BACKFILL: &str = "orders-stream-backfill";
const DATABASE: &str = "my-database-stream";
const DATABASE_BACKFILL: &str = "my-database-stream-backfill";

/// How long anything may take.
const SOON: Duration = Duration::from_secs(30);
/// How long what the contract calls "within 1 s" may take.
const A_SECOND: Duration = Duration::from_secs(1);
/// A garbage collector that has just been given new kinds learns of them within 30 s, and tries again after as much.
const UNTIL_COLLECTED: Duration = Duration::from_secs(90);

/// How many steps there are.
pub const STEPS: usize = 7;

/// Tells it all, to the first thing that doesn't happen.
pub async fn tell(stage: &mut Stage, screen: &Screen) -> Result<(), Unseen> {
    let mut story = Story { stage, screen };
    story.a_new_stream_is_backfilled_then_runs().await?;
    story.a_missing_template_is_named_and_waited_for().await?;
    story.suspended_it_has_no_job().await?;
    story.resumed_it_goes_on_without_a_backfill().await?;
    story.a_manual_backfill_runs_once().await?;
    story.a_killed_controller_forgets_nothing().await?;
    story.a_deleted_stream_takes_everything_with_it().await
}

struct Story<'a> {
    stage: &'a mut Stage,
    screen: &'a Screen,
}

impl Story<'_> {
    async fn a_new_stream_is_backfilled_then_runs(&mut self) -> Result<(), Unseen> {
        self.screen.heading("1  A new stream: first its backfill, then it runs");
        self.let_backfills_run(ORDERS); // until it has been shown
        self.run(
            "kubectl create secret generic my-database-creds --namespace data-streaming \
             --from-literal=connectionString=\"Server=myserver;Database=mydb;...\" \
             --from-literal=storageAccountKey=\"your-storage-key\"",
        )
        .await?;
        self.run("kubectl apply -f examples/guide/sqlserver-stream-template.yaml -f examples/guide/my-stream.yaml")
            .await?;
        self.expect(ORDERS, "a BackfillRequest has appeared", |seen| seen.requests.len() == 1).await?;
        self.expect(ORDERS, "Job orders-stream-backfill runs, phase Backfilling", |seen| {
            seen.job_is(ORDERS_BACKFILL, JobState::Runs) && seen.phase_is("Backfilling")
        })
        .await?;
        self.run("kubectl get jobs -l streamId=orders-stream -n data-streaming").await?;
        self.let_backfills_end(ORDERS);
        self.expect(ORDERS, "the Job has ended, the BackfillRequest is completed", |seen| {
            seen.job_is(ORDERS_BACKFILL, JobState::Complete) && seen.is_completed("")
        })
        .await?;
        self.expect(ORDERS, "Job orders-stream runs, phase Running", |seen| runs(seen, ORDERS)).await?;
        self.run("kubectl get sqlserverchangetrackingstreams -n data-streaming").await?;
        if self.stage.has_webhook() {
            self.screen.aside("The namespace of a template may be left out: it is filled in.");
            self.run(
                "kubectl apply --dry-run=server -f examples/short-stream.yaml \
                 -o jsonpath='{.spec.jobTemplateRef}'",
            )
            .await?;
        }
        Ok(())
    }

    async fn a_missing_template_is_named_and_waited_for(&mut self) -> Result<(), Unseen> {
        self.screen.heading("2  A stream whose template is missing");
        if self.stage.has_webhook() {
            self.refused("kubectl apply -f examples/guide/my-database-stream.yaml").await?;
            self.expect(DATABASE, "the webhook has refused it, nothing of it is stored", Seen::is_gone).await?;
            self.screen.aside("A GitOps tool applies in any order and comes again: it is warned, as Flux is here.");
            self.run(
                "kubectl apply --server-side --field-manager=kustomize-controller \
                 -f examples/guide/my-database-stream.yaml",
            )
            .await?;
        } else {
            self.run("kubectl apply -f examples/guide/my-database-stream.yaml").await?;
        }
        self.expect(DATABASE, "phase Pending, Ready=False with the reason TemplateMissing", |seen| {
            let told = seen.ready.as_ref().is_some_and(|ready| {
                !ready.is_true()
                    && ready.reason == "TemplateMissing"
                    && ready
                        .message
                        .contains("spec.backfillJobTemplateRef.name: Not found: \"sqlserver-backfill-template\"")
            });
            told && seen.phase_is("Pending") && seen.jobs.is_empty()
        })
        .await?;
        self.run("kubectl events --for sqlserverchangetrackingstream/my-database-stream -n data-streaming").await?;
        self.run("kubectl apply -f examples/guide/sqlserver-backfill-template.yaml").await?;
        self.expect_within(A_SECOND, DATABASE, "it has gone on within a second: phase Backfilling", |seen| {
            seen.phase_is("Backfilling") || runs(seen, DATABASE)
        })
        .await?;
        self.expect(DATABASE, "its backfill is completed, Job my-database-stream runs, phase Running", |seen| {
            seen.is_completed("") && runs(seen, DATABASE)
        })
        .await
        .map(drop)
    }

    async fn suspended_it_has_no_job(&mut self) -> Result<(), Unseen> {
        self.screen.heading("3  Suspend: the Job goes, the definition stays");
        self.run(
            "kubectl patch sqlserverchangetrackingstreams orders-stream -n data-streaming \
             --type merge -p '{\"spec\":{\"suspended\":true}}'",
        )
        .await?;
        self.expect(ORDERS, "Job orders-stream and its pod have gone, phase Suspended", |seen| {
            seen.job(ORDERS).is_none() && !seen.has_pod_of(ORDERS) && seen.phase_is("Suspended")
        })
        .await?;
        self.run("kubectl get sqlserverchangetrackingstreams -n data-streaming").await
    }

    async fn resumed_it_goes_on_without_a_backfill(&mut self) -> Result<(), Unseen> {
        self.screen.heading("4  Resume: the Job is back, nothing is backfilled again");
        let before = self.backfills(ORDERS);
        self.run(
            "kubectl patch sqlserverchangetrackingstreams orders-stream -n data-streaming \
             --type merge -p '{\"spec\":{\"suspended\":false}}'",
        )
        .await?;
        self.expect(ORDERS, "Job orders-stream runs, phase Running, no new BackfillRequest", |seen| {
            runs(seen, ORDERS) && seen.requests.len() == 1
        })
        .await?;
        self.same_number_of_backfills(ORDERS, before)
    }

    async fn a_manual_backfill_runs_once(&mut self) -> Result<(), Unseen> {
        self.screen.heading("5  A backfill by hand");
        let before = self.backfills(ORDERS);
        self.let_backfills_run(ORDERS);
        self.run("kubectl apply -f examples/guide/backfill.yaml").await?;
        self.expect(ORDERS, "Job orders-stream made way, orders-stream-backfill runs, phase Backfilling", |seen| {
            seen.job(ORDERS).is_none() && seen.job_is(ORDERS_BACKFILL, JobState::Runs) && seen.phase_is("Backfilling")
        })
        .await?;
        self.run("kubectl get backfillrequest -n data-streaming").await?;
        self.let_backfills_end(ORDERS);
        self.expect(ORDERS, "BackfillRequest orders-backfill-jan-2026 is completed", |seen| {
            seen.is_completed("orders-backfill-jan-2026")
        })
        .await?;
        self.expect(ORDERS, "streaming goes on: Job orders-stream runs, phase Running", |seen| runs(seen, ORDERS))
            .await?;
        self.same_number_of_backfills(ORDERS, before + 1)
    }

    async fn a_killed_controller_forgets_nothing(&mut self) -> Result<(), Unseen> {
        self.screen
            .heading("6  The controller is killed (SIGKILL) in the middle of a backfill, which then ends without it");
        let screen = self.screen;
        let before = self.backfills(DATABASE);
        self.let_backfills_run(DATABASE);
        self.run("kubectl apply -f examples/guide/backfill-2024-01.yaml").await?;
        let running = |seen: &Seen| {
            let request = seen.request("backfill-2024-01").is_some_and(|request| request.phase == "Running");
            request && seen.job_is(DATABASE_BACKFILL, JobState::Runs) && seen.phase_is("Backfilling")
        };
        let seen = self.expect(DATABASE, "Job my-database-stream-backfill runs, phase Backfilling", running).await?;
        let job = seen.job(DATABASE_BACKFILL).map(|job| job.uid.clone());
        screen.check("the controller is killed", self.stage.kill_controller()).await?;
        self.let_backfills_end(DATABASE);
        self.expect(DATABASE, "the Job ends; the BackfillRequest still says Running", |seen| {
            let request = seen.request("backfill-2024-01").is_some_and(|request| request.phase == "Running");
            request && seen.job_is(DATABASE_BACKFILL, JobState::Complete)
        })
        .await?;
        screen.check("the controller is started again", self.stage.start_controller()).await?;
        self.expect(DATABASE, "BackfillRequest backfill-2024-01 is completed by that Job, no second one", |seen| {
            seen.is_completed("backfill-2024-01") && seen.job(DATABASE_BACKFILL).map(|job| job.uid.clone()) == job
        })
        .await?;
        self.expect(DATABASE, "streaming goes on: Job my-database-stream runs, phase Running", |seen| {
            runs(seen, DATABASE) && seen.requests.len() == 2
        })
        .await?;
        self.same_number_of_backfills(DATABASE, before + 1)
    }

    async fn a_deleted_stream_takes_everything_with_it(&mut self) -> Result<(), Unseen> {
        self.screen.heading("7  Delete: everything of the stream goes");
        self.run("kubectl delete sqlserverchangetrackingstreams orders-stream -n data-streaming").await?;
        let label = "its Jobs, pods and BackfillRequests have gone";
        self.expect_within(UNTIL_COLLECTED, ORDERS, label, Seen::is_gone).await?;
        self.expect(DATABASE, "the other stream runs on", |seen| runs(seen, DATABASE)).await?;
        let pods = self.stage.kubelet().history();
        let label = "and never, in all this, did two pods of one stream run at the same time";
        self.screen.check(label, async { alone(&pods) }).await
    }

    /// Runs a command just as it is shown, and shows what it printed.
    async fn run(&self, command: &str) -> Result<(), Unseen> {
        self.screen.command(command);
        let words = words(command);
        let arguments: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        let printed = kubectl(&self.stage.cluster, &arguments).await;
        let printed = printed.map_err(|error| unseen(&format!("a command that succeeds: {command}"), error))?;
        self.screen.output(&shown(&printed));
        Ok(())
    }

    /// Runs a command that is to fail, and shows what it complained of.
    async fn refused(&self, command: &str) -> Result<(), Unseen> {
        self.screen.command(command);
        let words = words(command);
        let arguments: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        match kubectl(&self.stage.cluster, &arguments).await {
            Ok(printed) => Err(unseen(&format!("a command that is refused: {command}"), printed)),
            Err(complaint) => {
                self.screen.output(&complaint.lines().flat_map(|line| wrapped(line, OUTPUT_WIDTH)).collect::<Vec<_>>());
                Ok(())
            }
        }
    }

    /// Waits until what is there of a stream is as wanted, and ticks that off.
    async fn expect(&self, stream: &str, label: &str, wanted: impl Fn(&Seen) -> bool) -> Result<Seen, Unseen> {
        self.expect_within(SOON, stream, label, wanted).await
    }

    async fn expect_within(
        &self,
        deadline: Duration,
        stream: &str,
        label: &str,
        wanted: impl Fn(&Seen) -> bool,
    ) -> Result<Seen, Unseen> {
        let (cluster, wanted) = (&self.stage.cluster, &wanted);
        let looked = eventually(deadline, label, || async move {
            let seen = Seen::of(cluster, stream).await.map_err(|error| error.to_string())?;
            if wanted(&seen) { Ok(seen) } else { Err(seen.to_string()) }
        });
        let looked = async { looked.await.map_err(|timeout| format!("{stream}: {}", timeout.last)) };
        self.screen.check(label, looked).await
    }

    fn let_backfills_run(&self, stream: &str) {
        self.stage.kubelet().set(NAMESPACE, stream, PodKind::Backfill, PodBehaviour::runs());
    }

    fn let_backfills_end(&self, stream: &str) {
        self.stage.kubelet().unset(NAMESPACE, stream, PodKind::Backfill);
    }

    /// How many backfill pods of a stream have run.
    fn backfills(&self, stream: &str) -> usize {
        let history = self.stage.kubelet().history();
        history.iter().filter(|run| run.stream_id == stream && run.kind == PodKind::Backfill).count()
    }

    fn same_number_of_backfills(&self, stream: &str, wanted: usize) -> Result<(), Unseen> {
        match self.backfills(stream) {
            count if count == wanted => Ok(()),
            count => Err(unseen(&format!("{wanted} backfill pods of {stream} in all"), format!("{count} have run"))),
        }
    }
}

/// What is shown of a command's output: nothing that differs from run to run, nor what the text around it says.
fn shown(printed: &str) -> Vec<String> {
    let header = printed.lines().next().unwrap_or_default();
    if header.starts_with("LAST SEEN") {
        return table_without(printed, &["LAST SEEN", "TYPE", "OBJECT"], OUTPUT_WIDTH);
    }
    if header.to_uppercase() == header {
        return table_without(printed, &["AGE", "DURATION", "READY", "REASON"], OUTPUT_WIDTH);
    }
    printed.lines().flat_map(|line| wrapped(line, OUTPUT_WIDTH)).collect()
}

/// Whether the stream streams: its Job runs, and its phase says so.
fn runs(seen: &Seen, stream: &str) -> bool {
    seen.job_is(stream, JobState::Runs) && seen.phase_is("Running")
}

/// Whether no two pods of one stream ran at the same time.
fn alone(pods: &[arcane_tests::PodRun]) -> Result<(), String> {
    for (at, one) in pods.iter().enumerate() {
        let other = pods[..at].iter().find(|other| other.stream_id == one.stream_id && other.overlaps(one));
        if let Some(other) = other {
            return Err(format!("pods {} and {} of {} did", other.pod, one.pod, one.stream_id));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use arcane_tests::PodRun;

    use super::*;

    #[test]
    fn output_is_shown_without_what_differs() {
        assert_eq!(
            shown("NAME   PHASE     READY   AGE\na      Running   True    3s\n"),
            ["NAME   PHASE", "a      Running"]
        );
        assert_eq!(
            shown("LAST SEEN   TYPE      REASON   OBJECT   MESSAGE\n1s          Warning   Why      A/b      Text\n"),
            ["REASON   MESSAGE", "Why      Text"]
        );
        assert_eq!(shown("secret/a created\nb created\n"), ["secret/a created", "b created"]);
        assert!(shown("").is_empty());
    }

    #[test]
    fn two_pods_at_the_same_time_are_noticed() {
        let now = Instant::now();
        let pod = |stream: &str, from: u64, to: Option<u64>| PodRun {
            namespace: NAMESPACE.into(),
            pod: format!("{stream}-{from}"),
            uid: String::new(),
            job: String::new(),
            stream_id: stream.into(),
            kind: PodKind::Streaming,
            started: now + Duration::from_secs(from),
            ended: to.map(|to| now + Duration::from_secs(to)),
        };
        assert_eq!(alone(&[pod("a", 0, Some(1)), pod("b", 0, None), pod("a", 1, None)]), Ok(()));
        let told = alone(&[pod("a", 0, Some(2)), pod("b", 0, None), pod("a", 1, None)]);
        assert_eq!(told, Err("pods a-0 and a-1 of a did".into()));
    }
}
