#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! Electors against an API server in memory that keeps `resourceVersion`s as
//! the real one does, and fails as it is told. Time is tokio's, and paused: it
//! jumps to whatever is waited for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::*;

// ---- the server ----

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Answers with this code, and does nothing.
    Refuse(u16),
    /// Does nothing, and never answers.
    Swallow,
    /// Does it, and never answers.
    DoAndKeepSilent,
    /// Does it after this many ms, and answers then.
    Late(u64),
}

#[derive(Clone, Default)]
struct Server(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    lease: Option<Value>,
    version: u64,
    faults: VecDeque<Fault>,
    requests: Vec<Method>,
}

impl Server {
    fn client(&self) -> Client {
        let router = axum::Router::new().fallback(serve).with_state(self.clone());
        Client::new(router, "test")
    }

    fn elector(&self, identity: &str) -> LeaderElector {
        LeaderElector::new(self.client(), "test", "lease", identity, LeaseTiming::default())
    }

    fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.0.lock().unwrap().faults.extend(faults);
    }

    fn requests(&self) -> usize {
        self.0.lock().unwrap().requests.len()
    }

    fn holder(&self) -> Option<String> {
        let inner = self.0.lock().unwrap();
        inner.lease.as_ref()?.pointer("/spec/holderIdentity")?.as_str().map(str::to_owned)
    }

    /// Somebody else writes, without asking.
    fn set(&self, lease: Option<Value>) {
        let mut inner = self.0.lock().unwrap();
        inner.version += 1;
        let version = inner.version.to_string();
        inner.lease = lease.map(|mut lease| {
            lease["metadata"]["resourceVersion"] = version.into();
            lease
        });
    }

    fn set_holder(&self, holder: Option<&str>, renew_time: &str) {
        self.set(Some(json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "lease", "namespace": "test"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renew_time},
        })));
    }

    fn edit(&self, edit: impl FnOnce(&mut Value)) {
        let mut lease = self.0.lock().unwrap().lease.clone().unwrap();
        edit(&mut lease);
        self.set(Some(lease));
    }
}

impl Inner {
    fn perform(&mut self, method: &Method, body: &Bytes) -> Response {
        let sent: Option<Value> = serde_json::from_slice(body).ok();
        let there = self.lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
        match (method.as_str(), there) {
            ("GET" | "PUT", None) => return status(404),
            ("GET", Some(_)) => {}
            ("POST", Some(_)) => return status(409),
            ("PUT", Some(version)) if sent.as_ref().unwrap()["metadata"]["resourceVersion"] != version => {
                return status(409);
            }
            ("POST" | "PUT", _) => {
                self.version += 1;
                let mut lease = sent.unwrap();
                lease["metadata"]["resourceVersion"] = self.version.to_string().into();
                self.lease = Some(lease);
            }
            other => panic!("unexpected: {other:?}"),
        }
        self.lease.as_ref().unwrap().to_string().into_response()
    }
}

async fn serve(State(server): State<Server>, method: Method, uri: Uri, body: Bytes) -> Response {
    assert!(uri.path().starts_with("/apis/coordination.k8s.io/v1/namespaces/test/leases"), "{uri}");
    let fault = {
        let mut inner = server.0.lock().unwrap();
        inner.requests.push(method.clone());
        inner.faults.pop_front()
    };
    let perform = || server.0.lock().unwrap().perform(&method, &body);
    match fault {
        None => perform(),
        Some(Fault::Refuse(code)) => status(code),
        Some(Fault::Swallow) => std::future::pending().await,
        Some(Fault::DoAndKeepSilent) => {
            perform();
            std::future::pending().await
        }
        Some(Fault::Late(ms)) => {
            // As on a real server, the work goes on when the client has hung up.
            let server = server.clone();
            let late = async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                server.0.lock().unwrap().perform(&method, &body)
            };
            tokio::spawn(late).await.unwrap()
        }
    }
}

fn status(code: u16) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "message": format!("refused with {code}"), "reason": if code == 404 { "NotFound" } else { "Other" },
    });
    (StatusCode::from_u16(code).unwrap(), body.to_string()).into_response()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

async fn seconds_until_leading(elector: &mut LeaderElector) -> f64 {
    let start = Instant::now();
    let leadership = elector.acquire().await;
    assert_eq!(leadership.may_write(), Ok(()));
    start.elapsed().as_secs_f64()
}

// ---- getting it ----

