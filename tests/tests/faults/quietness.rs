//! What a stream costs: few requests until it runs, and none once it does.

use std::fmt;
use std::time::{Duration, Instant};

use arcane_tests::{AuditLog, AuditedRequest, Fixture, OperatorProcess, eventually};
use futures::{StreamExt as _, stream};

use crate::observer::{Now, What, text};
use crate::place::{COMPLETED_WRITTEN, Place, a_spec};

const STREAMS: usize = 200;
/// How long nothing may happen.
const QUIET: Duration = Duration::from_secs(60);

/// Whether it is more than a watch or the renewal of a Lease.
pub fn is_noise(request: &AuditedRequest) -> bool {
    request.verb != "watch" && request.resource != "leases"
}

pub fn is_write(request: &AuditedRequest) -> bool {
    !["get", "list", "watch"].contains(&&request.verb[..])
}

/// What was asked of the API server; watches and Leases don't count.
#[derive(Debug, Default, PartialEq, Eq)]
struct Requests {
    writes: usize,
    reads: usize,
    events: usize,
}

impl Requests {
    fn count(requests: &[AuditedRequest]) -> Self {
        let mut counted = Self::default();
        for request in requests.iter().filter(|request| is_noise(request)) {
            match () {
                () if request.resource == "events" => counted.events += 1,
                () if is_write(request) => counted.writes += 1,
                () => counted.reads += 1,
            }
        }
        counted
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} writes, {} reads, {} events", self.writes, self.reads, self.events)
    }
}

fn words(requests: &[AuditedRequest]) -> String {
    let line =
        |request: &AuditedRequest| format!("\n  {} {} {} {}", request.at, request.verb, request.uri, request.code);
    requests.iter().map(line).collect()
}

async fn start_controller(fixture: &Fixture, log: &str) -> OperatorProcess {
    let mut options = fixture.operator_options("");
    options.log = crate::log_file(log);
    options.ready_within = Some(crate::SOON);
    OperatorProcess::start(options).await.unwrap_or_else(|error| panic!("{error}"))
}

/// The audit log, and who is looked for in it.
pub struct Listener {
    pub audit: AuditLog,
    user: String,
}

impl Listener {
    pub fn of(fixture: &Fixture) -> Self {
        let audit = fixture.cluster().audit_log().unwrap_or_else(|| panic!("a control plane of our own has one"));
        Self { audit, user: fixture.operator_access().name().to_owned() }
    }

    pub fn noise_since(&self, mark: arcane_tests::audit_log::AuditMark) -> Vec<AuditedRequest> {
        let mut requests = self.audit.requests_since(mark, &self.user);
        requests.retain(is_noise);
        requests
    }

    /// Waits until nothing was heard for a while.
    pub async fn until_it_is_still(&self, still: Duration) {
        let (mut mark, mut since) = (self.audit.now(), Instant::now());
        eventually(crate::SOON, "end of the requests", || {
            let noise = self.noise_since(mark);
            if !noise.is_empty() {
                (mark, since) = (self.audit.now(), Instant::now());
            }
            let heard = if since.elapsed() >= still { Ok(()) } else { Err(words(&noise)) };
            async move { heard }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));
    }

