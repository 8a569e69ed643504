//! The cluster that is looked at, and where in it.

use arcane_process::namespaces::Scope;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{args::ClusterArgs, ending::Ending};

/// A cluster, as its user sees it.
#[derive(Clone)]
pub struct Cluster {
    /// A client with the user's rights.
    pub client: Client,
    /// The namespace of what names none.
    pub namespace: String,
    /// Where to look.
    pub scope: Scope,
}

impl Cluster {
    /// Connects as kubectl would.
    ///
    /// # Errors
    /// When the kubeconfig can't be read, or names no cluster.
    pub async fn connect(args: &ClusterArgs) -> Result<Self, Ending> {
        let config = config(args).await?;
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| {
            Ending::CannotAsk(format!("can't connect: {}", arcane_process::ending::with_causes(&error)))
        })?;
        let scope = if args.all_namespaces { Scope::All } else { Scope::Namespace(namespace.as_str().into()) };
        Ok(Self { client, namespace, scope })
    }

    /// Where streams are looked for, for people.
    pub fn place(&self) -> String {
        place(&self.scope)
    }
}

/// A scope, for people.
pub fn place(scope: &Scope) -> String {
    match scope {
        Scope::All => "in any namespace".to_owned(),
        Scope::Namespace(name) => format!("in namespace {name}"),
    }
}

async fn config(args: &ClusterArgs) -> Result<Config, Ending> {
    let unusable = |error: &dyn std::error::Error| {
        Ending::CannotAsk(format!("can't use the kubeconfig: {}", arcane_process::ending::with_causes(error)))
    };
    let read = match &args.kubeconfig {
        Some(path) => Kubeconfig::read_from(path).map_err(|error| unusable(&error)),
        None => Kubeconfig::read().map_err(|error| unusable(&error)),
    };
    let asks_for_a_kubeconfig =
        args.kubeconfig.is_some() || args.context.is_some() || args.cluster.is_some() || args.user.is_some();
    let mut config = match read {
        Ok(kubeconfig) => {
            let options = KubeConfigOptions {
                context: args.context.clone(),
                cluster: args.cluster.clone(),
                user: args.user.clone(),
            };
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| unusable(&error))?
        }
        // In a pod there is none, and its account is meant.
        Err(error) if !asks_for_a_kubeconfig => Config::incluster().map_err(|_| error)?,
        Err(error) => return Err(error),
    };
    if args.impersonate.is_some() {
        let groups = (!args.impersonate_groups.is_empty()).then(|| args.impersonate_groups.clone());
        (config.auth_info.impersonate, config.auth_info.impersonate_groups) = (args.impersonate.clone(), groups);
    }
    impersonate(&mut config)?;
    Ok(config)
}

/// The client heeds nothing of this by itself, and the user's own rights are not those that were asked for.
fn impersonate(config: &mut Config) -> Result<(), Ending> {
    let user = &config.auth_info;
    let one = |name: &'static str, value: &Option<String>| value.clone().map(|value| (name.to_owned(), value));
    let mut headers: Vec<(String, String)> =
        [one("impersonate-user", &user.impersonate), one("impersonate-uid", &user.impersonate_uid)]
            .into_iter()
            .flatten()
            .collect();
    let groups = user.impersonate_groups.iter().flatten();
    headers.extend(groups.map(|group| ("impersonate-group".to_owned(), group.clone())));
    for (key, values) in user.impersonate_user_extra.iter().flatten() {
        headers.extend(values.iter().map(|value| (format!("impersonate-extra-{key}"), value.clone())));
    }
    for (name, value) in headers {
        let unusable = || Ending::Usage(format!("nobody can be impersonated by {name}: {value:?}"));
        let header = http::HeaderName::try_from(&name).map_err(|_| unusable())?;
        config.headers.push((header, http::HeaderValue::try_from(&value).map_err(|_| unusable())?));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_impersonated_is_told_to_the_api_server() {
        let mut config = Config::new(http::Uri::from_static("https://127.0.0.1"));
        config.auth_info.impersonate = Some("anna".to_owned());
        config.auth_info.impersonate_groups = Some(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(impersonate(&mut config), Ok(()));
        let told: Vec<String> =
            config.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        assert_eq!(told, ["impersonate-user: anna", "impersonate-group: a", "impersonate-group: b"]);
        config.auth_info.impersonate = Some("a\nb".to_owned());
        assert!(impersonate(&mut config).is_err());
    }
}
