//! A template change reaches fifty streams, a few at a time, whatever happens to the controller; and not those that are left
//! when the first fail with it, be it at once or after a while; none if Kubernetes refuses it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use arcane_tests::{Fixture, OperatorOptions, OperatorProcess};
use futures::{StreamExt as _, stream};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

use crate::observer::{Now, What, text};
use crate::place::{CLASS, Place, a_spec};
use crate::quietness::{Listener, is_write};

const STREAMS: usize = 50;
const MOST: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_streams_roll_over_a_crash_and_stop_where_the_new_jobs_fail() {
    let fixture = crate::a_fixture().await;
    let place = Place::new(&fixture, "rolling").await.unwrap_or_else(|why| panic!("{why}"));
    let roll = Roll { listener: Listener::of(&fixture), fixture: &fixture, place: &place };
    let controller = roll.start_controller("rolling-1").await;
    roll.patch_class(json!({"initialBackfill": "Never"})).await;
    roll.patch_class(rolling(1)).await;
    place.create_templates(None).await.unwrap_or_else(|why| panic!("{why}"));
    stream::iter(0..STREAMS)
        .for_each_concurrent(16, |number| {
            let place = &place;
            async move {
                let created = place.create_stream(&format!("stream-{number:02}"), &a_spec()).await;
                created.unwrap_or_else(|why| panic!("{why}"));
            }
        })
        .await;
    roll.all_run("example.com/stream:1").await;
    roll.listener.until_it_is_still(Duration::from_secs(6)).await;

    let controller = roll.rolls_over_a_crash(controller).await;
    let controller = roll.stops_where_the_new_jobs_fail(controller).await;
    roll.goes_on_with_a_template_that_works("example.com/stream:3").await;
    roll.stops_where_the_new_jobs_fail_after_a_while().await;
    roll.leaves_all_as_it_is_for_a_template_that_is_refused().await;
    roll.goes_on_with_a_template_that_works("example.com/stream:4").await;
    drop(controller);
    fixture.stop().await;
}

struct Roll<'a> {
    fixture: &'a Fixture,
    place: &'a Place<'a>,
    listener: Listener,
}

