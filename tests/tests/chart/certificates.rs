//! A release whose webhook serves a certificate of somebody else.

use arcane_certs::{Authority, Lifetimes};
use std::path::Path;

use arcane_tests::fixture::SOON;
use arcane_tests::supervisor::{Program, Supervisor};
use arcane_tests::tls::served_certificate;
use arcane_tests::{OperatorProcess, eventually, free_port};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;

use crate::place::Place;
use crate::world::*;

/// As cert-manager or a person brings it: files, and no right on any Secret.
#[tokio::test(flavor = "multi_thread")]
async fn with_somebody_elses_certificate_the_webhook_needs_no_right_on_secrets() {
    let place = Place::start().await;
    let mine = "certificates.mode=existingSecret,certificates.existingSecret=mine,webhook.failurePolicy=Ignore";
    let arguments = ["install", "arcane", &chart(), "--namespace", "arcane", "--create-namespace", "--set", mine];
    place.helm_does(&arguments);
    let directory = place.cluster.directory().join("certificate");
    std::fs::create_dir(&directory).unwrap();
    let (now, lifetimes) = (Timestamp::now(), Lifetimes::default());
    let authority = Authority::create(now, &lifetimes).unwrap();
    let pair = authority.sign(&["127.0.0.1".to_owned()], now, &lifetimes).unwrap();
    for (file, text) in
        [("tls.crt", pair.chain_pem()), ("tls.key", pair.key_pem()), ("ca.crt", &authority.certificate().pem())]
    {
        std::fs::write(directory.join(file), text).unwrap();
    }
    let mut options = place.webhook_options().await;
    options.arguments = with_files_in(&directory, options.arguments);
    let webhook = OperatorProcess::start(options).await.unwrap_or_else(|error| panic!("{error}"));
    let registered = ["validatingwebhookconfiguration", "arcane-operator-webhook"];
    let configuration = place.until("registration", &registered, |_| true).await;
    assert_eq!(configuration["webhooks"][0]["failurePolicy"], "Ignore");
    let role = place.get(&["role", "arcane-operator-webhook", "-n", "arcane"]).await.unwrap();
    assert!(!role["rules"].to_string().contains("secrets"), "{role}");
    let user = "system:serviceaccount:arcane:arcane-operator-webhook";
    let log = place.cluster.audit_log().unwrap();
    let of_secrets: Vec<_> =
        log.requests_of(user).into_iter().filter(|it| it.resource == "secrets" || it.code == 403).collect();
    assert!(of_secrets.is_empty(), "{of_secrets:#?}");
    drop(webhook);
}

/// The arguments of a pod, whose mounted Secret is in this directory here.
fn with_files_in(directory: &Path, mut arguments: Vec<String>) -> Vec<String> {
    let mounted = "--certificate-dir=/var/run/arcane/certificate";
    let flag = arguments.iter_mut().find(|argument| *argument == mounted).unwrap();
    *flag = format!("--certificate-dir={}", directory.display());
    arguments
}

/// What the kubelet does with a mounted Secret.
async fn mount(place: &Place, secret: &Value, directory: &Path) {
    let data = ["tls.crt", "tls.key", "ca.crt"].map(|key| (key, secret["data"][key].as_str().unwrap().to_owned()));
    for (file, text) in data {
        let path = directory.join(file).display().to_string();
        let decoded = format!("printf %s '{text}' | base64 -d > '{path}'");
        let done = tokio::process::Command::new("sh").args(["-c", &decoded]).status().await.unwrap();
        assert!(done.success(), "{file} in {}", place.cluster.directory().display());
    }
}

/// The real controllers of cert-manager issue what the chart asks for, and the webhook takes it: names, chain, authority.
#[tokio::test(flavor = "multi_thread")]
async fn cert_manager_issues_what_the_webhook_serves_and_renews_it() {
    let place = Place::start().await;
    let cert_manager = tools().path("cert-manager").unwrap();
    let crds = tools().definitions("cert-manager").unwrap().display().to_string();
    place.kubectl(&["apply", "--server-side", "-f", &crds]).await;
    place.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).await;
    place.kubectl(&["create", "namespace", "cert-manager"]).await;
    let supervisor = Supervisor::start("arcane-cert-manager-").unwrap();
    let program = Program {
        path: cert_manager,
        arguments: vec![format!("--kubeconfig={}", place.cluster.kubeconfig().display())],
        environment: Vec::new(),
        log: Some(place.cluster.directory().join("cert-manager.log")),
    };
    supervisor.run("cert-manager", &program).unwrap();
    let set = ["--set", "certificates.mode=cert-manager"];
    let install = ["install", "arcane", &chart(), "--namespace", "arcane", "--create-namespace"];
    place.helm_does(&[&install[..], &set].concat());

    let secret = ["secret", "arcane-operator-webhook-tls", "-n", "arcane"];
    let issued = |secret: &Value| secret["data"]["ca.crt"].is_string() && secret["data"]["tls.key"].is_string();
    let first = place.until("issued certificate", &secret, issued).await;
    let directory = place.cluster.directory().join("certificate");
    std::fs::create_dir(&directory).unwrap();
    mount(&place, &first, &directory).await;
    let mut options = place.process("arcane-operator-webhook", &[]).await;
    options.arguments = with_files_in(&directory, options.arguments);
    let port = free_port().unwrap();
    options.arguments.push(format!("--listen=127.0.0.1:{port}"));
    // Ready is who serves: a certificate of another name or another authority isn't served.
    let webhook = OperatorProcess::start(options).await.unwrap_or_else(|error| panic!("{error}"));
    let registered = ["validatingwebhookconfiguration", "arcane-operator-webhook"];
    let configuration = place.until("registration", &registered, |_| true).await;
    let client = &configuration["webhooks"][0]["clientConfig"];
    assert_eq!(client["service"]["name"], "arcane-operator-webhook");
    assert_eq!(client["caBundle"], first["data"]["ca.crt"]);

    // Renewed, it is taken up by the running process.
    serves(port, &first).await;
    place.kubectl(&["delete", "secret", "arcane-operator-webhook-tls", "-n", "arcane"]).await;
    let key = first["data"]["tls.key"].clone();
    let second = place.until("renewed certificate", &secret, |it| issued(it) && it["data"]["tls.key"] != key).await;
    mount(&place, &second, &directory).await;
    serves(port, &second).await;
    drop(webhook);
    supervisor.stop().await;
}

/// Waits until a client that trusts the authority in this Secret is shown the certificate in it. (Not its end: cert-manager
/// may well issue two in one second.)
async fn serves(port: u16, secret: &Value) {
    let data: Secret = serde_json::from_value(secret.clone()).unwrap();
    let data = data.data.unwrap();
    let issued = CertificateDer::from_pem_slice(&data["tls.crt"].0).unwrap();
    eventually(SOON, "issued certificate in service", || async {
        let served = served_certificate(port, "arcane-operator-webhook.arcane.svc", &data["ca.crt"].0).await?;
        if served == issued { Ok(()) } else { Err("another one is served".to_owned()) }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
}
