//! Certificates that look after themselves, under a real API server that calls all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arcane_certs::{Authority, KeyId, Lifetimes, Published, TrustBundle};
use arcane_tests::fixture::{OPERATOR_NAMESPACE, SOON, streams_of};
use arcane_tests::tls::served_certificate;
use arcane_tests::webhook::SECRET;
use arcane_tests::{Balancer, Fixture, OperatorProcess, WebhookAccess, eventually, free_port};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DynamicObject, PostParams};
use serde_json::json;

use crate::world::*;

/// The bundle that the API server has.
async fn bundle(webhook: &WebhookAccess) -> Vec<u8> {
    let (validating, _) = webhook.configurations().await;
    let config = validating.unwrap().webhooks.unwrap()[0].client_config.clone();
    config.ca_bundle.unwrap().0
}

fn trusted(bundle: &[u8]) -> TrustBundle {
    Published::read(Some(bundle)).trusted().unwrap().clone()
}

/// Replicas behind a Service.
struct Replicas<'a> {
    webhook: &'a WebhookAccess,
    balancer: Balancer,
    running: Vec<(u16, OperatorProcess)>,
    arguments: Vec<String>,
    started: usize,
}

impl<'a> Replicas<'a> {
    async fn none(webhook: &'a WebhookAccess, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let balancer = Balancer::listen(webhook.port).await.unwrap();
        Self { webhook, balancer, running: Vec::new(), arguments, started: 0 }
    }

