//! What controller and webhook asked of the API server, from its audit log.

use std::time::{Duration, Instant};

use arcane_tests::audit_log::AuditMark;
use arcane_tests::fixture::SOON;
use arcane_tests::{AuditLog, AuditedRequest, Fixture, TestNamespace, eventually};

pub fn log(fixture: &Fixture) -> AuditLog {
    fixture.cluster().audit_log().unwrap_or_else(|| panic!("a control plane of our own has an audit log"))
}

pub fn now(fixture: &Fixture) -> AuditMark {
    log(fixture).now()
}

/// What the controller asked for in a namespace since then, watches apart.
pub fn since(ns: &TestNamespace<'_>, mark: AuditMark) -> Vec<AuditedRequest> {
    let all = log(ns.fixture()).requests_since(mark, ns.fixture().operator_access().name());
    all.into_iter().filter(|request| request.namespace == ns.name() && request.verb != "watch").collect()
}

/// Sees the controller do nothing in a namespace for so long. It has some time to come to rest; what loops never does.
pub async fn nothing_for(ns: &TestNamespace<'_>, wanted: Duration) {
    let mut mark = now(ns.fixture());
    let mut quiet_from = Instant::now();
    eventually(SOON, &format!("{wanted:?} without requests"), || {
        let asked = since(ns, mark);
        if !asked.is_empty() {
            mark = now(ns.fixture());
            quiet_from = Instant::now();
        }
        let quiet = quiet_from.elapsed() > wanted;
        async move { if quiet { Ok(()) } else { Err(format!("{asked:#?}")) } }
    })
    .await
    .unwrap_or_else(|timeout| panic!("{timeout}"));
}

pub async fn nothing_loops(ns: &TestNamespace<'_>) {
    nothing_for(ns, Duration::from_secs(3)).await;
}

/// The rights of the chart suffice, for the webhook too; none of a plugin's is needed. What was allowed in the end was no
/// lack of rights: a kind that has just been installed is unknown to an admission plugin of the API server for a while,
/// which answers with 403, too.
pub fn nothing_was_forbidden(fixture: &Fixture, webhook: &str, ns: &TestNamespace<'_>, mark: AuditMark) {
    let mut requests = log(fixture).requests_since(mark, fixture.operator_access().name());
    // The name of the one account may be the beginning of the other's.
    requests.extend(log(fixture).requests_since(mark, webhook));
    requests.retain(|request| request.namespace == ns.name() || request.namespace.is_empty());
    let what =
        |it: &AuditedRequest| (it.verb.clone(), it.resource.clone(), it.subresource.clone(), it.namespace.clone());
    let allowed: Vec<_> = requests.iter().filter(|request| request.code < 300).map(what).collect();
    let forbidden: Vec<String> = requests
        .iter()
        .filter(|request| request.code == 403 && !allowed.contains(&what(request)))
        .map(|request| format!("{} {} {}", request.user, request.verb, request.uri))
        .collect();
    assert!(forbidden.is_empty(), "the chart's rights don't suffice: {forbidden:#?}");
}
