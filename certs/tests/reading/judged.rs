//! What must hold of anything in a Secret.

use std::collections::BTreeMap;

use arcane_certs::{
    Action, Lifetimes, Memory, Observed, Published, SecretChange, ServingPair, Stored, TrustBundle, plan,
};
use jiff::Timestamp;

pub fn now() -> Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

pub fn names() -> Vec<String> {
    ["arcane-operator-webhook.arcane.svc", "127.0.0.1", "::1"].map(str::to_owned).to_vec()
}

pub fn secret(data: &BTreeMap<String, Vec<u8>>) {
    let stored = Stored::decode(data);
    if let Ok(stored) = &stored {
        assert_eq!(Stored::decode(&stored.encode()), Ok(stored.clone()));
        let _ = stored.current.sign(&names(), now(), &Lifetimes::default());
    }
    let mut all = TrustBundle::default();
    for value in data.values() {
        let bundle = TrustBundle::read(value);
        assert_eq!(TrustBundle::read(bundle.pem().as_bytes()), bundle);
        all = all.merged(&bundle);
        let _ = ServingPair::from_pem(value, value);
    }
    for (name, chain) in data {
        let key = data.get(&name.replace(".crt", ".key")).unwrap_or(chain);
        if let Ok(pair) = ServingPair::from_pem(chain, key) {
            for name in names() {
                let _ = pair.problem(&name, &all, now());
            }
            let _ = format!("{pair:?}");
        }
    }
    let _ = format!("{stored:?}");
    for is_writer in [false, true] {
        let observed = Observed {
            now: now(),
            uptime: std::time::Duration::ZERO,
            stored: Some(stored.clone()),
            published: data.values().map(|value| Published::read(Some(value))).collect(),
            served: None,
            is_writer,
            memory: Memory::default(),
        };
        let planned = plan(&observed, &Lifetimes::default());
        let replaces = planned
            .actions
            .iter()
            .any(|action| matches!(action, Action::WriteSecret(SecretChange::ReplaceMangledSecret { .. })));
        assert_eq!(replaces, stored.is_err() && is_writer);
    }
}