    /// Starts some at the same instant.
    async fn start(&mut self, number: usize) {
        let mut starting = Vec::new();
        for _ in 0..number {
            self.started += 1;
            let port = free_port().unwrap();
            let mut options = self.webhook.options(port, &format!("webhook-{}.log", self.started));
            options.arguments.extend(self.arguments.iter().cloned());
            starting
                .push(async move { (port, OperatorProcess::start(options).await.unwrap_or_else(|e| panic!("{e}"))) });
        }
        for (port, process) in futures::future::join_all(starting).await {
            self.balancer.add(port, process.health_port());
            self.running.push((port, process));
        }
        let wanted = self.running.len();
        eventually(SOON, "replicas that take part", || async {
            let ready = self.balancer.ready();
            if ready == wanted { Ok(()) } else { Err(format!("{ready} of {wanted}")) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));
    }

    /// Ends the oldest one with SIGTERM, as a rolling update does.
    async fn end_one(&mut self) {
        let (port, process) = self.running.remove(0);
        WebhookAccess::end(process).await;
        self.balancer.remove(port);
    }

    async fn end(mut self) {
        while !self.running.is_empty() {
            self.end_one().await;
        }
    }
}

#[test]
fn replicas_that_start_at_the_same_instant_agree_on_one_authority() {
    on_its_own_cluster(no_controller(), async |fixture, webhook| {
        let mut replicas = Replicas::none(webhook, &[]).await;
        replicas.start(3).await;
        webhook.registered(|_, _| Ok(())).await;
        let bundle = bundle(webhook).await;
        assert_eq!(trusted(&bundle).certificates().count(), 1, "one authority was made, and no other ever");
        for (port, _) in &replicas.running {
            served_certificate(*port, "127.0.0.1", &bundle).await.unwrap();
        }
        let secrets: Api<Secret> = Api::namespaced(fixture.client(), OPERATOR_NAMESPACE);
        let secret = secrets.get(SECRET).await.unwrap();
        let current = Authority::from_pem(
            &secret.data.as_ref().unwrap()["current.crt"].0,
            &secret.data.as_ref().unwrap()["current.key"].0,
        );
        assert!(trusted(&bundle).trusts(current.unwrap().key_id()));
        replicas.end().await;
    });
}

/// Calls of the webhook through the API server.
#[derive(Default)]
struct Calls {
    done: AtomicUsize,
    failed: AtomicUsize,
    enough: AtomicBool,
}

/// Creates templates, as dry runs, until it is told that it is enough.
async fn call_all_the_time(fixture: &Fixture, calls: Arc<Calls>) {
    let kind = streams_of("streaming.sneaksanddata.com", "v1", "StreamingJobTemplate", "streamingjobtemplates");
    let templates: Api<DynamicObject> = Api::namespaced_with(fixture.client(), "default", &kind);
    let template = DynamicObject::new("called", &kind)
        .data(json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}}}));
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    while !calls.enough.load(Ordering::Relaxed) {
        if let Err(error) = templates.create(&dry_run, &template).await {
            eprintln!("a call failed: {error}");
            calls.failed.fetch_add(1, Ordering::Relaxed);
        }
        calls.done.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn no_call_fails_while_the_authority_rolls_and_replicas_come_and_go() {
    let (least_rolls, least_calls) = (times(4, 10), times(5_000, 20_000));
    on_its_own_cluster(no_controller(), async |fixture, webhook| {
        // An authority rolls at three quarters of its life; what is left of its leaves then is what a busy machine may
        // take to serve new ones.
        let short = ["--ca-lifetime=16s", "--leaf-lifetime=16s", "--shutdown-delay=3s", "--log=info"];
        let mut replicas = Replicas::none(webhook, &short).await;
        replicas.start(2).await;
        webhook.registered(|_, _| Ok(())).await;
        let secrets: Api<Secret> = Api::namespaced(fixture.client(), OPERATOR_NAMESPACE);
        let signer = async || -> Option<KeyId> {
            let data = secrets.get(SECRET).await.ok()?.data?;
            Some(Authority::from_pem(&data.get("current.crt")?.0, &data.get("current.key")?.0).ok()?.key_id())
        };
        // The API server has to hear of the registration first: what it lets pass without a call is no call.
        let calls = Arc::new(Calls::default());
        let began = Instant::now();
        let (rolls, restarts) = {
            let callers = futures::future::join_all((0..16).map(|_| call_all_the_time(fixture, Arc::clone(&calls))));
            let change = async {
                let (mut rolls, mut restarts, mut last) = (0, 0, signer().await);
                while rolls < least_rolls || calls.done.load(Ordering::Relaxed) < least_calls {
                    assert!(began.elapsed() < Duration::from_secs(400), "{rolls} rolls, {:?} calls", calls.done);
                    eventually(SOON, "another authority", || async {
                        let now = signer().await;
                        if now.is_some() && now != last { Ok(()) } else { Err(format!("still {last:?}")) }
                    })
                    .await
                    .unwrap_or_else(|timeout| panic!("{timeout}"));
                    (rolls, last) = (rolls + 1, signer().await);
                    // One more first: two serve at any time.
                    if rolls % 2 == 0 {
                        replicas.start(1).await;
                        replicas.end_one().await;
                        restarts += 1;
                    }
                }
                calls.enough.store(true, Ordering::Relaxed);
                (rolls, restarts)
            };
            futures::join!(callers, change).1
        };
        let (done, took) = (calls.done.load(Ordering::Relaxed), began.elapsed());
        let asked = webhook_calls(&replicas).await;
        eprintln!(
            "{done} calls, {rolls} authorities, {restarts} replicas replaced in {took:.0?}: {} failed; \
             {asked} reached the replicas that are left",
            calls.failed.load(Ordering::Relaxed)
        );
        assert_eq!(calls.failed.load(Ordering::Relaxed), 0);
        assert!(asked > 0, "the API server asked nobody");
        replicas.end().await;
    });
}

/// How many reviews the running replicas have answered.
async fn webhook_calls(replicas: &Replicas<'_>) -> u64 {
    let mut all = 0;
    for (_, process) in &replicas.running {
        let text = process.metrics().await.unwrap();
        let counted = text.lines().filter(|line| line.starts_with("arcane_admission_reviews_total"));
        all += counted.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>();
    }
    all
}

#[test]
fn certificates_of_somebody_else_are_served_and_changed_without_a_failed_call() {
    on_its_own_cluster(no_controller(), async |fixture, webhook| {
        let directory = fixture.cluster().directory().join("certificates");
        std::fs::create_dir(&directory).unwrap();
        let write = |authority: &Authority| {
            let pair = authority.sign(&["127.0.0.1".to_owned()], Timestamp::now(), &Lifetimes::default()).unwrap();
            std::fs::write(directory.join("tls.key"), pair.key_pem()).unwrap();
            std::fs::write(directory.join("tls.crt"), pair.chain_pem()).unwrap();
            std::fs::write(directory.join("ca.crt"), authority.certificate().pem()).unwrap();
        };
        let of_today = || Authority::create(Timestamp::now(), &Lifetimes::default()).unwrap();
        let (old, new) = (of_today(), of_today());
        write(&old);
        let flag = format!("--certificate-dir={}", directory.display());
        let mut replicas = Replicas::none(webhook, &[&flag]).await;
        replicas.start(2).await;
        webhook.registered(|_, _| Ok(())).await;
        let calls = Arc::new(Calls::default());
        let callers = futures::future::join_all((0..4).map(|_| call_all_the_time(fixture, Arc::clone(&calls))));
        let change = async {
            write(&new);
            let ports: Vec<u16> = replicas.running.iter().map(|(port, _)| *port).collect();
            let only_new = new.certificate().pem();
            eventually(SOON, "new certificate everywhere", || async {
                for port in &ports {
                    served_certificate(*port, "127.0.0.1", only_new.as_bytes()).await?;
                }
                Ok(())
            })
            .await
            .unwrap_or_else(|timeout| panic!("{timeout}"));
            let bundle = trusted(&bundle(webhook).await);
            assert!(bundle.trusts(old.key_id()) && bundle.trusts(new.key_id()), "the old one is trusted until it ends");
            calls.enough.store(true, Ordering::Relaxed);
        };
        futures::join!(callers, change);
        assert_eq!(calls.failed.load(Ordering::Relaxed), 0, "of {:?}", calls.done);
        let secrets: Api<Secret> = Api::namespaced(fixture.client(), OPERATOR_NAMESPACE);
        assert!(secrets.get_opt(SECRET).await.unwrap().is_none(), "an authority of our own was made");
        replicas.end().await;
    });
}