#[tokio::test(start_paused = true)]
async fn a_missing_lease_is_created_and_leads_at_once() {
    let server = Server::default();
    let mut elector = server.elector("me");
    assert_eq!(seconds_until_leading(&mut elector).await, 0.0);
    assert_eq!(server.holder().as_deref(), Some("me"));
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_within_a_second() {
    for holder in [None, Some("")] {
        let server = Server::default();
        server.set_holder(Some("other"), "2020-01-01T00:00:00.000000Z");
        let mut elector = server.elector("me");
        tokio::spawn({
            let server = server.clone();
            async move {
                tokio::time::sleep(secs(5)).await;
                server.set_holder(holder, "2020-01-01T00:00:00.000000Z");
            }
        });
        let waited = seconds_until_leading(&mut elector).await;
        assert!((5.0..=6.01).contains(&waited), "{waited}");
        assert_eq!(server.holder().as_deref(), Some("me"));
        let inner = server.0.lock().unwrap();
        assert_eq!(inner.lease.as_ref().unwrap()["spec"]["leaseTransitions"], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_holder_is_waited_for_by_our_clock_whatever_its_own_says() {
    for renew_time in ["1970-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"] {
        // Its name may even be ours: a predecessor's, who may still be at work.
        for holder in ["other", "me"] {
            let server = Server::default();
            server.set_holder(Some(holder), renew_time);
            let waited = seconds_until_leading(&mut server.elector("me")).await;
            assert!((15.0..15.1).contains(&waited), "{waited}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_living_holder_is_never_robbed() {
    let server = Server::default();
    server.set_holder(Some("other"), "2020-01-01T00:00:00.000000Z");
    tokio::spawn({
        let server = server.clone();
        async move {
            for _ in 0..20 {
                tokio::time::sleep(secs(14)).await;
                // Nothing but the version changes.
                server.set_holder(Some("other"), "2020-01-01T00:00:00.000000Z");
            }
        }
    });
    let waited = seconds_until_leading(&mut server.elector("me")).await;
    assert!((295.0..296.1).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn whoever_loses_the_race_for_it_waits() {
    let server = Server::default();
    // The lease appears between the read and the create.
    server.fail([Fault::Refuse(404)]);
    server.set_holder(Some("other"), "2020-01-01T00:00:00.000000Z");
    let mut elector = server.elector("me");
    assert!(tokio::time::timeout(secs(14), elector.acquire()).await.is_err());
    assert_eq!(server.holder().as_deref(), Some("other"));
    // What it lost is not its own: nothing to give back.
    elector.release().await.unwrap();
    assert_eq!(server.holder().as_deref(), Some("other"));
}

#[tokio::test(start_paused = true)]
async fn losing_a_race_against_ones_own_namesake_is_losing() {
    let server = Server::default();
    server.fail([Fault::Refuse(404)]);
    server.set_holder(Some("me"), "2020-01-01T00:00:00.000000Z");
    let waited = seconds_until_leading(&mut server.elector("me")).await;
    assert!(waited >= 15.0, "{waited}");
}

#[tokio::test(start_paused = true)]
async fn errors_are_tried_again() {
    let server = Server::default();
    server.fail([Fault::Refuse(500), Fault::Refuse(403), Fault::Swallow, Fault::Refuse(404), Fault::DoAndKeepSilent]);
    let waited = seconds_until_leading(&mut server.elector("me")).await;
    // The last one did create it, and we know our own.
    assert!(waited < 12.0, "{waited}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_took_long_shortens_the_time_to_write() {
    let server = Server::default();
    server.fail([Fault::Refuse(404), Fault::Late(2_500)]);
    let leadership = server.elector("me").acquire().await;
    tokio::time::advance(Duration::from_millis(10_499)).await;
    assert_eq!(leadership.may_write(), Ok(()));
    tokio::time::advance(Duration::from_millis(2)).await;
    assert!(matches!(leadership.may_write(), Err(NotLeading::Late { .. })));
}

// ---- keeping it ----

#[tokio::test(start_paused = true)]
async fn a_holder_renews_with_one_request_every_few_seconds() {
    let server = Server::default();
    let mut elector = server.elector("me");
    let leadership = elector.acquire().await;
    let before = server.requests();
    let checks = async {
        for _ in 0..6_000 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(leadership.may_write(), Ok(()));
        }
    };
    tokio::select! { lost = elector.keep() => panic!("{lost}"), () = checks => {} }
    let requests = server.requests() - before;
    assert!((120..=300).contains(&requests), "{requests} in 600 s");
}

#[tokio::test(start_paused = true)]
async fn a_holder_outlives_what_ends_within_the_deadline() {
    let faults: [&[Fault]; 6] = [
        &[Fault::Refuse(500); 4],
        &[Fault::Swallow],
        // The renewal came through, unheard: the next one names its version.
        &[Fault::DoAndKeepSilent],
        &[Fault::Refuse(409), Fault::Refuse(503)],
        &[Fault::Late(2_900)],
        // Answered too late, but done.
        &[Fault::Late(3_100)],
    ];
    for faults in faults {
        let server = Server::default();
        let mut elector = server.elector("me");
        let leadership = elector.acquire().await;
        server.fail(faults.iter().copied());
        let lost = tokio::time::timeout(secs(60), elector.keep()).await;
        assert!(lost.is_err(), "{faults:?}: {lost:?}");
        assert_eq!(leadership.may_write(), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_by_somebody_else_changes_nothing() {
    let server = Server::default();
    let mut elector = server.elector("me");
    elector.acquire().await;
    server.edit(|lease| lease["metadata"]["labels"] = json!({"a": "b"}));
    assert!(tokio::time::timeout(secs(60), elector.keep()).await.is_err());
    let inner = server.0.lock().unwrap();
    assert_eq!(inner.lease.as_ref().unwrap()["metadata"]["labels"]["a"], "b");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_gives_up_before_another_may_lead() {
    for fault in [Fault::Refuse(500), Fault::Refuse(403), Fault::Swallow] {
        let server = Server::default();
        let mut elector = server.elector("me");
        let leadership = elector.acquire().await;
        let start = Instant::now();
        server.fail([fault; 100]);
        let lost = elector.keep().await;
        assert!(matches!(&lost, LostLeadership::NotRenewed { last_error: Some(_), .. }), "{lost:?}");
        let took = start.elapsed().as_secs_f64();
        assert!((10.0..10.1).contains(&took), "{took}");
        assert_eq!(leadership.may_write(), Err(NotLeading::Ended));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_ours_any_more_is_lost() {
    type Change = fn(&Server);
    let elsewhere: Change = |server| server.set_holder(Some("other"), "2020-01-01T00:00:00.000000Z");
    let cleared: Change = |server| server.set_holder(None, "2020-01-01T00:00:00.000000Z");
    let deleted: Change = |server| server.set(None);
    let cases: [(Change, &str); 3] = [
        (elsewhere, "leadership lost: the Lease test/lease is now held by other"),
        (cleared, "leadership lost: the Lease test/lease was deleted or cleared by somebody else"),
        (deleted, "leadership lost: the Lease test/lease was deleted or cleared by somebody else"),
    ];
    for (change, said) in cases {
        let server = Server::default();
        let mut elector = server.elector("me");
        let leadership = elector.acquire().await;
        change(&server);
        let after = server.0.lock().unwrap().lease.clone();
        let lost = tokio::time::timeout(secs(60), elector.keep()).await.expect("still leading");
        assert_eq!(lost.to_string(), said);
        assert_eq!(leadership.may_write(), Err(NotLeading::Ended));
        // And it isn't given back either: it isn't ours.
        elector.release().await.unwrap();
        assert_eq!(server.0.lock().unwrap().lease, after);
    }
}

#[tokio::test(start_paused = true)]
async fn who_stood_still_past_the_deadline_may_not_write_nor_renew() {
    let server = Server::default();
    let mut elector = server.elector("me");
    let leadership = elector.acquire().await;
    let requests = server.requests();
    tokio::time::advance(Duration::from_millis(12_999)).await;
    assert_eq!(leadership.may_write(), Ok(()));
    // The task that renews hasn't run yet, and needn't.
    tokio::time::advance(secs(7)).await;
    assert_eq!(leadership.may_write(), Err(NotLeading::Late { by: Duration::from_millis(6_999) }));
    let lost = elector.keep().await;
    assert!(matches!(&lost, LostLeadership::NotRenewed { last_error: None, .. }), "{lost:?}");
    assert_eq!(server.requests(), requests);
}

#[tokio::test]
async fn the_only_one_may_always_write() {
    assert_eq!(Leadership::always().may_write(), Ok(()));
}

// ---- giving it back ----

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_the_next_ones_within_a_second() {
    let server = Server::default();
    let mut first = server.elector("first");
    let leadership = first.acquire().await;
    let mut second = server.elector("second");
    let next = tokio::spawn(async move { seconds_until_leading(&mut second).await });
    assert!(tokio::time::timeout(secs(30), first.keep()).await.is_err());
    first.release().await.unwrap();
    let released = Instant::now();
    assert_eq!(leadership.may_write(), Err(NotLeading::Ended));
    next.await.unwrap();
    assert!(released.elapsed() <= secs(1), "{:?}", released.elapsed());
    assert_eq!(server.holder().as_deref(), Some("second"));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_was_cut_off_does_not_keep_the_lease() {
    let server = Server::default();
    let mut elector = server.elector("me");
    elector.acquire().await;
    server.fail([Fault::Late(1_000)]);
    // Cut off while the renewal is under way.
    let requests = server.requests();
    {
        let sent = async {
            while server.requests() == requests {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! { lost = elector.keep() => panic!("{lost}"), () = sent => {} }
    }
    elector.release().await.unwrap();
    assert_eq!(server.holder(), None);
    tokio::time::sleep(secs(2)).await;
    assert_eq!(server.holder(), None, "the late renewal lost");
}

#[tokio::test(start_paused = true)]
async fn who_never_led_has_nothing_to_release() {
    let server = Server::default();
    server.set_holder(Some("me"), "2020-01-01T00:00:00.000000Z");
    server.elector("me").release().await.unwrap();
    assert_eq!(server.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_says_why() {
    let server = Server::default();
    let mut elector = server.elector("me");
    elector.acquire().await;
    server.fail([Fault::Refuse(403)]);
    let error = elector.release().await.unwrap_err();
    assert_eq!(error.to_string(), "cannot update the Lease test/lease: refused with 403");
}

// ---- never two ----

/// Three controllers that lead, freeze, lose, release and start again, on a
/// server that fails one request in four: never may two write.
#[tokio::test(start_paused = true)]
async fn never_may_two_write() {
    for seed in 0..10 {
        fastrand::seed(seed);
        let server = Server::default();
        let leaders = Arc::new(Mutex::new(vec![Leadership { deadline: Deadline::Lease(watch::channel(None).1) }; 3]));
        let tasks: Vec<_> = (0..3_usize)
            .map(|slot| {
                let (server, leaders) = (server.clone(), Arc::clone(&leaders));
                tokio::spawn(async move {
                    for life in 0_u32.. {
                        // One of the three always comes back by the same name.
                        let identity = if slot == 0 { "same".to_owned() } else { format!("{slot}-{life}") };
                        let mut elector = server.elector(&identity);
                        leaders.lock().unwrap()[slot] = elector.acquire().await;
                        let life = Duration::from_millis(fastrand::u64(0..60_000));
                        let lost = tokio::time::timeout(life, elector.keep()).await.is_ok();
                        match fastrand::u8(0..3) {
                            // Killed, or frozen: it neither renews nor says anything.
                            0 if !lost => tokio::time::sleep(Duration::from_millis(fastrand::u64(0..40_000))).await,
                            _ => drop(elector.release().await),
                        }
                    }
                })
            })
            .collect();
        let mut led = 0;
        for _ in 0..12_000 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if fastrand::u8(0..20) == 0 {
                let fault = match fastrand::u8(0..4) {
                    0 => Fault::Refuse([404, 409, 500, 503][fastrand::usize(0..4)]),
                    1 => Fault::Swallow,
                    2 => Fault::DoAndKeepSilent,
                    _ => Fault::Late(fastrand::u64(0..6_000)),
                };
                let mut inner = server.0.lock().unwrap();
                inner.faults.clear();
                inner.faults.push_back(fault);
            }
            let writers = leaders.lock().unwrap().iter().filter(|leader| leader.may_write().is_ok()).count();
            assert!(writers <= 1, "{writers} writers with seed {seed}");
            led += writers;
        }
        // Not by never leading at all.
        assert!(led > 4_000, "somebody led only {led} times of 12000 with seed {seed}");
        for task in tasks {
            task.abort();
        }
    }
}

#[test]
fn an_identity_names_the_host_and_is_new_each_time() {
    let host = hostname::get().unwrap().into_string().unwrap();
    assert!(new_identity().starts_with(&format!("{host}_")));
    assert_ne!(new_identity(), new_identity());
}
