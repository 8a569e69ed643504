//! The command line. Each flag has a twin in the environment.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use arcane_certs::Lifetimes;
use arcane_common::api::MissingReferences;
use arcane_process::{
    leadership,
    logging::LogArgs,
    namespaces::{NamespaceArgs, Namespaces},
};
use clap::{Parser, ValueEnum};
use http::Uri;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use serde_json::Value;

/// Judges Arcane streams when they are applied.
///
/// Serves, makes its own certificates and registers itself with the API
/// server. The cluster is the one this runs in, else the one that KUBECONFIG
/// (or ~/.kube/config) names.
#[derive(Clone, Debug, Parser)]
#[command(name = "arcane-webhook", version)]
#[command(group(clap::ArgGroup::new("reached").required(true).args(["url", "service"])))]
pub struct Args {
    /// Where to listen for the API server's calls.
    #[arg(long, env = "ARCANE_LISTEN", value_name = "IP:PORT", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,

    /// Whose streams are judged. StreamClasses are in no namespace and judged in any case.
    #[command(flatten)]
    pub limits: NamespaceArgs,

    /// How the API server reaches us, outside a cluster: https://HOST[:PORT].
    #[arg(long, env = "ARCANE_URL", value_name = "URL")]
    pub url: Option<Url>,

    /// How the API server reaches us, inside a cluster: by this Service.
    #[arg(long, env = "ARCANE_SERVICE", value_name = "NAMESPACE/NAME[:PORT]")]
    pub service: Option<Service>,

    /// Where to serve /healthz and /readyz [default: 0.0.0.0:8888 behind a
    /// Service, else 127.0.0.1:8889, beside a controller on the same machine].
    #[arg(long, env = "ARCANE_HEALTH_ADDR", value_name = "IP:PORT")]
    pub health_addr: Option<SocketAddr>,

    /// Where to serve /metrics, for Prometheus [default: 0.0.0.0:9090 behind a
    /// Service, else 127.0.0.1:9091].
    #[arg(long, env = "ARCANE_METRICS_ADDR", value_name = "IP:PORT")]
    pub metrics_addr: Option<SocketAddr>,

    /// What is done about a stream that refers to a missing template or
    /// StreamClass, where neither its class nor its namespace says it: Deny,
    /// Warn, or Auto (GitOps tools and Helm are warned, everyone else is denied).
    #[arg(long, env = "ARCANE_MISSING_REFERENCES", value_name = "Auto|Deny|Warn", default_value = "Auto",
          value_parser = missing_references)]
    pub missing_references: MissingReferences,

    /// What the API server does about a creation or change that no replica
    /// answers: Fail refuses it, Ignore lets it through, and the controller tells
    /// what is wrong with it.
    #[arg(
        long,
        env = "ARCANE_FAILURE_POLICY",
        value_name = "Fail|Ignore",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub failure_policy: FailurePolicy,

    /// The namespaces in which we judge: a LabelSelector as JSON, such as
    /// {"matchLabels":{"team":"data"}} [default: all]. StreamClasses, which are in
    /// none, are always judged.
    #[arg(long, env = "ARCANE_NAMESPACE_SELECTOR", value_name = "JSON", value_parser = label_selector)]
    pub namespace_selector: Option<LabelSelector>,

    /// Serve the certificate in this directory (tls.crt, tls.key, and ca.crt for
    /// the API server), as cert-manager or a mounted Secret brings it, instead
    /// of making our own. Changed files are taken up within seconds.
    #[arg(long, env = "ARCANE_CERTIFICATE_DIR", value_name = "DIR")]
    pub certificate_dir: Option<PathBuf>,

    /// How long a certificate authority of our own lives; the next one is made at
    /// two thirds of it.
    #[arg(long, env = "ARCANE_CA_LIFETIME", value_name = "DURATION", default_value = "8760h", value_parser = duration)]
    pub ca_lifetime: SignedDuration,

    /// How long a serving certificate of our own lives; it is renewed at two
    /// thirds of it.
    #[arg(long, env = "ARCANE_LEAF_LIFETIME", value_name = "DURATION", default_value = "168h", value_parser = duration)]
    pub leaf_lifetime: SignedDuration,

    /// The namespace of our Secret and Lease [default: the pod's own, else the
    /// namespace of the kubeconfig's context].
    #[arg(long, env = "ARCANE_OWN_NAMESPACE", value_name = "NAMESPACE")]
    pub own_namespace: Option<String>,

    /// The Secret of our certificate authority. It is created if it is missing.
    #[arg(long, env = "ARCANE_SECRET_NAME", value_name = "NAME", default_value = "arcane-operator-webhook-ca")]
    pub secret_name: String,

    /// The Lease by which one of several replicas is chosen to write the Secret
    /// and the registration.
    #[arg(long, env = "ARCANE_LEASE_NAME", value_name = "NAME", default_value = "arcane-operator-webhook")]
    pub lease_name: String,

    /// Our name in the Lease; no two replicas may have the same at one time
    /// [default: the host's name and something random].
    #[arg(long, env = "ARCANE_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,

    /// The name of our ValidatingWebhookConfiguration and
    /// MutatingWebhookConfiguration.
    #[arg(long, env = "ARCANE_CONFIGURATION_NAME", value_name = "NAME",
          default_value = arcane_common::api::well_known::WEBHOOK_CONFIGURATION)]
    pub configuration_name: String,

    /// The ClusterRole that owns our registration: where it is deleted, the
    /// registration goes, too.
    #[arg(long, env = "ARCANE_OWNER_CLUSTER_ROLE", value_name = "NAME")]
    pub owner_cluster_role: Option<String>,

    /// A user whose writes the API server doesn't show us, as the controller
    /// (system:serviceaccount:NAMESPACE:NAME). May be given several times, or
    /// with commas.
    #[arg(long = "skip-user", env = "ARCANE_SKIP_USER", value_name = "USER", value_delimiter = ',')]
    pub skip_users: Vec<String>,

    /// How long to go on serving after SIGTERM, until nobody calls any more
    /// [default: 5s behind a Service, else 0s].
    #[arg(long, env = "ARCANE_SHUTDOWN_DELAY", value_name = "DURATION", value_parser = duration)]
    pub shutdown_delay: Option<SignedDuration>,

    /// What is logged, and how.
    #[command(flatten)]
    pub logs: LogArgs,
}

