//! The namespaces that a process is limited to.

use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource,
    core::{ApiResource, DynamicObject},
};

/// The flag that limits a process to some namespaces.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct NamespaceArgs {
    /// A namespace to work in. May be given several times, or with commas; all
    /// namespaces if it isn't given. What is in other namespaces is not seen: a
    /// template there counts as missing.
    #[arg(long = "namespace", env = "ARCANE_NAMESPACE", value_name = "NAMESPACE", value_delimiter = ',',
          value_parser = namespace)]
    pub namespaces: Vec<String>,
}

/// What can be the name of a namespace. An empty one is a slip, and mustn't mean all namespaces.
fn namespace(text: &str) -> Result<String, String> {
    let is_letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_well = bytes.first().is_some_and(is_letter) && bytes.last().is_some_and(is_letter);
    if ends_well && bytes.len() <= 63 && bytes.iter().all(|byte| is_letter(byte) || *byte == b'-') {
        Ok(text.to_owned())
    } else {
        Err("no name of a namespace: 1 to 63 lower-case letters, digits and dashes, not at its ends".to_owned())
    }
}

/// Where objects are listed and watched at once: everywhere, or in one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Everywhere.
    #[default]
    All,
    /// In this namespace.
    Namespace(Arc<str>),
}

impl Scope {
    /// Whether it is about the objects of a namespace.
    pub fn holds(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(name) => **name == *namespace,
        }
    }

    /// The objects of a kind in it.
    pub fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType: Default>,
    {
        match self {
            Self::All => Api::all(client.clone()),
            Self::Namespace(name) => Api::namespaced(client.clone(), name),
        }
    }

    /// The same of a kind that is known only while the process runs.
    pub fn dynamic_api(&self, client: &Client, resource: &ApiResource) -> Api<DynamicObject> {
        match self {
            Self::All => Api::all_with(client.clone(), resource),
            Self::Namespace(name) => Api::namespaced_with(client.clone(), name, resource),
        }
    }
}

/// The namespaces that a process looks into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(Vec<String>);

impl Namespaces {
    /// These; all, if there are none.
    pub fn of(names: &[String]) -> Self {
        let mut names = names.to_vec();
        names.sort();
        names.dedup();
        Self(names)
    }

    /// The names; none, where the process is not limited.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Logs where the process looks, if it doesn't look everywhere.
    pub fn tell(&self) {
        if !self.0.is_empty() {
            tracing::info!(namespaces = self.0.join(", "), "looking into these namespaces only");
        }
    }

    /// Whether the process looks into this one.
    pub fn contain(&self, namespace: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|name| name == namespace)
    }

    /// What has to be watched to see all of them.
    pub fn scopes(&self) -> Vec<Scope> {
        if self.0.is_empty() {
            return vec![Scope::All];
        }
        self.0.iter().map(|name| Scope::Namespace(name.as_str().into())).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Args {
        #[command(flatten)]
        limits: NamespaceArgs,
    }

    fn parsed(flags: &[&str]) -> Result<Namespaces, String> {
        let args = Args::try_parse_from([&["arcane"], flags].concat()).map_err(|error| error.to_string())?;
        Ok(Namespaces::of(&args.limits.namespaces))
    }

    #[test]
    fn without_the_flag_it_is_all_of_them() {
        assert_eq!(parsed(&[]).map(|it| (it.scopes(), it.contain("any"))), Ok((vec![Scope::All], true)));
    }

    #[test]
    fn each_is_meant_once() {
        let limited = parsed(&["--namespace=b", "--namespace", "a,b"]).unwrap_or_default();
        assert_eq!(limited.names(), ["a", "b"]);
        assert_eq!(limited.scopes().len(), 2);
        assert!(limited.contain("a") && !limited.contain("c"));
        assert!(limited.scopes()[0].holds("a") && !limited.scopes()[0].holds("b"));
    }

    #[test]
    fn a_slip_never_means_all_of_them() {
        for slip in ["", ",", "a,", "A", "a_b", "-a", "a/b"] {
            let said = parsed(&[&format!("--namespace={slip}")]).err().unwrap_or_default();
            assert!(said.contains("no name of a namespace"), "{slip:?}: {said}");
        }
    }
}
