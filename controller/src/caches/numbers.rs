//! How many streams there are.

use std::collections::BTreeMap;

use arcane_common::{
    identity::GroupKind,
    references::{ClassCandidate, ClassChoice, choose_class},
    stream::Phase,
};

use super::Caches;
use crate::facts::StreamFacts;

/// What streams that are counted together have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Alike {
    /// The name of their class; `None` where their label names one that isn't there.
    pub class: Option<String>,
    /// Their namespace.
    pub namespace: String,
    /// Their phase; `None` where it is empty or a word we don't know.
    pub phase: Option<Phase>,
}

impl Caches {
    /// The class of a stream, of these, which register its kind.
    pub fn class_of<'a>(&self, stream: &'a StreamFacts, candidates: &'a [ClassCandidate]) -> ClassChoice<'a> {
        choose_class(stream.class_label.as_deref(), self.noted_class(&stream.key).as_deref(), candidates)
    }

    /// Numbers of a class's streams by phase.
    pub fn streams_by_phase(
        &self,
        kind: &GroupKind,
        class: &str,
        candidates: &[ClassCandidate],
    ) -> BTreeMap<String, i64> {
        let mut numbers = BTreeMap::new();
        let streams = self.kinds.get(kind).into_iter().flat_map(|kind| kind.streams.values());
        for stream in streams {
            let is_of_the_class =
                matches!(self.class_of(stream, candidates), ClassChoice::Class(chosen) if chosen.name == class);
            if let Some(phase) = stream.recorded.phase.filter(|_| is_of_the_class) {
                *numbers.entry(phase.to_string()).or_insert(0) += 1;
            }
        }
        numbers
    }

    /// Numbers of all streams that are known.
    pub fn numbers_of_streams(&self) -> BTreeMap<Alike, i64> {
        let mut numbers = BTreeMap::new();
        for (kind, of_kind) in &self.kinds {
            let candidates: Vec<ClassCandidate> = self.classes_of(kind).map(|class| class.candidate()).collect();
            for stream in of_kind.streams.values() {
                let class = match self.class_of(stream, &candidates) {
                    ClassChoice::Class(chosen) => Some(chosen.name.clone()),
                    ClassChoice::LabelledMissing(_) | ClassChoice::None => None,
                };
                let (namespace, phase) = (stream.key.name.namespace.clone(), stream.recorded.phase);
                *numbers.entry(Alike { class, namespace, phase }).or_insert(0) += 1;
            }
        }
        numbers
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use arcane_common::api::stream_class::StreamClass;
    use arcane_process::namespaces::Scope;
    use kube::{core::DynamicObject, runtime::watcher::Event};
    use serde_json::json;

    use super::*;
    use crate::{caches::tests::kind, facts::ClassFacts};

    #[test]
    fn streams_are_counted_by_class_namespace_and_phase() {
        let mut caches = Caches::default();
        let mut resource = None;
        for name in ["older", "younger"] {
            let class: StreamClass = serde_json::from_value(json!({
                "apiVersion": "streaming.sneaksanddata.com/v1", "kind": "StreamClass",
                "metadata": {"name": name},
                "spec": {"apiGroupRef": "acme.io", "apiVersion": "v1", "kindRef": "Order", "pluralName": "orders"},
            }))
            .unwrap();
            let class = ClassFacts::of(&class);
            resource = Some(class.resource());
            caches.on_class(Event::Apply((class.name.clone(), class)));
        }
        let resource = resource.unwrap();
        caches.add_kind(kind(), resource.clone());
        for (namespace, name, class, phase) in [
            ("a", "one", "", "Running"),
            ("a", "two", "", "RUNNING"),
            ("a", "three", "younger", "Running"),
            ("a", "four", "", "Failed"),
            ("b", "one", "", "Running"),
            ("b", "two", "nowhere", ""),
        ] {
            let mut object = DynamicObject::new(name, &resource).within(namespace);
            object.metadata.labels = Some([("arcane/stream-class".to_owned(), class.to_owned())].into());
            object.data = json!({"spec": {}, "status": {"phase": phase}});
            let stream = StreamFacts::of(&kind(), &object);
            caches.on_stream(&kind(), &Scope::All, Event::Apply((stream.key.name.clone(), stream)));
        }
        let alike = |class: Option<&str>, namespace: &str, phase| Alike {
            class: class.map(ToOwned::to_owned),
            namespace: namespace.to_owned(),
            phase,
        };
        let expected = BTreeMap::from([
            (alike(Some("older"), "a", Some(Phase::Running)), 2),
            (alike(Some("younger"), "a", Some(Phase::Running)), 1),
            (alike(Some("older"), "a", Some(Phase::Failed)), 1),
            (alike(Some("older"), "b", Some(Phase::Running)), 1),
            (alike(None, "b", None), 1),
        ]);
        assert_eq!(caches.numbers_of_streams(), expected);
        let candidates: Vec<ClassCandidate> = caches.classes_of(&kind()).map(|class| class.candidate()).collect();
        let younger = caches.streams_by_phase(&kind(), "younger", &candidates);
        assert_eq!(younger, BTreeMap::from([("Running".to_owned(), 1)]));
    }
}