impl Roll<'_> {
    async fn start_controller(&self, log: &str) -> OperatorProcess {
        let mut options: OperatorOptions = self.fixture.operator_options("");
        options.log = crate::log_file(log);
        options.ready_within = Some(crate::SOON);
        OperatorProcess::start(options).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Some are replaced, the controller is killed, the next one goes on; never were more without a running Job than may be.
    async fn rolls_over_a_crash(&self, controller: OperatorProcess) -> OperatorProcess {
        let (mark, began) = (self.listener.audit.now(), Instant::now());
        let before = self.revision();
        self.patch_template(json!({"image": "example.com/stream:2"}), json!({})).await;
        self.until("a third of the streams with the new template", |now| {
            let new = streaming_jobs(now).filter(|job| image(job) == "example.com/stream:2").count();
            if new >= STREAMS / 3 { Ok(()) } else { Err(format!("{new}")) }
        })
        .await;
        controller.kill().await.unwrap_or_else(|error| panic!("{error}"));
        let controller = self.start_controller("rolling-2").await;
        self.all_run("example.com/stream:2").await;
        let took = began.elapsed();
        let down = self.most_down_since(before);
        assert!((2..=MOST).contains(&down), "{down} streams at a time were without a running Job");
        self.class_says_nothing().await;
        self.listener.until_it_is_still(Duration::from_secs(6)).await;
        let mut asked = self.listener.noise_since(mark);
        asked.retain(|request| request.namespace == self.place.name());
        let writes = asked.iter().filter(|request| is_write(request)).count();
        crate::say(&format!(
            "{STREAMS} streams rolled in {took:.1?} over a crash, {down} at a time at most; each took {:.1} requests, {:.1} of \
             them writes",
            asked.len() as f64 / STREAMS as f64,
            writes as f64 / STREAMS as f64,
        ));
        assert!(asked.len() <= 9 * STREAMS, "{} requests", asked.len());
        self.listener.stays_still(Duration::from_secs(10), self.listener.audit.now(), |_| false).await;
        controller
    }

    /// At most so many fail as are replaced at a time; the others run on as they are, and say why. So it stays, over a restart.
    async fn stops_where_the_new_jobs_fail(&self, controller: OperatorProcess) -> OperatorProcess {
        let before = self.revision();
        let fails = json!({"simulated-kubelet/behaviour": "exit 3"});
        self.patch_template(json!({"image": "example.com/broken:1"}), fails).await;
        self.until("stream that has failed", |now| {
            let failed = streams(now).filter(|it| text(it, "/status/phase") == "Failed").count();
            if failed > 0 { Ok(()) } else { Err(String::new()) }
        })
        .await;
        self.class_says("RollingUpdateStopped", "/stream-").await;
        self.listener.until_it_is_still(Duration::from_secs(6)).await;
        let down = self.most_down_since(before);
        assert!((1..=MOST).contains(&down), "{down} streams at a time were without a running Job");
        let failed = self.stands_stopped("example.com/stream:2").await;
        assert!((1..=MOST).contains(&failed), "{failed} have failed");
        crate::say(&format!("{failed} of {STREAMS} streams failed with a template that fails; the others ran on"));

        controller.kill().await.unwrap_or_else(|error| panic!("{error}"));
        let mark = self.listener.audit.now();
        let controller = self.start_controller("rolling-3").await;
        // It looks at everything, and finds nothing to say or do.
        self.listener.stays_still(Duration::from_secs(8), mark, |request| !is_write(request)).await;
        assert_eq!(self.stands_stopped("example.com/stream:2").await, failed);
        controller
    }

    /// Without a readiness probe a pod is ready as soon as it runs: those that end after two seconds mustn't count as available
    /// before.
    async fn stops_where_the_new_jobs_fail_after_a_while(&self) {
        self.patch_class(rolling(60)).await;
        let fails = json!({"simulated-kubelet/behaviour": "exit 3 after 2s"});
        self.patch_template(json!({"image": "example.com/broken:2"}), fails).await;
        self.class_says("RollingUpdateStopped", "/stream-").await;
        self.listener.until_it_is_still(Duration::from_secs(6)).await;
        let failed = self.stands_stopped("example.com/stream:3").await;
        assert!((1..=MOST).contains(&failed), "{failed} have failed");
        self.patch_class(rolling(1)).await;
    }

    /// Nobody stops for what could not be started; those that have failed before try again, and are told why they can't.
    async fn leaves_all_as_it_is_for_a_template_that_is_refused(&self) {
        let before = self.revision();
        let more_than_its_limit = json!({"requests": {"memory": "2Mi"}, "limits": {"memory": "1Mi"}});
        let refused = json!({"image": "example.com/refused:1", "resources": more_than_its_limit});
        self.patch_template(refused, json!({"simulated-kubelet/behaviour": null})).await;
        self.class_says("TemplateRefused", "/streaming").await;
        self.listener.until_it_is_still(Duration::from_secs(6)).await;
        let replaced = self.place.observer.history().iter().any(|sight| {
            sight.revision > before
                && sight.what == What::Job
                && sight.object.pointer("/metadata/deletionTimestamp").is_some()
                && image(&sight.object) == "example.com/stream:3"
        });
        assert!(!replaced, "a stream was stopped for a template that Kubernetes refuses");
    }

    /// Those that have failed leave it by the change of their template, and the others are replaced.
    async fn goes_on_with_a_template_that_works(&self, image: &str) {
        let before = self.revision();
        self.patch_template(json!({"image": image}), json!({"simulated-kubelet/behaviour": null})).await;
        self.all_run(image).await;
        let down = self.most_down_since(before);
        assert!((1..=MOST).contains(&down), "{down} streams at a time were without a running Job");
        self.class_says_nothing().await;
        self.listener.until_it_is_still(Duration::from_secs(6)).await;
        self.listener.stays_still(Duration::from_secs(5), self.listener.audit.now(), |_| false).await;
    }

    /// How many have failed; the others run, with the words that say why.
    async fn stands_stopped(&self, with: &str) -> usize {
        self.until("stopped streams", |now| {
            let failed: Vec<&str> = streams(now).filter(|it| text(it, "/status/phase") == "Failed").map(name).collect();
            let running = streaming_jobs(now).filter(|job| is_ready(job) && image(job) == with).count();
            let told = streams(now).filter(|it| condition(it, "UpToDate")["reason"] == "RollingUpdateStopped").count();
            let class = streams(now).filter(|it| condition(it, "Ready")["status"] == "True").count();
            let left = STREAMS - failed.len();
            if (running, told, class) == (left, left, left) {
                Ok(failed.len())
            } else {
                Err(format!("{failed:?} failed, {running} run, {told} say that it has stopped, {class} are ready"))
            }
        })
        .await
    }

    fn class(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("streaming.sneaksanddata.com", "v1", "StreamClass");
        Api::all_with(self.fixture.client(), &ApiResource::from_gvk_with_plural(&kind, "streamclasses"))
    }

    async fn patch_class(&self, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        let patched = self.class().patch(CLASS, &PatchParams::default(), &patch).await;
        patched.unwrap_or_else(|error| panic!("cannot patch the class: {error}"));
    }

    async fn class_says(&self, reason: &str, name: &str) {
        arcane_tests::eventually(crate::SOON, &format!("class that says {reason}"), || async {
            let class = self.class().get(CLASS).await.map_err(|error| error.to_string())?;
            let said = condition(&class.data, "UpToDate");
            let name = format!("{}{name}", self.place.name());
            let names_it = said["message"].as_str().is_some_and(|message| message.contains(&name));
            if said["reason"] == reason && names_it { Ok(()) } else { Err(class.data["status"].to_string()) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));
    }

    async fn class_says_nothing(&self) {
        arcane_tests::eventually(crate::SOON, "class that has nothing to say", || async {
            let class = self.class().get(CLASS).await.map_err(|error| error.to_string())?;
            let said = condition(&class.data, "UpToDate");
            if said.is_null() { Ok(()) } else { Err(said.to_string()) }
        })
        .await
        .unwrap_or_else(|timeout| panic!("{timeout}"));
    }

    async fn patch_template(&self, container: Value, annotations: Value) {
        let mut container = container;
        container["name"] = json!("stream");
        let template = json!({"metadata": {"annotations": annotations}, "spec": {"containers": [container]}});
        let patch = Patch::Merge(json!({"spec": {"template": template}}));
        let patched = self.place.templates().patch("streaming", &PatchParams::default(), &patch).await;
        patched.unwrap_or_else(|error| panic!("cannot patch the template: {error}"));
    }

    async fn until<T>(&self, what: &str, holds: impl Fn(&Now) -> Result<T, String>) -> T {
        self.place.observer.until(3 * crate::SOON, what, holds).await.unwrap_or_else(|why| panic!("{why}"))
    }

    async fn all_run(&self, with: &str) {
        self.until(&format!("{STREAMS} streams with {with}"), |now| {
            let run = streaming_jobs(now).filter(|job| is_ready(job) && image(job) == with).count();
            let said = streams(now).filter(|it| condition(it, "UpToDate")["status"] != "False").count();
            if (run, said) == (STREAMS, STREAMS) { Ok(()) } else { Err(format!("{run} run, {said} are up to date")) }
        })
        .await;
    }

    fn revision(&self) -> u64 {
        self.place.observer.history().last().map_or(0, |sight| sight.revision)
    }

    /// The largest number of streams that had no running Job at one moment, of all states that etcd had since then.
    fn most_down_since(&self, revision: u64) -> usize {
        let mut ready: BTreeMap<String, (String, bool)> = BTreeMap::new();
        let mut most = 0;
        for sight in self.place.observer.history().iter().filter(|sight| sight.what == What::Job) {
            let (stream, uid) = (sight.label("arcane/stream-id").to_owned(), sight.text("/metadata/uid").to_owned());
            // The end of an earlier Job is no news of the next one.
            if !sight.gone || ready.get(&stream).is_none_or(|(known, _)| *known == uid) {
                ready.insert(stream, (uid, !sight.gone && is_ready(&sight.object)));
            }
            if sight.revision > revision {
                most = most.max(STREAMS - ready.values().filter(|(_, ready)| *ready).count());
            }
        }
        most
    }
}

fn rolling(min_ready_seconds: u32) -> Value {
    let pace = json!({"maxUnavailable": MOST, "minReadySeconds": min_ready_seconds});
    json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": pace}})
}

fn streams(now: &Now) -> impl Iterator<Item = &Value> {
    now.iter().filter(|((what, _), _)| *what == What::Stream).map(|(_, stream)| stream)
}

fn streaming_jobs(now: &Now) -> impl Iterator<Item = &Value> {
    now.iter().filter(|((what, _), _)| *what == What::Job).map(|(_, job)| job)
}

/// Whether a pod of it is ready, and nobody has asked for its end.
fn is_ready(job: &Value) -> bool {
    job["status"]["ready"] == 1 && job["metadata"]["deletionTimestamp"].is_null()
}

fn image(job: &Value) -> &str {
    text(job, "/spec/template/spec/containers/0/image")
}

fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

fn condition<'o>(object: &'o Value, type_: &str) -> &'o Value {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|condition| condition["type"] == type_).unwrap_or(&Value::Null)
}
