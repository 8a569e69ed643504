//! Several controllers at once: one acts, and another takes over when it goes, in whatever way it goes.

use std::time::{Duration, Instant};

use arcane_tests::fixture::{OPERATOR_NAMESPACE, controller_own_rules, controller_rules};
use arcane_tests::{Fixture, OperatorOptions, OperatorProcess, UserAccess, eventually};

use crate::observer::{Now, What};
use crate::place::{Place, a_spec};
use crate::quietness::{is_noise, is_write};

/// How long a leader's Lease lasts.
const LEASE: Duration = Duration::from_secs(15);
/// A candidate looks at the Lease once a second; the rest is for a busy machine. Where a Lease isn't given back, it takes eight
/// seconds and more.
const MOMENT: Duration = Duration::from_secs(6);

/// A controller that takes part in the election, as a user of its own, so that the audit log tells them apart.
struct Candidate {
    process: OperatorProcess,
    user: String,
}

impl Candidate {
    async fn start(fixture: &Fixture, name: &str, access: &UserAccess) -> Self {
        let mut options: OperatorOptions = fixture.candidate_options("");
        options.kubeconfig = access.kubeconfig().to_owned();
        options.log = crate::log_file(&format!("leadership-{name}"));
        options.arguments.push(format!("--identity={name}"));
        options.ready_within = Some(crate::SOON);
        let process = OperatorProcess::start(options).await.unwrap_or_else(|error| panic!("{error}"));
        Self { process, user: access.name().to_owned() }
    }

    async fn leads(&self) -> bool {
        self.process.metrics().await.is_ok_and(|text| text.lines().any(|line| line == "arcane_leader 1"))
    }

    /// Waits until it leads; how long that took since `since`.
    async fn until_it_leads(&self, since: Instant) -> Duration {
        eventually(crate::SOON, "leader", || async {
            if self.leads().await { Ok(since.elapsed()) } else { Err("arcane_leader is 0".to_owned()) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"))
    }
}

/// Waits until there is a new Job of the stream, and gives its UID.
async fn another_job(place: &Place<'_>, stream: &str, than: &str) -> String {
    let job = |now: &Now| {
        let job = now.get(&(What::Job, stream.to_owned())).ok_or("there is none")?;
        let uid = job["metadata"]["uid"].as_str().unwrap_or_default();
        if uid == than { Err("it is the old one".to_owned()) } else { Ok(uid.to_owned()) }
    };
    place.observer.until(crate::SOON, &format!("new Job {stream}"), job).await.unwrap_or_else(|why| panic!("{why}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_controllers_one_acts_and_another_takes_over() {
    let fixture = crate::a_fixture().await;
    let cluster = fixture.cluster();
    let mut accounts = Vec::new();
    for name in ["odd", "even"] {
        let access = cluster.service_account_access(OPERATOR_NAMESPACE, name, controller_rules()).await;
        let own = cluster.grant_in_own_namespace(OPERATOR_NAMESPACE, name, controller_own_rules()).await;
        own.unwrap_or_else(|error| panic!("{error}"));
        accounts.push(access.unwrap_or_else(|error| panic!("{error}")));
    }
    let audit = cluster.audit_log().unwrap_or_else(|| panic!("a control plane of our own has an audit log"));
    let place = Place::new(&fixture, "leadership").await.unwrap_or_else(|why| panic!("{why}"));

    // Of two, one acts.
    let first = Candidate::start(&fixture, "first", &accounts[0]).await;
    first.until_it_leads(Instant::now()).await;
    let second = Candidate::start(&fixture, "second", &accounts[1]).await;
    place.create_templates(None).await.unwrap_or_else(|why| panic!("{why}"));
    place.create_stream("orders", &a_spec()).await.unwrap_or_else(|why| panic!("{why}"));
    let job = another_job(&place, "orders", "").await;
    assert!(first.leads().await && !second.leads().await);
    let by_second = audit.requests_of(&second.user);
    let at_rest = |request: &&arcane_tests::AuditedRequest| {
        ["leases", "customresourcedefinitions"].contains(&&request.resource[..])
    };
    assert!(!by_second.is_empty() && by_second.iter().all(|request| at_rest(&request)), "{by_second:#?}");

    // One that is told to end gives the Lease back.
    let asked = Instant::now();
    let (status, took) = tokio::join!(first.process.terminate(crate::SOON), second.until_it_leads(asked));
    assert_eq!(status.unwrap_or_else(|error| panic!("{error}")), 0);
    crate::say(&format!("leadership: after SIGTERM another leads within {took:.1?}"));
    assert!(took < MOMENT, "{took:?}");
    place.delete_job("orders").await.unwrap_or_else(|why| panic!("{why}"));
    let job = another_job(&place, "orders", &job).await;

    // One that is killed is replaced when its Lease has run out, and not before.
    let third = Candidate::start(&fixture, "third", &accounts[0]).await;
    assert!(!third.leads().await);
    let killed = Instant::now();
    let (gone, took) = tokio::join!(second.process.kill(), third.until_it_leads(killed));
    gone.unwrap_or_else(|error| panic!("{error}"));
    crate::say(&format!("leadership: after SIGKILL another leads within {took:.1?}"));
    assert!(took < LEASE + MOMENT, "{took:?}");
    assert!(took > LEASE - Duration::from_secs(7), "{took:?}: the Lease had been renewed within 5 s");
    place.delete_job("orders").await.unwrap_or_else(|why| panic!("{why}"));
    let job = another_job(&place, "orders", &job).await;

    // One that stood still while its Lease ran out writes nothing when it wakes, and ends.
    let fourth = Candidate::start(&fixture, "fourth", &accounts[1]).await;
    let stopped = Instant::now();
    third.process.signal("STOP").unwrap_or_else(|error| panic!("{error}"));
    let took = fourth.until_it_leads(stopped).await;
    assert!(took < LEASE + MOMENT, "{took:?}");
    place.change_stream("orders", serde_json::json!({"suspended": true})).await.unwrap_or_else(|why| panic!("{why}"));
    let gone = |now: &Now| match now.get(&(What::Job, "orders".to_owned())) {
        None => Ok(()),
        Some(_) => Err("the Job is there".to_owned()),
    };
    place.observer.until(crate::SOON, "suspended stream", gone).await.unwrap_or_else(|why| panic!("{why}"));
    place.change_stream("orders", serde_json::json!({"suspended": false})).await.unwrap_or_else(|why| panic!("{why}"));
    another_job(&place, "orders", &job).await;
    let mark = audit.now();
    third.process.signal("CONT").unwrap_or_else(|error| panic!("{error}"));
    let status = eventually(crate::SOON, "end of the former leader", || async {
        third.process.exit_status().ok_or_else(|| "it runs".to_owned())
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
    assert_eq!(status, 1, "{}", third.process.log_tail());
    let wrote: Vec<_> = audit.requests_since(mark, &third.user).into_iter().filter(is_noise).filter(is_write).collect();
    assert!(wrote.is_empty(), "the former leader has written: {wrote:#?}");
    assert!(fourth.leads().await);
    fixture.stop().await;
}
