use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;

/// Which kinds the API server shows to the webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdmissionFacts {
    /// Groups and plural names; `*` stands for all.
    shown: Vec<(Vec<String>, Vec<String>)>,
}

impl AdmissionFacts {
    /// Reads the webhook's configuration; nothing is shown without one.
    pub fn of(configuration: Option<&ValidatingWebhookConfiguration>) -> Self {
        let entries = configuration.and_then(|configuration| configuration.webhooks.as_deref()).unwrap_or_default();
        let rules = entries.iter().flat_map(|entry| entry.rules.as_deref().unwrap_or_default());
        let creations = rules
            .filter(|rule| rule.operations.iter().flatten().any(|operation| operation == "CREATE" || operation == "*"));
        let list = |texts: &Option<Vec<String>>| texts.clone().unwrap_or_default();
        Self { shown: creations.map(|rule| (list(&rule.api_groups), list(&rule.resources))).collect() }
    }

    /// Whether the creation of an object of this kind is shown.
    pub fn shows(&self, group: &str, plural: &str) -> bool {
        let holds = |all: &[String], wanted: &str| all.iter().any(|one| one == wanted || one == "*");
        self.shown.iter().any(|(groups, plurals)| holds(groups, group) && holds(plurals, plural))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn creations_are_shown_where_a_rule_says_so() {
        let configuration = serde_json::from_value(json!({"metadata": {"name": "w"}, "webhooks": [{
            "name": "a.b.c", "admissionReviewVersions": ["v1"], "sideEffects": "None", "clientConfig": {},
            "rules": [
                {"apiGroups": ["ours.example.com"], "resources": ["*"], "operations": ["CREATE", "UPDATE"]},
                {"apiGroups": ["theirs.example.com"], "resources": ["orders"], "operations": ["CREATE"]},
                {"apiGroups": ["theirs.example.com"], "resources": ["others"], "operations": ["DELETE"]},
            ],
        }]}))
        .unwrap();
        let facts = AdmissionFacts::of(Some(&configuration));
        assert!(facts.shows("ours.example.com", "anything"));
        assert!(facts.shows("theirs.example.com", "orders"));
        assert!(!facts.shows("theirs.example.com", "others"));
        assert!(!AdmissionFacts::of(None).shows("ours.example.com", "anything"));
    }
}
