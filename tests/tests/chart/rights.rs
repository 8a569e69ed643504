//! What is granted and what is used.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::place::Place;

const OWNERS: &str = "to set an owner; OwnerReferencesPermissionEnforcement asks for it, and there is no request";
const ROLL: &str = "the authority is rolled after eight months; tests of certificates do it in seconds";
const LATE: &str = "the watch of definitions shows a kind later than a class names it";

/// Rights that no request of ours shows, or only one that can't be brought about here; by account, with the reason.
const UNSEEN: [(&str, &str, &str); 7] = [
    ("arcane-operator", "delete backfillrequests.streaming.sneaksanddata.com", OWNERS),
    ("arcane-operator", "update */finalizers.streaming.sneaksanddata.com", OWNERS),
    ("arcane-operator-webhook", "delete mutatingwebhookconfigurations.admissionregistration.k8s.io", OWNERS),
    ("arcane-operator-webhook", "delete validatingwebhookconfigurations.admissionregistration.k8s.io", OWNERS),
    ("arcane-operator-webhook", "delete secrets", OWNERS),
    ("arcane-operator-webhook", "update secrets", ROLL),
    ("arcane-operator-webhook", "get customresourcedefinitions.apiextensions.k8s.io", LATE),
];

/// Each right that the release gives is used by a request that was seen in the audit log, or it is on the list.
pub async fn each_is_used_or_has_its_reason(place: &Place) {
    let log = place.cluster.audit_log().unwrap_or_else(|| panic!("a control plane of our own has an audit log"));
    let mut unused = BTreeSet::new();
    for account in ["arcane-operator", "arcane-operator-webhook"] {
        let user = format!("system:serviceaccount:arcane:{account}");
        let requests: Vec<_> = log.requests_of(&user).into_iter().filter(|request| request.user == user).collect();
        let refused: Vec<_> = requests.iter().filter(|request| request.code == 403).collect();
        assert!(refused.is_empty(), "{account} was refused: {refused:#?}");
        let mut granted: BTreeMap<String, bool> = BTreeMap::new();
        for right in granted_to(place, account).await {
            let used = requests.iter().any(|request| {
                let resource = match request.subresource.as_str() {
                    "" => request.resource.clone(),
                    subresource => format!("{}/{subresource}", request.resource),
                };
                right.verb == request.verb && right.group == request.group && right.covers(&resource)
            });
            *granted.entry(right.to_string()).or_default() |= used;
        }
        assert!(granted.len() > 10, "{granted:?}");
        unused.extend(granted.into_iter().filter(|(_, used)| !used).map(|(right, _)| (account.to_owned(), right)));
    }
    let listed: BTreeSet<_> =
        UNSEEN.iter().map(|(account, right, _)| ((*account).to_owned(), (*right).to_owned())).collect();
    assert_eq!(unused, listed, "what isn't used is not to be granted; what is used is not to be on the list");
}

struct Right {
    verb: String,
    group: String,
    resource: String,
}

impl Right {
    fn covers(&self, resource: &str) -> bool {
        match self.resource.strip_prefix('*') {
            // "*" alone is said of a kind and of its subresources; here it counts for the former.
            Some("") => !resource.contains('/'),
            Some(subresource) => resource.ends_with(subresource),
            None => self.resource == resource,
        }
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (group, dot) = (&self.group, if self.group.is_empty() { "" } else { "." });
        write!(f, "{} {}{dot}{group}", self.verb, self.resource)
    }
}

/// The rules of the account's ClusterRole and of its Role, one by one.
async fn granted_to(place: &Place, account: &str) -> Vec<Right> {
    let cluster = place.get(&["clusterrole", account]).await.unwrap();
    let own = place.get(&["role", account, "-n", "arcane"]).await.unwrap();
    let mut rights = Vec::new();
    for rule in [&cluster, &own].into_iter().flat_map(|role| role["rules"].as_array().unwrap()) {
        let texts = |field: &str| -> Vec<String> {
            let texts = rule[field].as_array().into_iter().flatten();
            texts.map(|text: &Value| text.as_str().unwrap_or_default().to_owned()).collect()
        };
        for group in texts("apiGroups") {
            for resource in texts("resources") {
                for verb in texts("verbs") {
                    rights.push(Right { verb, group: group.clone(), resource: resource.clone() });
                }
            }
        }
    }
    rights
}