    /// For so long nothing is heard but what `may` says; the first other request ends the test.
    pub async fn stays_still(
        &self,
        still: Duration,
        mark: arcane_tests::audit_log::AuditMark,
        may: fn(&AuditedRequest) -> bool,
    ) {
        let since = Instant::now();
        eventually(still + crate::SOON, "end of the quiet time", || async {
            let mut noise = self.noise_since(mark);
            noise.retain(|request| !may(request));
            assert!(noise.is_empty(), "not quiet after {:.1?}: {}", since.elapsed(), words(&noise));
            if since.elapsed() >= still { Ok(()) } else { Err(format!("{:.0?} so far", since.elapsed())) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));
    }
}

/// How many streams run, with their backfills completed and told.
fn running(now: &Now) -> usize {
    let of = |kind| now.iter().filter(move |((what, _), _)| *what == kind).map(|(_, object)| object);
    let run = of(What::Stream).filter(|stream| text(stream, "/status/phase") == "Running").count();
    let pods = of(What::Pod).filter(|pod| text(pod, "/status/phase") == "Running").count();
    let told = |request: &&serde_json::Value| {
        text(request, "/status/phase") == "Completed" && request["metadata"]["annotations"][COMPLETED_WRITTEN] == "true"
    };
    run.min(pods).min(of(What::Request).filter(told).count())
}

async fn all_run(place: &Place<'_>, number: usize) {
    let all = |now: &Now| match running(now) {
        running if running == number => Ok(()),
        running => Err(format!("{running} of {number} run")),
    };
    let waited = place.observer.until(5 * crate::SOON, "running streams", all).await;
    waited.unwrap_or_else(|why| panic!("{why}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_comes_alone_costs_few_requests() {
    let fixture = crate::a_fixture().await;
    let controller = start_controller(&fixture, "alone").await;
    let listener = Listener::of(&fixture);
    let mut costs = Vec::new();
    for (name, ttl) in [("alone", None), ("alone-with-ttl", Some(86400))] {
        let place = Place::new(&fixture, name).await.unwrap_or_else(|why| panic!("{why}"));
        place.create_templates(ttl).await.unwrap_or_else(|why| panic!("{why}"));
        place.templates_are_valid().await.unwrap_or_else(|why| panic!("{why}"));
        listener.until_it_is_still(Duration::from_secs(1)).await;
        let mark = listener.audit.now();
        place.create_stream("orders", &a_spec()).await.unwrap_or_else(|why| panic!("{why}"));
        all_run(&place, 1).await;
        listener.until_it_is_still(Duration::from_secs(1)).await;
        let mut requests = listener.noise_since(mark);
        requests.retain(|request| request.namespace == place.name());
        let cost = Requests::count(&requests);
        crate::say(&format!("from creation to running, a stream with TTL {ttl:?}: {cost}"));
        costs.push((cost, words(&requests)));
    }
    for ((cost, words), writes) in costs.iter().zip([8, 9]) {
        let few = cost.writes <= writes && cost.reads <= 1 && cost.events <= 3;
        assert!(few, "expected at most {writes} writes, 1 read, 3 events: {cost}{words}");
    }
    drop(controller);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_converged_streams_are_quiet() {
    let fixture = crate::a_fixture().await;
    let controller = start_controller(&fixture, "quiet-1").await;
    let listener = Listener::of(&fixture);
    let place = Place::new(&fixture, "quiet").await.unwrap_or_else(|why| panic!("{why}"));
    place.create_templates(None).await.unwrap_or_else(|why| panic!("{why}"));
    place.templates_are_valid().await.unwrap_or_else(|why| panic!("{why}"));
    listener.until_it_is_still(Duration::from_secs(1)).await;

    let (mark, started) = (listener.audit.now(), Instant::now());
    stream::iter(0..STREAMS)
        .for_each_concurrent(16, |number| {
            let place = &place;
            async move {
                let created = place.create_stream(&format!("stream-{number}"), &a_spec()).await;
                created.unwrap_or_else(|why| panic!("{why}"));
            }
        })
        .await;
    all_run(&place, STREAMS).await;
    let took = started.elapsed();
    // The numbers in the class's status come last, at most 5 s later.
    listener.until_it_is_still(Duration::from_secs(6)).await;
    let mut requests = listener.noise_since(mark);
    let all = requests.len();
    requests.retain(|request| request.namespace == place.name());
    let conflicts = requests.iter().filter(|request| request.code == 409).count();
    let Requests { writes, reads, events } = Requests::count(&requests);
    let each = |number: usize| number as f64 / STREAMS as f64;
    crate::say(&format!(
        "{STREAMS} streams ran after {took:.1?}; each took {:.2} writes, {:.2} reads, {:.2} events ({conflicts} conflicts \
         and {} requests for no stream in all)",
        each(writes),
        each(reads),
        each(events),
        all - requests.len(),
    ));

    listener.stays_still(QUIET, listener.audit.now(), |_| false).await;
    crate::say(&format!("{STREAMS} converged streams: no request but watches and Leases for {QUIET:?}"));

    // A controller that starts looks at everything, and finds nothing to do.
    let status = controller.terminate(crate::SOON).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(status, 0);
    let mark = listener.audit.now();
    let controller = start_controller(&fixture, "quiet-2").await;
    eventually(crate::SOON, "look at every stream", || async {
        let metrics = controller.metrics().await.map_err(|error| error.to_string())?;
        let kind = "kind=\"Stream\"";
        let number = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse::<f64>().ok());
        let looks: f64 = metrics
            .lines()
            .filter(|line| line.starts_with("arcane_reconciles_total{") && line.contains(kind))
            .filter_map(number)
            .sum();
        let rest: f64 =
            metrics.lines().filter(|line| line.starts_with("arcane_queue_length{")).filter_map(number).sum();
        if looks >= STREAMS as f64 && rest == 0.0 { Ok(()) } else { Err(format!("{looks} looks, {rest} queued")) }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
    let is_beginning = |request: &AuditedRequest| !is_write(request) && request.namespace.is_empty();
    listener.stays_still(Duration::from_secs(6), mark, is_beginning).await;
    let begun = Requests::count(&listener.noise_since(mark));
    crate::say(&format!("a restart with {STREAMS} converged streams: {begun}"));
    drop(controller);
    fixture.stop().await;
}