impl Args {
    /// How the API server reaches us.
    pub fn reached(&self) -> Reached {
        match (&self.url, &self.service) {
            (Some(url), _) => Reached::Url(url.clone()),
            (None, Some(service)) => Reached::Service(service.clone()),
            // One of the two is required; clap sees to it.
            (None, None) => Reached::Url(Url { host: "127.0.0.1".to_owned(), port: Some(self.listen.port()) }),
        }
    }

    /// The namespaces in which we judge: those that are said, else those that we are limited to, by the label that each
    /// has of itself.
    pub fn namespaces_judged(&self) -> LabelSelector {
        if let Some(said) = &self.namespace_selector {
            return said.clone();
        }
        let names = Some(Namespaces::of(&self.limits.namespaces)).filter(|names| !names.names().is_empty());
        let is_one_of = |names: Namespaces| LabelSelectorRequirement {
            key: "kubernetes.io/metadata.name".to_owned(),
            operator: "In".to_owned(),
            values: Some(names.names().to_vec()),
        };
        LabelSelector { match_expressions: names.map(|names| vec![is_one_of(names)]), match_labels: None }
    }

    /// Where to serve /healthz and /readyz.
    pub fn health_addr(&self) -> SocketAddr {
        self.health_addr.unwrap_or_else(|| self.beside_a_controller(8888))
    }

    /// Where to serve /metrics.
    pub fn metrics_addr(&self) -> SocketAddr {
        self.metrics_addr.unwrap_or_else(|| self.beside_a_controller(9090))
    }

    /// In a pod the usual port; on a person's machine that is the controller's, and nobody else's business.
    fn beside_a_controller(&self, port: u16) -> SocketAddr {
        match self.service {
            Some(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
            None => (Ipv4Addr::LOCALHOST, port + 1).into(),
        }
    }

    /// Our name in the Lease. Where none is given, each call makes a new one.
    pub fn identity(&self) -> String {
        self.identity.clone().unwrap_or_else(leadership::new_identity)
    }

    /// How long our own certificates live.
    ///
    /// # Errors
    /// When they can't work: what is wrong with them.
    pub fn lifetimes(&self) -> Result<Lifetimes, String> {
        let lifetimes = Lifetimes::of(self.ca_lifetime, self.leaf_lifetime);
        match lifetimes.problem() {
            Some(problem) => Err(format!("--ca-lifetime and --leaf-lifetime: {problem}")),
            None => Ok(lifetimes),
        }
    }

    /// How long to go on serving after SIGTERM.
    pub fn shutdown_delay(&self) -> Duration {
        let behind_a_service = if self.service.is_some() { SignedDuration::from_secs(5) } else { SignedDuration::ZERO };
        self.shutdown_delay.unwrap_or(behind_a_service).unsigned_abs()
    }
}

/// What the API server does about what no replica answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FailurePolicy {
    /// It refuses it.
    #[default]
    #[value(name = "Fail")]
    Fail,
    /// It lets it through.
    #[value(name = "Ignore")]
    Ignore,
}

