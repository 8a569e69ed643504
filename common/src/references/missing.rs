//! What refers to nothing, and what is done about it.

use serde_json::Value;

use crate::{
    api::{MissingReferences, well_known},
    field_path::FieldPath,
    identity::GroupKind,
    validation::Violation,
};

/// Clients that apply objects in any order and come again: what is missing now is there a moment later.
const CLIENTS_THAT_COME_AGAIN: [&str; 4] = ["kustomize-controller", "helm-controller", "argocd-controller", "helm"];

/// What is done about a reference to something that doesn't exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The object is refused.
    Deny,
    /// The object is let in, with a warning.
    Warn,
}

/// Decides what is done about missing references: what the class says, else the namespace, else the installation.
///
/// A word that this version doesn't know counts as not said.
pub fn treatment_of_missing_references(
    field_manager: Option<&str>,
    class: Option<&MissingReferences>,
    namespace: Option<&MissingReferences>,
    default: &MissingReferences,
) -> Treatment {
    let said = |word: &&MissingReferences| !matches!(word, MissingReferences::Unknown(_));
    match class.filter(said).or(namespace.filter(said)).unwrap_or(default) {
        MissingReferences::Deny => Treatment::Deny,
        MissingReferences::Warn => Treatment::Warn,
        MissingReferences::Auto | MissingReferences::Unknown(_) => {
            let comes_again = field_manager.is_some_and(|manager| CLIENTS_THAT_COME_AGAIN.contains(&manager));
            if comes_again { Treatment::Warn } else { Treatment::Deny }
        }
    }
}

/// A stream's label names a class that doesn't exist or registers another kind.
pub fn labelled_class_is_missing(name: &str, kind: &GroupKind) -> Violation {
    let path = FieldPath::root("metadata").child("labels").key(well_known::LABEL_STREAM_CLASS);
    let message = format!("there is no StreamClass of this name for {kind}; create it, or correct or remove the label");
    Violation::not_found(path, name, message)
}

/// No class registers a kind whose object looks like a stream.
pub fn no_class_registers(kind: &GroupKind) -> Violation {
    let message = format!("no StreamClass registers {kind}; install the plugin, or correct apiVersion and kind");
    Violation::not_found(FieldPath::root("kind"), &kind.kind, message)
}

/// Whether the spec of an object of our group is that of a stream.
pub fn looks_like_a_stream(spec: &Value) -> bool {
    let flat = spec.get("jobTemplateRef").or_else(|| spec.get("backfillJobTemplateRef"));
    let execution = spec
        .get("execution")
        .and_then(|execution| execution.get("layoutVersion").or_else(|| execution.get("streamingBackend")));
    [flat, execution].into_iter().flatten().any(|field| !field.is_null())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    use MissingReferences as M;

    #[rstest]
    fn auto_warns_those_who_come_again(
        #[values("kustomize-controller", "helm-controller", "argocd-controller", "helm")] manager: &str,
    ) {
        assert_eq!(treatment_of_missing_references(Some(manager), None, None, &M::Auto), Treatment::Warn);
    }

    #[rstest]
    #[case(Some("kubectl"))]
    #[case(Some("kubectl-client-side-apply"))]
    #[case(Some("Helm"))]
    #[case(Some(""))]
    #[case(None)]
    fn auto_denies_everyone_else(#[case] manager: Option<&str>) {
        assert_eq!(treatment_of_missing_references(manager, None, None, &M::Auto), Treatment::Deny);
    }

    #[rstest]
    fn the_class_then_the_namespace_then_the_installation(
        #[values(None, Some(M::Auto), Some(M::Deny), Some(M::Warn), Some(M::Unknown("Ask".into())))] class: Option<M>,
        #[values(None, Some(M::Auto), Some(M::Deny), Some(M::Warn), Some(M::Unknown("".into())))] namespace: Option<M>,
        #[values(M::Auto, M::Deny, M::Warn, M::Unknown("x".into()))] default: M,
        #[values(None, Some("helm"))] manager: Option<&str>,
    ) {
        let known = |word: &Option<M>| word.clone().filter(|word| !matches!(word, M::Unknown(_)));
        let decisive = known(&class).or(known(&namespace)).or(known(&Some(default.clone()))).unwrap_or(M::Auto);
        let expected = match (decisive, manager) {
            (M::Warn, _) | (M::Auto, Some(_)) => Treatment::Warn,
            _ => Treatment::Deny,
        };
        let treatment = treatment_of_missing_references(manager, class.as_ref(), namespace.as_ref(), &default);
        assert_eq!(treatment, expected);
    }

    #[test]
    fn the_words_say_what_to_do() {
        let kind = GroupKind::new("acme.io", "Order");
        assert_eq!(
            labelled_class_is_missing("c", &kind).to_string(),
            "metadata.labels[arcane/stream-class]: Not found: \"c\": there is no StreamClass of this name for \
             Order.acme.io; create it, or correct or remove the label"
        );
        assert_eq!(
            no_class_registers(&kind).to_string(),
            "kind: Not found: \"Order\": no StreamClass registers Order.acme.io; install the plugin, or correct \
             apiVersion and kind"
        );
    }

    #[test]
    fn a_stream_is_known_by_its_fields() {
        assert!(looks_like_a_stream(&json!({"jobTemplateRef": {}})));
        assert!(looks_like_a_stream(&json!({"execution": {"layoutVersion": "v1"}})));
        assert!(looks_like_a_stream(&json!({"execution": {"streamingBackend": {}}})));
        for spec in
            [json!(null), json!({}), json!({"jobTemplateRef": null, "execution": null}), json!({"template": {}})]
        {
            assert!(!looks_like_a_stream(&spec));
        }
    }
}
