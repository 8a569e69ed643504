//! The authority that the API server trusts is replaced, again and again, while the webhook is asked all the time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::json;

use crate::release;
use crate::scenes::installing;
use crate::screen::{note, seen};
use crate::wait;
use crate::works::{work, works};
use crate::world::World;

/// An authority lives for a minute and is followed after forty seconds.
const SHORT: [&str; 2] = ["certificates.self.caLifetime=60s", "certificates.self.leafLifetime=20s"];
const WITHIN: Duration = Duration::from_secs(300);

pub async fn play(world: &World) {
    installing::works_plugin(world).await;
    seen(
        "helm upgrade: authorities of one minute, certificates of twenty seconds",
        release::install(world, "e2e", &SHORT),
    )
    .await;
    // The authority that is there lives for a year. One that is made from now on lives for a minute.
    seen("the Secret is deleted: a new one is made, and no question fails", async {
        let uid = secret(world).await;
        world.kubectl(&format!("delete secret {}-ca -n {}", release::WEBHOOK, release::NAMESPACE)).await;
        wait::until(WITHIN, "new Secret", || async {
            ask(world).await;
            let now = secret(world).await;
            if !now.is_empty() && now != uid { Ok(()) } else { Err("there is none".to_owned()) }
        })
        .await;
    })
    .await;
    let rolls = world.rounds(3, 1);
    let seen_authorities: RefCell<BTreeSet<String>> = RefCell::new(authorities(world).await.into_iter().collect());
    let at_first = seen_authorities.borrow().len();
    let asked = Cell::new(0);
    seen(&format!("{rolls} new authorities are published and sign, and every question is answered"), async {
        wait::until(WITHIN, "new authority", || async {
            ask(world).await;
            asked.set(asked.get() + 2);
            let published = authorities(world).await;
            seen_authorities.borrow_mut().extend(published);
            let new = seen_authorities.borrow().len() - at_first;
            if new >= rolls { Ok(()) } else { Err(format!("{new} were seen")) }
        })
        .await;
    })
    .await;
    note(&format!("{} questions, no failure", asked.get()));
    seen("helm upgrade: as it was", release::install(world, "e2e", &[])).await;
    ask(world).await;
}

/// One stream that is right, and one whose template is missing.
async fn ask(world: &World) {
    let dry = PatchParams { dry_run: true, ..PatchParams::apply("e2e").force() };
    let api: Api<DynamicObject> = works(world.client());
    let right = api.patch("asked", &dry, &Patch::Apply(work("asked", json!({})))).await;
    right.unwrap_or_else(|error| panic!("a stream that is right: {error}"));
    let wrong = work("asked", json!({"jobTemplateRef": {"name": "missing"}}));
    match api.patch("asked", &dry, &Patch::Apply(wrong)).await {
        Err(kube::Error::Api(status)) if status.code == 422 && status.message.contains("Not found") => {}
        other => panic!("a stream whose template is missing: {other:?}"),
    }
}

/// The certificates that the API server trusts.
async fn authorities(world: &World) -> Vec<String> {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(world.client());
    let configuration = configurations.get(release::WEBHOOK).await.unwrap_or_else(|error| panic!("{error}"));
    let webhooks = configuration.webhooks.unwrap_or_default();
    let bundle = webhooks.into_iter().find_map(|webhook| webhook.client_config.ca_bundle).unwrap_or_default();
    let bundle = String::from_utf8_lossy(&bundle.0).into_owned();
    bundle.split("-----END CERTIFICATE-----").map(str::trim).filter(|pem| !pem.is_empty()).map(str::to_owned).collect()
}

async fn secret(world: &World) -> String {
    let name = format!("{}-ca", release::WEBHOOK);
    world
        .try_kubectl(&format!("get secret {name} -n {} -o jsonpath={{.metadata.uid}}", release::NAMESPACE))
        .await
        .stdout
}