impl FailurePolicy {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "Fail",
            Self::Ignore => "Ignore",
        }
    }
}

impl std::fmt::Display for FailurePolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the API server reaches us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// By an address of its own.
    Url(Url),
    /// By a Service of the cluster.
    Service(Service),
}

impl Reached {
    /// The names that our certificate has to have.
    pub fn names(&self) -> Vec<String> {
        match self {
            // The brackets of an IPv6 address belong to the URL.
            Self::Url(url) => vec![url.host.trim_matches(['[', ']']).to_owned()],
            Self::Service(Service { namespace, name, .. }) => {
                vec![format!("{name}.{namespace}.svc"), format!("{name}.{namespace}.svc.cluster.local")]
            }
        }
    }
}

/// `https://HOST[:PORT]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// A DNS name or an IP address, the latter in brackets if it is one of IPv6.
    pub host: String,
    /// The port; that of https if there is none.
    pub port: Option<u16>,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|error| format!("is no URL: {error}"))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("has no host; expected https://HOST[:PORT]")?;
        if uri.scheme_str() != Some("https") {
            return Err("must begin with https://, for the API server calls no other".to_owned());
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("must not have a user".to_owned());
        }
        if uri.query().is_some() || !["", "/"].contains(&uri.path()) {
            return Err("must end after the port; /validate and /mutate are added to it".to_owned());
        }
        Ok(Self { host: host.to_owned(), port: uri.port_u16() })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "https://{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A Service of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: u16,
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, port.parse().map_err(|_| format!("{port:?} is no port"))?),
            None => (text, 443),
        };
        match name.split_once('/') {
            Some((namespace, name)) if is_label(namespace) && is_label(name) => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned(), port })
            }
            _ => Err("expected NAMESPACE/NAME[:PORT]".to_owned()),
        }
    }
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn missing_references(text: &str) -> Result<MissingReferences, String> {
    match MissingReferences::from(text) {
        MissingReferences::Unknown(_) => Err("expected Auto, Deny or Warn".to_owned()),
        known => Ok(known),
    }
}

/// What the API server would drop is left out, so that what is read back is what was written.
fn label_selector(text: &str) -> Result<LabelSelector, String> {
    let expected = "expected a LabelSelector as JSON, such as {\"matchLabels\":{\"team\":\"data\"}}";
    let value: Value = serde_json::from_str(text).map_err(|error| format!("{error}; {expected}"))?;
    let fields = value.as_object().ok_or(expected)?;
    // One that is misspelt would choose all namespaces.
    if let Some(unknown) = fields.keys().find(|field| !["matchLabels", "matchExpressions"].contains(&field.as_str())) {
        return Err(format!("{unknown:?} is no field of a LabelSelector; {expected}"));
    }
    let mut selector: LabelSelector = serde_json::from_value(value).map_err(|error| format!("{error}; {expected}"))?;
    selector.match_labels = selector.match_labels.filter(|labels| !labels.is_empty());
    selector.match_expressions = selector.match_expressions.filter(|expressions| !expressions.is_empty());
    Ok(selector)
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration =
        text.parse().map_err(|error| format!("is no duration like 8760h, 10m or 30s: {error}"))?;
    if duration.is_negative() { Err("must not be negative".to_owned()) } else { Ok(duration) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parsed(flags: &[&str]) -> Result<Args, String> {
        Args::try_parse_from([&["arcane-webhook"], flags].concat()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_definition_is_sound_and_every_flag_has_its_twin() {
        let command = Args::command();
        command.clone().debug_assert();
        for flag in command.get_arguments() {
            let Some(long) = flag.get_long().filter(|long| !["help", "version"].contains(long)) else { continue };
            let twin = format!("ARCANE_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(flag.get_env().and_then(|env| env.to_str()), Some(twin.as_str()), "--{long}");
            assert!(flag.get_help().is_some(), "--{long} has no help");
        }
    }

    #[test]
    fn a_url_or_a_service_is_needed_and_gives_the_names() {
        let args = parsed(&["--url", "https://127.0.0.1:9443"]).unwrap();
        assert_eq!(args.reached(), Reached::Url(Url { host: "127.0.0.1".into(), port: Some(9443) }));
        assert_eq!(args.reached().names(), ["127.0.0.1"]);
        assert_eq!(args.shutdown_delay(), Duration::ZERO);
        assert_eq!(args.health_addr().to_string(), "127.0.0.1:8889");
        assert_eq!(args.metrics_addr().to_string(), "127.0.0.1:9091");
        assert_eq!(parsed(&["--url", "https://[::1]:9443/"]).unwrap().reached().names(), ["::1"]);

        let args = parsed(&["--service", "arcane/arcane-operator-webhook"]).unwrap();
        let names = ["arcane-operator-webhook.arcane.svc", "arcane-operator-webhook.arcane.svc.cluster.local"];
        assert_eq!(args.reached().names(), names);
        assert_eq!(args.shutdown_delay(), Duration::from_secs(5));
        assert_eq!(args.health_addr().to_string(), "0.0.0.0:8888");
        assert_eq!(args.metrics_addr().to_string(), "0.0.0.0:9090");
        assert_eq!(parsed(&["--service", "a/b:8443"]).unwrap().service.unwrap().port, 8443);

        assert!(parsed(&[]).unwrap_err().contains("--url"));
        assert!(parsed(&["--url", "https://a", "--service", "a/b"]).unwrap_err().contains("cannot be used with"));
    }

    #[test]
    fn a_wrong_value_is_told_with_what_is_expected() {
        for (flags, said) in [
            (&["--url", "http://127.0.0.1:1"][..], "must begin with https://"),
            (&["--url", "https://h/validate"], "must end after the port"),
            (&["--url", "https://u@h"], "must not have a user"),
            (&["--url", "nonsense"], "must begin with https://"),
            (&["--service", "arcane"], "expected NAMESPACE/NAME"),
            (&["--service", "a/b:x"], "is no port"),
            (&["--url", "https://h", "--missing-references", "Maybe"], "expected Auto, Deny or Warn"),
            (&["--url", "https://h", "--ca-lifetime", "long"], "is no duration"),
            (&["--url", "https://h", "--failure-policy", "fail"], "invalid value 'fail'"),
            (&["--url", "https://h", "--namespace-selector", "team=data"], "expected a LabelSelector as JSON"),
            (&["--url", "https://h", "--namespace-selector", "[]"], "expected a LabelSelector as JSON"),
            (&["--url", "https://h", "--namespace-selector", r#"{"matchLabel":{}}"#], "is no field of a LabelSelector"),
        ] {
            let error = parsed(flags).unwrap_err();
            assert!(error.contains(said), "{flags:?}: {error}");
        }
    }

    #[test]
    fn lifetimes_that_cannot_work_are_told() {
        let of = |ca: &str, leaf: &str| {
            parsed(&["--url", "https://h", "--ca-lifetime", ca, "--leaf-lifetime", leaf]).unwrap().lifetimes()
        };
        assert_eq!(of("8760h", "168h"), Ok(Lifetimes::default()));
        assert!(of("0s", "168h").unwrap_err().contains("--ca-lifetime"));
        assert!(of("12s", "6s").is_ok());
    }

    #[test]
    fn where_it_is_limited_namespaces_are_selected_by_name() {
        let of = |flags: &[&str]| parsed(&[&["--url", "https://h"], flags].concat()).unwrap().namespaces_judged();
        assert_eq!(of(&[]), LabelSelector::default());
        let expressions = of(&["--namespace=b", "--namespace=a"]).match_expressions.unwrap();
        let [expression] = expressions.as_slice() else { panic!("{expressions:?}") };
        assert_eq!((expression.key.as_str(), expression.operator.as_str()), ("kubernetes.io/metadata.name", "In"));
        assert_eq!(expression.values, Some(vec!["a".to_owned(), "b".to_owned()]));
        let said = r#"{"matchLabels":{"team":"a"}}"#;
        let both = of(&["--namespace=b", "--namespace-selector", said]);
        assert_eq!(both.match_labels, Some([("team".to_owned(), "a".to_owned())].into()), "what is said counts");
    }

    #[test]
    fn namespaces_are_selected_as_kubernetes_does_it() {
        let of = |json: &str| parsed(&["--url", "https://h", "--namespace-selector", json]).unwrap().namespace_selector;
        assert_eq!(parsed(&["--url", "https://h"]).unwrap().namespace_selector, None);
        assert_eq!(of(r#"{"matchLabels":{},"matchExpressions":[]}"#), Some(LabelSelector::default()));
        let selector = of(r#"{"matchExpressions":[{"key":"team","operator":"In","values":["b","a"]}]}"#).unwrap();
        let expression = &selector.match_expressions.unwrap()[0];
        assert_eq!((expression.key.as_str(), expression.operator.as_str()), ("team", "In"));
        assert_eq!(expression.values, Some(vec!["b".to_owned(), "a".to_owned()]));
    }

    #[test]
    fn users_are_given_one_by_one_or_with_commas() {
        let args = parsed(&["--url", "https://h", "--skip-user", "a,b", "--skip-user", "c"]).unwrap();
        assert_eq!(args.skip_users, ["a", "b", "c"]);
    }
}
